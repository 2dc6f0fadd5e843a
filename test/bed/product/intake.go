package product

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"multinicd/test/bed/artifact"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/sandbox"
)

// Intake is a running `multinic-bridge intake`.
type Intake struct {
	*process
	// Address is host:port, on loopback.
	Address string
}

// PID is the door's process id.
func (i *Intake) PID() int { return i.cmd.Process.Pid }

// InstallIntake applies the rights of deploy/intake.yaml, without the Pods that nobody runs here.
func InstallIntake(ctx context.Context, c *controlplane.Cluster) error {
	return installRights(ctx, c, "deploy/intake.yaml")
}

// installRights applies the rights of a manifest and the admission policies, and nothing else of it.
func installRights(ctx context.Context, c *controlplane.Cluster, manifest string) error {
	root, err := artifact.RepositoryRoot()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(root, manifest))
	if err != nil {
		return fmt.Errorf("reading a manifest: %w", err)
	}
	var rights []string
	for doc := range strings.SplitSeq(string(text), "\n---") {
		if strings.Contains(doc, "\nkind: ServiceAccount\n") || strings.Contains(doc, "\napiVersion: rbac.authorization.k8s.io/v1\n") ||
			strings.Contains(doc, "\napiVersion: admissionregistration.k8s.io/v1\n") {
			rights = append(rights, doc)
		}
	}
	if out, err := c.Apply(ctx, strings.Join(rights, "\n---\n"), "--server-side", "--force-conflicts"); err != nil {
		return fmt.Errorf("installing the rights of %s: %w\n%s", manifest, err, out)
	}
	return nil
}

// StartIntake runs the door as the ServiceAccount of its manifest, with more flags of the command, and waits until it is open. It ends with the
// sandbox, or by Stop or Kill.
func StartIntake(ctx context.Context, box *sandbox.Sandbox, c *controlplane.Cluster, binary string, flags ...string) (*Intake, error) {
	args := append([]string{"intake", "--address", "127.0.0.1:0", "--health-address", "0", "--metrics-address", "0"}, flags...)
	b, err := startAs(ctx, box, c, "multinic-intake", binary, args...)
	if err != nil {
		return nil, err
	}
	for {
		for line := range strings.Lines(b.Log()) {
			var said struct{ Msg, Address string }
			if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "serving" {
				return &Intake{process: b, Address: said.Address}, nil
			}
		}
		select {
		case <-b.exited:
			return nil, fmt.Errorf("the door does not open: %s", b.Log())
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the door: %w: %s", ctx.Err(), b.Log())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
