package e2e

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

// cluster is a control plane with the product in it.
type cluster struct {
	*installed.Cluster
	t   *testing.T
	bed *bed.Bed
}

// newCluster gives the shared control plane, with CRDs and a running bridge.
func newCluster(t *testing.T, b *bed.Bed) *cluster {
	t.Helper()
	return &cluster{Cluster: installed.NewCluster(t, b), t: t, bed: b}
}

// get reads one field of a node's object, "" where there is none.
func (c *cluster) get(node, jsonpath string) string {
	c.t.Helper()
	out, err := c.Print(c.t.Context(), installed.Path(node), jsonpath)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(out)
}

// wantState waits until the object of a node has a state for its present generation.
func (c *cluster) wantState(node, state, ready string) {
	c.t.Helper()
	bed.Eventually(c.t, node, state+" "+ready, func() string { return c.State(node) })
}

func object(node string, nics ...string) string { return installed.Object(node, nics...) }

func nicYAML(id int, mac, cidr string, more ...string) string {
	return installed.Entry(id, mac, cidr, more...)
}

// newMember boots a host that is a node of the cluster: it holds its own credential, and multinicd runs.
// backend is more of the section of that name of its multinicd.toml.
func (c *cluster) newMember(t *testing.T, name, source, backend string, o testhost.Options) *node {
	t.Helper()
	o.Name = name
	n := &node{Node: c.Member(o, settings(name, source)+backend), t: t, bed: c.bed}
	if err := n.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestObjectBecomesConfiguredNICs(t *testing.T) {
	type row struct {
		node, source string
		kind         kind
	}
	const polled = "[source]\nmode = \"poll\"\ninterval = \"5s\""
	var rows []row
	for i, k := range both(netplan12, keyfiles12, netplan13+asTheCloud) {
		rows = append(rows, row{fmt.Sprintf("main-%d", i), "", k})
		if k.name == netplan12 || !k.cloud && len(prerequisite.Long(k)) > 0 {
			rows = append(rows, row{fmt.Sprintf("main-%d-polled", i), polled, k})
		}
	}
	for _, row := range rows {
		t.Run(row.node+" of "+row.kind.name, func(t *testing.T) {
			t.Parallel()
			k := row.kind
			b := bed.New(t)
			c := newCluster(t, b)
			name := row.node
			k.serve(b)
			n := c.newMember(t, name, row.source, k.toml, k.options(bed.NICs(mac1, mac2)...))
			c.Want(strings.ReplaceAll(example(t), "worker-node-01", name))
			c.wantState(name, "Configured", "2/2")
			n.wantLink(mac1, example1)
			n.wantLink(mac2, example2)
			t.Log(c.Must("get", "mnnc", "-n", "multinic-system"))
			if got := c.get(name, "{.status.observedSpecHash}"); got != "abc123def456" {
				t.Errorf("observedSpecHash is %q", got)
			}

			b.API().Cut(n.Host) // what the node boots with must not need the cluster
			if err := n.Reboot(t.Context()); err != nil {
				t.Fatal(err)
			}
			n.wantLink(mac1, example1)
			n.wantLink(mac2, example2)
			n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
			b.API().Heal(n.Host)

			c.Must("patch", "mnnc", name, "-n", "multinic-system", "--type=json", "-p",
				`[{"op": "replace", "path": "/spec/interfaces/0/address", "value": "192.168.100.77"}, {"op": "replace", "path": "/spec/interfaces/0/cidr", "value": "192.168.100.77/24"}]`)
			n.wantLink(mac1, "multinic1 up mtu 1500 192.168.100.77/24")
			c.wantState(name, "Configured", "2/2")
			if s, err := n.status(); err != nil || len(s.NICs) != 2 || s.NICs[0].Backend != k.backend {
				t.Errorf("configured by another backend than %s: %v %+v", k.backend, err, s.NICs)
			}
		})
	}
}

func TestOneBadNodeFailsAlone(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	c := newCluster(t, b)
	bad := c.newMember(t, "bad-node", "", "", testhost.Options{})
	good := c.newMember(t, "good-node", "", "", testhost.Options{NICs: bed.NICs("02:00:00:00:09:01")})
	// The first NIC passes the schema and is refused on the host: it is the primary's own address.
	c.Want(object("bad-node", nicYAML(1, mac1, bad.Address.String()), nicYAML(2, mac2, "10.2.2.2/24")))
	c.Want(object("good-node", nicYAML(1, "02:00:00:00:09:01", "10.3.3.3/24")))
	c.wantState("good-node", "Configured", "1/1")
	c.wantState("bad-node", "Failed", "1/2")
	reasons := c.get("bad-node", `{range .status.interfaceStatuses[*]}{.name}={.reason} {end}`)
	if want := "multinic1=AddressInUse multinic2=Configured"; reasons != want {
		t.Errorf("reasons are %q, want %q", reasons, want)
	}
	bad.wantLink(mac2, "multinic2 up mtu 1500 10.2.2.2/24")
	good.wantLink("02:00:00:00:09:01", "multinic1 up mtu 1500 10.3.3.3/24")

	// Somebody on the good node fights with multinicd: the cluster says so, and that it is over.
	degraded := func() string {
		return c.get("good-node", `{.status.state} {.status.interfaceStatuses[0].reason} {range .status.conditions[*]}{.type}={.status}/{.reason} {end}`)
	}
	events := func(reason string) string {
		t.Helper()
		out, err := c.Print(t.Context(), "/api/v1/namespaces/multinic-system/events?fieldSelector="+
			url.QueryEscape("involvedObject.kind=MultiNicNodeConfig,involvedObject.name=good-node,reason="+reason), "{range .items[*]}{.type} {.message}{end}")
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(out)
	}
	peace := degraded()
	good.must("systemd-run", "--quiet", "--unit=fight", "sh", "-c", "while :; do ip address del 10.3.3.3/24 dev multinic1 2>/dev/null; sleep 0.1; done")
	bed.Eventually(t, "the object during the fight", "InProgress DriftFighting Degraded=True/DriftFighting Progressing=True/Applying Ready=False/DriftFighting", degraded)
	bed.Eventually(t, "the event about the fight", "true", func() string {
		return fmt.Sprint(strings.HasPrefix(events("DriftFighting"), "Warning multinic1: another writer keeps changing it: address: want 10.3.3.3/24, have absent"))
	})
	good.must("systemctl", "stop", "fight")
	bed.Eventually(t, "the object in peace", peace, degraded)
	good.wantLink("02:00:00:00:09:01", "multinic1 up mtu 1500 10.3.3.3/24")
	// There may be more than one: a busy machine gives the fight's script a pause.
	bed.Eventually(t, "the event about the peace", "true", func() string {
		return fmt.Sprint(strings.HasPrefix(events("DriftEnded"), "Normal no other writer keeps changing the NICs any more"))
	})
}

func TestDeletedAndMadeAnew(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	c := newCluster(t, b)
	n := c.newMember(t, "anew", "", "", testhost.Options{})
	c.Want(object("anew", nicYAML(1, mac1, "10.1.1.1/24")))
	c.wantState("anew", "Configured", "1/1")
	if err := n.StopDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Must("delete", "mnnc", "anew", "-n", "multinic-system")
	n.wantLink(mac1, "multinic1 up mtu 1500 10.1.1.1/24")
	c.Want(object("anew", nicYAML(1, mac1, "10.1.1.1/24")))
	c.wantState("anew", "Pending", "0/1") // nobody has spoken of this object yet
	if err := n.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.wantState("anew", "Configured", "1/1")

	removed := func() {
		t.Helper()
		c.Must("delete", "mnnc", "anew", "-n", "multinic-system")
		n.eventually("state", "Removed", func() string {
			s, err := n.status()
			if err != nil {
				return err.Error()
			}
			return s.State
		})
	}
	removed()
	n.wantLink(mac1, "multinic1 up mtu 1500 10.1.1.1/24") // on_delete = "retain"

	config, err := n.ReadFile("/etc/multinicd/multinicd.toml")
	if err != nil {
		t.Fatal(err)
	}
	n.file("/etc/multinicd/multinicd.toml", "on_delete = \"restore\"\n"+string(config))
	if err := n.RestartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.wantLink(mac1, "eth1 down mtu 1500") // of an object that is gone, too
	c.Want(object("anew", nicYAML(1, mac1, "10.1.1.1/24")))
	c.wantState("anew", "Configured", "1/1")
	n.wantLink(mac1, "multinic1 up mtu 1500 10.1.1.1/24")
	removed()
	n.wantLink(mac1, "eth1 down mtu 1500")
	if got := n.ours(); got != "" {
		t.Errorf("files of ours are left: %s", got)
	}
}

func TestWithoutTheAPIServer(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	c := newCluster(t, b)
	n := c.newMember(t, "alone", "", "", testhost.Options{})
	c.Want(object("alone", nicYAML(1, mac1, "10.1.1.1/24")))
	c.wantState("alone", "Configured", "1/1")
	b.API().Cut(n.Host)
	if err := n.RestartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.wantNICs("multinic1 Configured Configured")
	c.Want(object("alone", nicYAML(1, mac1, "10.1.1.2/24")))
	if err := n.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.wantLink(mac1, "multinic1 up mtu 1500 10.1.1.1/24")
	b.API().Heal(n.Host)
	n.wantLink(mac1, "multinic1 up mtu 1500 10.1.1.2/24")
	c.wantState("alone", "Configured", "1/1")
}

func TestMain(m *testing.M) {
	bed.InEachPart("TestObjectBecomesConfiguredNICs", "TestChangesTouchNothingElse")
	os.Exit(bed.Main(m, installed.Close))
}
