package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// KubectlPath is the kubectl that belongs to the cluster's version.
func (c *Cluster) KubectlPath() string { return filepath.Join(c.bin, "kubectl") }

// Kubectl runs kubectl as the administrator and returns what it prints; what it complains of is in the error.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.kubectl(ctx, "", args)
}

// Apply runs kubectl apply on a text of YAML documents.
func (c *Cluster) Apply(ctx context.Context, yaml string, args ...string) (string, error) {
	return c.kubectl(ctx, yaml, append([]string{"apply", "-f", "-"}, args...))
}

// Served waits until the API server serves the resources of CRDs that were applied ("multinicnodeconfigs.multinic.io"): it says that they are established a
// moment before.
func (c *Cluster) Served(ctx context.Context, crds ...string) error {
	if _, err := c.Kubectl(ctx, append([]string{"wait", "--for=condition=Established", "--timeout=60s", "crd"}, crds...)...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		_, err := c.Kubectl(ctx, "get", "--all-namespaces", strings.Join(crds, ","))
		if err == nil {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("waiting for CRDs to be served: %w: %w", ctx.Err(), err)
		}
	}
}

func (c *Cluster) kubectl(ctx context.Context, stdin string, args []string) (string, error) {
	cmd := exec.CommandContext(ctx, c.KubectlPath(), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "HOME="+c.dir)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("running kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
