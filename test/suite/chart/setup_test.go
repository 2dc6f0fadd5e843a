// Package chart proves the chart on a cluster with a real kubelet: the bridge runs in Pods from the images of `make image`, and a node that
// runs a kubelet and multinicd has its NICs configured.
//
// In go the chart, the plain manifests, the images; out come a configured NIC and a status. What is upgraded, rolled back, killed and
// uninstalled meanwhile must cost the node nothing.
//
// There is one cluster with one node per test, on which the Pods run too: its steps are a story, in order.
//
// Start reading at TestTheChartDoesTheMainJob and TestNodesWithoutADaemonHaveJobs.
package chart

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/kubelet"
	"multinicd/test/bed/sandbox"
)

const system = "multinic-system"

// cluster is a control plane and one node, on which Pods run.
type cluster struct {
	*controlplane.Cluster
	t    *testing.T
	bed  *bed.Bed
	helm string
	node *kubelet.Node
	name string // the node's
}

// newCluster has one node, with two NICs.
func newCluster(t *testing.T, name string) *cluster {
	t.Helper()
	var b *bed.Bed
	// After the bed has been cleared away, with Pods that still ran: cgroups and mounts of theirs are not the host's.
	t.Cleanup(func() {
		if b == nil {
			return
		}
		if left, err := sandbox.Left(b.Sandbox()); err != nil || len(left) > 0 {
			t.Errorf("left behind %q (%v), want nothing", left, err)
		}
	})
	b = bed.New(t)
	c := &cluster{Cluster: b.OwnCluster(controlplane.Options{OwnCredentials: true}), t: t, bed: b, name: name}
	var err error
	if c.helm, err = kubelet.Helm(t.Context(), t.Logf); err != nil {
		t.Fatal(err)
	}
	c.node = b.Node(name, 1, "02:00:00:00:01:01", "02:00:00:00:01:02")
	c.kubectl("label", "node", name, "node-role.kubernetes.io/control-plane=") // all there is
	return c
}

// kubectl runs kubectl as the administrator.
func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	out, err := c.Kubectl(c.t.Context(), args...)
	if err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// get reads what is at a path. Whoever waits for something asks so, without a process.
func (c *cluster) get(path string, into any) {
	c.t.Helper()
	if err := c.Get(c.t.Context(), path, into); err != nil {
		c.t.Fatal(err)
	}
}

// print gives what kubectl prints with -o jsonpath, "" where there is no such object.
func (c *cluster) print(path, template string) string {
	c.t.Helper()
	out, err := c.Print(c.t.Context(), path, template)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// runHelm runs helm in the repository.
func (c *cluster) runHelm(args ...string) string {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), c.helm, args...)
	home := c.t.TempDir()
	cmd.Dir = bed.Path(c.t, ".")
	cmd.Env = append(os.Environ(), "GOGC=400", "KUBECONFIG="+c.Kubeconfig, "HOME="+home, "XDG_CACHE_HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home)
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("helm %s: %v\n%s\n%s", strings.Join(args, " "), err, out, c.kubectl("get", "pods,events", "-n", system))
	}
	return string(out)
}

// join installs multinicd on the node as its package would, and lets it join by its kubelet's identity, as docs/cluster.md says.
func (c *cluster) join() {
	c.t.Helper()
	ctx := c.t.Context()
	if err := c.node.InstallDaemon(ctx, bed.Build(c.t, "./cmd/multinicd"), bed.Path(c.t, "systemd/multinicd.service"), "links.virtual_kinds = [\"veth\"]\n"); err != nil {
		c.t.Fatal(err)
	}
	if out, err := c.node.Run(ctx, "multinicd", "join", "--kubelet"); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	if err := c.node.StartDaemon(ctx); err != nil {
		c.t.Fatal(err)
	}
}

// object reads the node's.
func (c *cluster) object() v1.MultiNicNodeConfig {
	c.t.Helper()
	var o v1.MultiNicNodeConfig
	c.get(installed.Path(c.name), &o)
	return o
}

// setMTU publishes a change of both NICs.
func (c *cluster) setMTU(mtu int) {
	c.t.Helper()
	patch := fmt.Sprintf(`[{"op": "replace", "path": "/spec/interfaces/0/mtu", "value": %d}, {"op": "replace", "path": "/spec/interfaces/1/mtu", "value": %d}]`, mtu, mtu)
	c.kubectl("patch", "mnnc", "-n", system, c.name, "--type=json", "-p", patch)
}

// hasMTU waits until the kernel has it on both NICs.
func (c *cluster) hasMTU(mtu int) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("both NICs have MTU %d", mtu), func(ctx context.Context) string {
		for _, link := range []string{"multinic1", "multinic2"} {
			out, err := c.node.Run(ctx, "ip", "link", "show", link)
			if err != nil || !strings.Contains(out, fmt.Sprintf("mtu %d ", mtu)) {
				return fmt.Sprintf("%v: %s", err, out)
			}
		}
		return ""
	})
}

// configured waits until the status says of the newest generation that it is.
func (c *cluster) configured() {
	c.t.Helper()
	eventually(c.t, "the newest generation is Configured", func(context.Context) string {
		o := c.object()
		if o.Status.ObservedGeneration != o.Generation || o.Status.State != v1.StateConfigured {
			return fmt.Sprintf("generation %d, status %+v", o.Generation, o.Status)
		}
		return ""
	})
}

// pods are those of the bridge that run: name to uid.
func (c *cluster) pods() map[string]string {
	c.t.Helper()
	pods := map[string]string{}
	for line := range strings.Lines(c.print("/api/v1/namespaces/"+system+"/pods?labelSelector=app.kubernetes.io/name+in+(multinic-bridge,multinic-credentials)&fieldSelector=status.phase%3DRunning",
		`{range .items[*]}{.metadata.name} {.metadata.uid}{"\n"}{end}`)) {
		name, uid, _ := strings.Cut(strings.TrimSpace(line), " ")
		pods[name] = uid
	}
	return pods
}

// leader is the Pod that leads, "" if none does; after is one that does not count.
func (c *cluster) leader(after string) (pod, uid string) {
	c.t.Helper()
	eventually(c.t, "a replica leads", func(context.Context) string {
		holder := c.print("/apis/coordination.k8s.io/v1/namespaces/"+system+"/leases/multinic-bridge", "{.spec.holderIdentity}")
		if holder == "" || holder == after {
			return "the Lease is held by " + holder
		}
		pod, _, _ = strings.Cut(holder, "_")
		uid = c.pods()[pod]
		if uid == "" {
			return holder + " does not run"
		}
		return ""
	})
	return pod, uid
}

// bridgeLogs is what every replica has said that the node still has a log of.
func (c *cluster) bridgeLogs() string {
	c.t.Helper()
	out, err := c.node.Shell(c.t.Context(), "cat /var/log/pods/"+system+"_multinic-bridge-*/bridge/*.log /var/log/pods/"+system+"_multinic-credentials-*/bridge/*.log")
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// undisturbed watches the node's NICs and its daemon; the function that it gives fails the test where anything happened to them.
func (c *cluster) undisturbed() func() {
	c.t.Helper()
	before, err := c.node.DaemonPID(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	m, err := c.node.MonitorKernel()
	if err != nil {
		c.t.Fatal(err)
	}
	return func() {
		c.t.Helper()
		defer m.Stop()
		events, err := m.Events()
		if err != nil {
			c.t.Fatal(err)
		}
		for _, e := range events {
			// The Pods of the bridge have links, too.
			if e.Link == "eth0" || strings.HasPrefix(e.Link, "multinic") {
				c.t.Errorf("the node was disturbed: %v", e)
			}
		}
		if after, err := c.node.DaemonPID(c.t.Context()); err != nil || after != before {
			c.t.Errorf("multinicd had process id %d, now %d (%v)", before, after, err)
		}
	}
}

// manifests are the arguments of kubectl apply that docs/cluster.md names, after helm.
func manifests(t *testing.T) []string {
	args := []string{"apply", "--server-side", "--force-conflicts"}
	for _, name := range []string{"crds", "bridge", "admission", "deployment"} {
		args = append(args, "-f", filepath.Join(bed.Path(t, "deploy"), name+".yaml"))
	}
	return args
}

// steps are the steps of a story, each of which stands on those before.
func (c *cluster) steps(t *testing.T) func(sentence string, f func(c *cluster)) {
	return func(sentence string, f func(c *cluster)) {
		t.Helper()
		t.Run(sentence, func(t *testing.T) {
			at := *c
			at.t = t
			f(&at)
		})
		if t.Failed() {
			t.FailNow()
		}
	}
}

// eventually waits until f says nothing any more.
func eventually(t *testing.T, what string, f func(ctx context.Context) string) {
	t.Helper()
	bed.Eventually(t, what, "", func() string {
		ctx, cancel := context.WithTimeout(t.Context(), bed.Patience)
		defer cancel()
		return f(ctx)
	})
}
