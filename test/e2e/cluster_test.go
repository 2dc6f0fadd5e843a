package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/controlplane"
	"multinicd/test/product"
	"multinicd/test/sandbox"
	"multinicd/test/testhost"
)

// cluster is a control plane with the product in it.
type cluster struct {
	*controlplane.Cluster
	t   *testing.T
	bed *bed.Bed
}

// installed is done once for the control plane that all tests share; each test's own bridge would write the same, so one is enough.
var installed struct {
	sync.Once
	err    error
	bridge *product.Bridge
	box    *sandbox.Sandbox
}

// newCluster gives the shared control plane, with CRDs and a running bridge.
func newCluster(t *testing.T, b *bed.Bed) *cluster {
	t.Helper()
	c := &cluster{Cluster: b.Cluster(), t: t, bed: b}
	installed.Do(func() {
		if installed.err = product.Install(t.Context(), c.Cluster); installed.err != nil {
			return
		}
		if installed.box, installed.err = sandbox.New(context.WithoutCancel(t.Context()), func(string, ...any) {}); installed.err != nil {
			return
		}
		installed.bridge, installed.err = product.StartBridge(t.Context(), installed.box, c.Cluster, bed.Build(t, "./cmd/bridge"))
	})
	if installed.err != nil {
		t.Fatal(installed.err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log := installed.bridge.Log()
			t.Logf("the bridge said, at the end:\n%s", log[max(0, len(log)-4000):])
		}
	})
	return c
}

// closeInstalled ends what newCluster started, after the last test.
func closeInstalled() error {
	if installed.box == nil {
		return nil
	}
	return installed.box.Close()
}

func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	out, err := c.Kubectl(c.t.Context(), args...)
	if err != nil {
		c.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

func (c *cluster) apply(yaml string) {
	c.t.Helper()
	if out, err := c.Apply(c.t.Context(), yaml); err != nil {
		c.t.Fatalf("applying: %v\n%s", err, out)
	}
}

// get reads one field of a node's object, "" where there is none.
func (c *cluster) get(node, jsonpath string) string {
	c.t.Helper()
	out, err := c.Kubectl(c.t.Context(), "get", "mnnc", node, "-n", "multinic-system", "--ignore-not-found", "-o", "jsonpath="+jsonpath)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(out)
}

// wantState waits until the object of a node has a state for its present generation.
func (c *cluster) wantState(node, state, ready string) {
	c.t.Helper()
	eventually(c.t, node, state+" "+ready, func() string {
		out := c.get(node, `{.status.state} {.status.readyInterfaces} {.metadata.generation} {.status.observedGeneration}`)
		f := strings.Fields(out)
		if len(f) != 4 || f[2] != f[3] {
			return out
		}
		return f[0] + " " + f[1]
	})
}

// object is the example's object for another node and other addresses, so that tests can share a control plane.
func object(node string, nics ...string) string {
	return fmt.Sprintf(`apiVersion: multinic.io/v1
kind: MultiNicNodeConfig
metadata: {name: %[1]s, namespace: multinic-system}
spec:
  nodeName: %[1]s
  specHash: %[2]q
  interfaces:
  - %[3]s
`, node, fmt.Sprintf("hash-%d", len(strings.Join(nics, ""))), strings.Join(nics, "\n  - "))
}

func nicYAML(id int, mac, cidr string, more ...string) string {
	return fmt.Sprintf("{id: %d, macAddress: %q, cidr: %q%s}", id, mac, cidr, strings.Join(append([]string{""}, more...), ", "))
}

// newMember boots a host that is a node of the cluster: it holds its own credential, and multinicd runs.
func (c *cluster) newMember(t *testing.T, name, source string, o testhost.Options) *node {
	t.Helper()
	o.Name = name
	n := newNode(t, c.bed, o, settings(name, source))
	if err := product.Join(t.Context(), c.Cluster, n.Host, name, c.bed.API().URL()); err != nil {
		t.Fatal(err)
	}
	if err := n.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestObjectBecomesConfiguredNICs(t *testing.T) {
	for mode, source := range map[string]string{"watch": "", "poll": "[source]\nmode = \"poll\"\ninterval = \"5s\""} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := bed.New(t)
			c := newCluster(t, b)
			name := "main-" + mode
			n := c.newMember(t, name, source, testhost.Options{})
			c.apply(strings.ReplaceAll(strings.ReplaceAll(example(t), "worker-node-01", name), "i-0123456789abcdef0", "i-"+mode))
			c.wantState(name, "Configured", "2/2")
			n.wantLink(mac1, example1)
			n.wantLink(mac2, example2)
			t.Log(c.kubectl("get", "mnnc", "-n", "multinic-system"))
			if got := c.get(name, "{.status.observedSpecHash}"); got != "abc123def456" {
				t.Errorf("observedSpecHash is %q", got)
			}

			b.API().Cut(n.Host) // what the node boots with must not need the cluster
			if err := n.Reboot(t.Context()); err != nil {
				t.Fatal(err)
			}
			n.wantLink(mac1, example1)
			n.wantLink(mac2, example2)
			n.eventually("status", "multinic1 Configured Configured, multinic2 Configured Configured", n.nics)
			b.API().Heal(n.Host)

			c.kubectl("patch", "mnnc", name, "-n", "multinic-system", "--type=json", "-p",
				`[{"op": "replace", "path": "/spec/interfaces/0/address", "value": "192.168.100.77"}, {"op": "replace", "path": "/spec/interfaces/0/cidr", "value": "192.168.100.77/24"}]`)
			n.wantLink(mac1, "multinic1 up mtu 1500 192.168.100.77/24")
			c.wantState(name, "Configured", "2/2")
		})
	}
}

func TestOneBadNodeFailsAlone(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	c := newCluster(t, b)
	bad := c.newMember(t, "bad-node", "", testhost.Options{})
	good := c.newMember(t, "good-node", "", testhost.Options{NICs: bed.NICs("02:00:00:00:09:01")})
	// The first NIC passes the schema and is refused on the host: it is the primary's own address.
	c.apply(object("bad-node", nicYAML(1, mac1, bad.Address.String()), nicYAML(2, mac2, "10.2.2.2/24")))
	c.apply(object("good-node", nicYAML(1, "02:00:00:00:09:01", "10.3.3.3/24")))
	c.wantState("good-node", "Configured", "1/1")
	c.wantState("bad-node", "Failed", "1/2")
	reasons := c.get("bad-node", `{range .status.interfaceStatuses[*]}{.name}={.reason} {end}`)
	if want := "multinic1=AddressInUse multinic2=Configured"; reasons != want {
		t.Errorf("reasons are %q, want %q", reasons, want)
	}
	bad.wantLink(mac2, "multinic2 up mtu 1500 10.2.2.2/24")
	good.wantLink("02:00:00:00:09:01", "multinic1 up mtu 1500 10.3.3.3/24")
}

func TestDeletedAndMadeAnew(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	c := newCluster(t, b)
	n := c.newMember(t, "anew", "", testhost.Options{})
	c.apply(object("anew", nicYAML(1, mac1, "10.1.1.1/24")))
	c.wantState("anew", "Configured", "1/1")
	if err := n.StopDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.kubectl("delete", "mnnc", "anew", "-n", "multinic-system")
	n.wantLink(mac1, "multinic1 up mtu 1500 10.1.1.1/24")
	c.apply(object("anew", nicYAML(1, mac1, "10.1.1.1/24")))
	c.wantState("anew", "Pending", "0/1") // nobody has spoken of this object yet
	if err := n.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.wantState("anew", "Configured", "1/1")

	c.kubectl("delete", "mnnc", "anew", "-n", "multinic-system")
	n.eventually("state", "Removed", func() string {
		s, err := n.status()
		if err != nil {
			return err.Error()
		}
		return s.State
	})
	n.wantLink(mac1, "multinic1 up mtu 1500 10.1.1.1/24") // on_delete = "retain"
}

func TestWithoutTheAPIServer(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	c := newCluster(t, b)
	n := c.newMember(t, "alone", "", testhost.Options{})
	c.apply(object("alone", nicYAML(1, mac1, "10.1.1.1/24")))
	c.wantState("alone", "Configured", "1/1")
	b.API().Cut(n.Host)
	if err := n.RestartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.eventually("status", "multinic1 Configured Configured", n.nics)
	c.apply(object("alone", nicYAML(1, mac1, "10.1.1.2/24")))
	if err := n.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.wantLink(mac1, "multinic1 up mtu 1500 10.1.1.1/24")
	b.API().Heal(n.Host)
	n.wantLink(mac1, "multinic1 up mtu 1500 10.1.1.2/24")
	c.wantState("alone", "Configured", "1/1")
}

func TestMain(m *testing.M) {
	code := bed.Main(m, closeInstalled)
	os.Exit(code)
}
