package installed

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	apiv1 "multinicd/api/v1"
	"multinicd/test/bed"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/product"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
)

// Cluster is a control plane with the product in it.
type Cluster struct {
	*controlplane.Cluster
	t   testing.TB
	bed *bed.Bed
}

// shared is done once for the control plane that all tests of a package share: each test's own bridge would write the same.
var shared struct {
	sync.Once
	err    error
	bridge product.Bridge
	box    *sandbox.Sandbox
}

// NewCluster gives the control plane that the package shares, with the API and a running bridge. Close has to be among what bed.Main ends.
func NewCluster(t testing.TB, b *bed.Bed) *Cluster {
	t.Helper()
	c := &Cluster{Cluster: b.Cluster(), t: t, bed: b}
	shared.Do(func() {
		if shared.err = product.Install(t.Context(), c.Cluster); shared.err != nil {
			return
		}
		if shared.box, shared.err = sandbox.New(context.WithoutCancel(t.Context()), func(string, ...any) {}); shared.err != nil {
			return
		}
		shared.bridge, shared.err = product.StartBridge(t.Context(), shared.box, c.Cluster, bed.Build(t, "./cmd/bridge"))
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log := shared.bridge.Log()
			t.Logf("the bridge said, at the end:\n%s", log[max(0, len(log)-4000):])
		}
	})
	return c
}

// Bridge is the running bridge, one for all tests of the package.
func (c *Cluster) Bridge() product.Bridge { return shared.bridge }

// RunBridge runs multinic-bridge on this machine, with an administrator's access.
func (c *Cluster) RunBridge(args ...string) (stdout, stderr string, err error) {
	c.t.Helper()
	kubeconfig := filepath.Join(c.t.TempDir(), "admin.conf")
	if err := c.WriteKubeconfig(kubeconfig, "", "admin", "system:masters"); err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.CommandContext(c.t.Context(), bed.Build(c.t, "./cmd/bridge"), append(args, "--kubeconfig", kubeconfig)...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// Close ends what NewCluster started, after the last test.
func Close() error {
	if shared.box == nil {
		return nil
	}
	return shared.box.Close()
}

// Member boots a host that is a node of the cluster: it holds its own credential, and multinicd is installed.
func (c *Cluster) Member(o testhost.Options, config string, tags ...string) *Node {
	c.t.Helper()
	n := New(c.t, c.bed, o, config, tags...)
	if err := product.Join(c.t.Context(), c.Cluster, n.Host, o.Name, c.bed.API().URL()); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// State is the object of a node in short: "Configured 2/2", with the generations behind it while its status is of an older one.
func (c *Cluster) State(node string) string {
	var o apiv1.MultiNicNodeConfig
	if err := c.Get(c.t.Context(), Path(node), &o); err != nil {
		return err.Error()
	}
	if o.Status.ObservedGeneration != o.Generation {
		return fmt.Sprintf("%s %s, of generation %d where there is %d", o.Status.State, o.Status.ReadyInterfaces, o.Status.ObservedGeneration, o.Generation)
	}
	return fmt.Sprintf("%s %s", o.Status.State, o.Status.ReadyInterfaces)
}

// Path is that of a node's object, for Cluster.Get and Cluster.Print.
func Path(node string) string {
	return "/apis/multinic.io/v1/namespaces/multinic-system/multinicnodeconfigs/" + node
}

// Must runs kubectl as the administrator, and gives what it prints.
func (c *Cluster) Must(args ...string) string {
	c.t.Helper()
	out, err := c.Kubectl(c.t.Context(), args...)
	if err != nil {
		c.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

// Want applies manifests.
func (c *Cluster) Want(yaml string) {
	c.t.Helper()
	if out, err := c.Apply(c.t.Context(), yaml); err != nil {
		c.t.Fatalf("applying: %v\n%s", err, out)
	}
}
