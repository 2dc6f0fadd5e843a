package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// The address that is wanted is there already, with a lifetime, as dhclient leaves it: it stays for
// good, without a packet lost, and so do routes of others that need it.
func TestAnAddressWithALifetimeIsMadeToStay(t *testing.T) {
	onKinds(t, brief(keyfiles12), func(t *testing.T, k kind) {
		n := kindNode(t, bed.New(t), k, bed.NICs(mac1)...)
		const lifetime = 12 * time.Second
		n.must("sh", "-ec", fmt.Sprintf("ip link set eth1 up; ip address add 192.168.100.10/24 dev eth1 valid_lft %[1]d preferred_lft %[1]d; ip route add 203.0.113.0/24 via 192.168.100.1 dev eth1 proto 80", int(lifetime.Seconds())))
		n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.10/24"))) // once, as a Job does
		addresses := func() string {
			return strings.Join(strings.Fields(n.must("sh", "-c", "ip -4 -oneline address show dev multinic1 | grep -o -e '192[^ ]*/24' -e 'valid_lft.*'")), " ")
		}
		const forever = "192.168.100.10/24 valid_lft forever preferred_lft forever"
		n.eventually("the address", forever, addresses)
		kernel, err := n.MonitorKernel()
		if err != nil {
			t.Fatal(err)
		}
		defer kernel.Stop()
		n.must("sleep", fmt.Sprint((lifetime + 3*time.Second).Seconds())) // it would end
		if got := addresses(); got != forever {
			t.Errorf("after its lifetime the address is %q", got)
		}
		// NetworkManager flushes a link when it brings the first profile in force there.
		if got := n.must("ip", "route", "show", "203.0.113.0/24"); k.flavour == testhost.Networkd && !strings.Contains(got, "dev multinic1 proto 80") {
			t.Errorf("the route of somebody else is %q", got)
		}
		events, err := kernel.Events()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Gone && (e.What == "address" || e.What == "route") {
				t.Errorf("it went: %s", e)
			}
		}
	})
}

// Somebody's link lies on a NIC: it is not ours for the asking, and once it is, its child loses
// neither MTU nor carrier by us.
func TestANICThatAnotherLinkLiesOn(t *testing.T) {
	onKinds(t, brief(netplan12), func(t *testing.T, k kind) {
		n := kindNode(t, bed.New(t), k, bed.NICs(mac1, mac2)...)
		n.must("sh", "-ec", "ip link set eth1 up; ip link add link eth1 name mv0 type macvlan mode bridge; ip link set mv0 up; ip address add 203.0.113.9/24 dev mv0; ip route add 10.77.0.0/16 via 203.0.113.1")
		n.quiet()
		child := func() string {
			return n.must("sh", "-c", "cat /sys/class/net/mv0/mtu; ip -oneline link show dev mv0 | grep -o LOWER_UP; ip -4 route show dev mv0 | sed 's/ *$//'")
		}
		before := child()
		refused := n.apply(exitRefused, nodeObject(nicYAML(1, mac1, "192.168.100.10/24")))
		for _, want := range []string{"ForeignConfig", "mv0", "adopt: true"} {
			if !strings.Contains(refused, want) {
				t.Errorf("%q is not said:\n%s", want, refused)
			}
		}
		n.start(nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1400", "adopt: true"), nicYAML(2, mac2, "192.168.200.10/24")))
		n.eventually("the NIC's address", "192.168.100.10/24", func() string { words := strings.Fields(n.link(mac1)); return words[len(words)-1] })
		n.eventually("what the status says of the child", "mv0", func() string {
			s, err := n.status()
			if err != nil || len(s.NICs) != 2 || !strings.Contains(s.NICs[0].Message, "mv0") {
				return fmt.Sprint(s.NICs, err)
			}
			return "mv0"
		})
		n.wantStays("the child", before, child)

		// One that comes when the NIC is ours.
		n.must("sh", "-ec", "ip link add link multinic2 name mv1 type macvlan mode bridge; ip link set mv1 up; ip address add 10.78.0.10/24 dev mv1; ip route add 10.79.0.0/16 via 10.78.0.1")
		late := func() string {
			return n.must("sh", "-c", "cat /sys/class/net/mv1/mtu; ip -oneline link show dev mv1 | grep -o LOWER_UP; ip -4 route show dev mv1 | sed 's/ *$//'")
		}
		n.quiet()
		came := late()
		n.file(objectFile, nodeObject(nicYAML(2, mac2, "192.168.200.11/24", "mtu: 1300")))
		n.must("systemctl", "restart", "multinicd")
		n.eventually("the NIC's new address", "192.168.200.11/24", func() string { words := strings.Fields(n.link(mac2)); return words[len(words)-1] })
		n.wantStays("the child that came later", came, late)
		n.wantStays("the child of the NIC that was given back", before, child)
		n.file(objectFile, nodeObject())
		n.must("systemctl", "restart", "multinicd")
		n.wantNICs("")
		n.wantStays("the child that came later, after all was given back", came, late)
	})
}

// A MAC that means something else: a link that lies on a NIC and has a MAC of its own (a trunk's
// subport), two entries of one MAC (a trunk's subports in Neutron's list), the primary NIC's.
func TestAMACThatIsNoNICs(t *testing.T) {
	t.Parallel()
	n := fileNode(t, bed.New(t), testhost.Options{NICs: bed.NICs(mac1)}, nil)
	n.must("sh", "-ec", "ip link set eth1 up; ip link add link eth1 name eth1.100 address "+mac2+" type macvlan")
	for name, c := range map[string]struct {
		wish string
		exit int
		says []string
	}{
		"a VLAN's, or what stands for one": {nodeObject(nicYAML(1, mac2, "192.168.100.10/24")), exitRefused, []string{"NotPhysical", "eth1.100"}},
		"twice the same":                   {nodeObject(nicYAML(1, mac1, "192.168.100.10/24"), nicYAML(2, mac1, "203.0.113.10/24")), exitFailed, []string{"macAddress " + mac1, "give each its own"}},
		"the primary NIC's":                {nodeObject(nicYAML(1, n.PrimaryMAC, "203.0.113.10/24")), exitRefused, []string{"ProtectedLink"}},
	} {
		out := n.apply(c.exit, c.wish)
		for _, want := range c.says {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not said:\n%s", name, want, out)
			}
		}
	}
}

// The twin of a NIC, enslaved as a VF is to its synthetic NIC, is not meant, and its coming and
// going are no drift.
func TestTheEnslavedTwinOfANIC(t *testing.T) {
	t.Parallel()
	n := fileNode(t, bed.New(t), testhost.Options{NICs: append(bed.NICs(mac1), testhost.NIC{MAC: mac1, Name: "enP1s1", Segment: "data2"})}, nil)
	n.must("sh", "-ec", "ip link add netvsc type bridge; ip link set enP1s1 master netvsc")
	const want = "multinic1 up mtu 1500 192.168.100.10/24"
	mine := func() string {
		return strings.TrimSpace(n.must("sh", "-c", "ip -br -4 address show dev multinic1 2>/dev/null | awk '{print $3}'; cat /sys/class/net/multinic1/ifindex 2>/dev/null || true"))
	}
	n.start(nodeObject(nicYAML(1, mac1, "192.168.100.10/24")))
	n.wantNICs("multinic1 Configured Configured")
	before := mine()
	if !strings.HasPrefix(before, "192.168.100.10/24\n") {
		t.Fatalf("%s is not on the free one of two:\n%s", want, before)
	}
	for range 3 { // as at each live migration
		n.must("sh", "-ec", "ip link set enP1s1 down; ip link set enP1s1 nomaster; ip link set enP1s1 master netvsc; ip link set enP1s1 up")
		n.wantNICs("multinic1 Configured Configured")
		n.wantStays("the NIC", before, mine)
	}
	if got := n.must("cat", "/sys/class/net/enP1s1/master/ifindex"); got == "" {
		t.Error("the twin is free")
	}
}
