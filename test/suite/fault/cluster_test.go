package fault

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/monitor"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

// cluster is a control plane with the product in it.
type cluster struct {
	*installed.Cluster
	t   *testing.T
	bed *bed.Bed
}

func newCluster(t *testing.T, b *bed.Bed) *cluster {
	t.Helper()
	return &cluster{Cluster: installed.NewCluster(t, b), t: t, bed: b}
}

// newMember boots a host that is a node of the cluster, and starts multinicd there.
func (c *cluster) newMember(name string, o testhost.Options) *node {
	c.t.Helper()
	o.Name = name
	n := &node{Node: c.Member(o, settings(name, "", "off"), failpoint), t: c.t, bed: c.bed}
	n.Sh("systemctl disable multinicd")
	n.start()
	return n
}

// summary is what the object of a node says of its present generation: "Failed multinic1=ProbeFailed".
func (c *cluster) summary(node string) string {
	c.t.Helper()
	var obj struct {
		Metadata struct{ Generation int64 }
		Status   struct {
			ObservedGeneration int64
			State              string
			InterfaceStatuses  []struct{ Name, Reason string }
		}
	}
	if err := c.Get(c.t.Context(), installed.Path(node), &obj); err != nil {
		return err.Error()
	}
	if obj.Metadata.Generation != obj.Status.ObservedGeneration {
		return "of an older generation"
	}
	words := []string{obj.Status.State}
	for _, i := range obj.Status.InterfaceStatuses {
		words = append(words, i.Name+"="+i.Reason)
	}
	return strings.Join(words, " ")
}

// held says when an address came to the host, and when it went, as the kernel told; zero if it never did.
func held(t *testing.T, kernel *monitor.Kernel, address string) (came, went time.Time) {
	t.Helper()
	events, err := kernel.Events()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		switch {
		case e.What != "address" || !strings.HasPrefix(e.Text, address+"/"):
		case e.Gone:
			return came, e.Time
		case came.IsZero():
			came = e.Time
		}
	}
	return came, went
}

// undoneIn is how long an undo may take.
const undoneIn = 30 * time.Second

// The guard lets a subnet pass that is no longer than the primary's, and a route to it; where the primary's route has a worse metric, as DHCP clients and
// NetworkManager give it, that cuts the way to the API server all the same.
func TestAChangeThatCutsTheWayToTheAPIServerIsUndone(t *testing.T) {
	t.Parallel()
	stands := append([]stand{onNetplan}, prerequisite.Long(managerStands...)...)
	for _, s := range stands {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b := bed.New(t)
			cutOff(t, newCluster(t, b), s)
		})
	}
}

func cutOff(t *testing.T, c *cluster, s stand) {
	name := "cut-off-" + strings.ToLower(strings.ReplaceAll(s.name, " ", "-")) // the control plane is all tests'
	last := "probe"
	if s.name != onNetplan.name {
		last = "settle" // the way is cut when NetworkManager has activated the profile, and the next step sees it
	}
	n := c.newMember(name, s.options)
	// Else the NIC would get no route to the primary's subnet in the first place.
	n.Sh("printf '" + s.toml + "[routing]\nsame_subnet = \"off\"\n' >>/etc/multinicd/multinicd.toml; systemctl restart multinicd")
	c.Want(object(name, entry(2, mac2, bystander)))
	bed.Eventually(t, "the object", "Configured multinic2=Configured", func() string { return c.summary(name) })
	n.Sh("ip route add 192.0.2.0/24 dev eth0 src " + n.Address.Addr().String() + " metric 1000; ip route del 192.0.2.0/24 dev eth0 proto kernel")
	before := n.text()
	kernel, err := n.MonitorKernel()
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Stop()
	undone := func(t *testing.T, address string) {
		t.Helper()
		bed.Eventually(t, "the object", "Failed multinic1=ProbeFailed multinic2=Configured", func() string { return c.summary(name) })
		if came, went := held(t, kernel, address); came.IsZero() || went.IsZero() || went.Sub(came) > undoneIn {
			t.Errorf("the way was cut at %v, and open again at %v", came, went)
		} else {
			t.Logf("the way was cut for %v", went.Sub(came))
		}
		if got := n.text(); got != before {
			t.Errorf("the host is\n%s\nwas\n%s", got, before)
		}
	}

	t.Run("by the daemon that made it", func(t *testing.T) {
		c.Want(object(name, entry(1, mac1, "192.0.2.201/24"), entry(2, mac2, bystander)))
		undone(t, "192.0.2.201")
	})

	t.Run("not by a route, which is seen beforehand", func(t *testing.T) {
		c.Want(object(name, entry(1, mac1, "192.168.100.10/24", "routes: [{to: 192.0.2.0/24}]"), entry(2, mac2, bystander)))
		bed.Eventually(t, "the object", "Failed multinic1=SubnetConflict multinic2=Configured", func() string { return c.summary(name) })
		if got := n.text(); got != before {
			t.Errorf("the host is\n%s\nwas\n%s", got, before)
		}
	})

	t.Run("by the one after it, when that was killed", func(t *testing.T) {
		c.Want(object(name, entry(2, mac2, bystander)))
		bed.Eventually(t, "the object", "Configured multinic2=Configured", func() string { return c.summary(name) })
		n.stop()
		n.Sh("systemctl set-environment 'MULTINICD_FAILPOINT=kill " + last + "'")
		n.start()
		c.Want(object(name, entry(1, mac1, "192.0.2.202/24"), entry(2, mac2, bystander)))
		n.eventually("the daemon", "auto-restart", n.subState)
		n.Sh("systemctl unset-environment MULTINICD_FAILPOINT") // and systemd starts it again by itself
		undone(t, "192.0.2.202")
	})

	t.Run("and nothing is left to stop the next change", func(t *testing.T) {
		c.Want(object(name, entry(1, mac1, "192.168.100.11/24"), entry(2, mac2, bystander)))
		bed.Eventually(t, "the object", "Configured multinic1=Configured multinic2=Configured", func() string { return c.summary(name) })
	})
}

func TestAnAddressOfANeighbourIsRefusedWithItsMAC(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	n := newNode(t, b, testhost.Options{}, settings(nodeName, fromFile, "fast"))
	before := n.text()
	if err := b.World.AddAddress("data1", netip.MustParsePrefix("192.168.100.10/24")); err != nil {
		t.Fatal(err)
	}
	mac := switchMAC(t, b, "data1")
	n.wish(object(nodeName, entry(1, mac1, "192.168.100.10/24"), entry(2, mac2, bystander)))
	code, out := n.exit("multinicd", "apply", "-f", objectFile)
	if code != 6 || !strings.Contains(out, "AddressInUse") || !strings.Contains(out, mac) {
		t.Errorf("exit %d, want 6, AddressInUse and %s:\n%s", code, mac, out)
	}
	first := func(text string) string { line, _, _ := strings.Cut(text, "\n"); return line }
	if got, want := first(n.text()), first(before); got != want {
		t.Errorf("the link is %q, was %q", got, want)
	}
	n.wish(object(nodeName, entry(1, mac1, "192.168.100.11/24"), entry(2, mac2, bystander)))
	if code, out := n.exit("multinicd", "apply", "-f", objectFile); code != 0 {
		t.Errorf("a free address: exit %d\n%s", code, out)
	}
}
