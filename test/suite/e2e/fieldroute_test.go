package e2e

import (
	"net/netip"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// A NIC comes on a segment with an IPv6 router, on a host that listens to routers as one of a
// cluster without IPv6 does, or that forwards and listens all the same, as Talos and others set it.
func TestANICComesWhereARouterAdvertises(t *testing.T) {
	onKinds(t, brief(keyfiles12), func(t *testing.T, k kind) {
		for _, c := range []struct{ name, sysctls, more, global string }{
			{"as a kernel begins", "net.ipv6.conf.default.accept_ra=1 net.ipv6.conf.all.forwarding=0", "", ""},
			{"as a node that forwards and listens", "net.ipv6.conf.default.accept_ra=2 net.ipv6.conf.all.forwarding=1", "", ""},
			{"with IPv6 in the object", "net.ipv6.conf.default.accept_ra=1 net.ipv6.conf.all.forwarding=0", "addresses: [\"2001:db8:9::10/64\"]", "2001:db8:9::10/64"},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				n := kindNode(t, routed(t, "data1"), k, []testhost.NIC{}...)
				n.file("/etc/sysctl.d/50-routers.conf", strings.ReplaceAll(c.sysctls, " ", "\n")+"\n")
				n.must("sh", "-ec", "sysctl -q -w "+c.sysctls)
				var more []string
				if c.more != "" {
					more = append(more, c.more)
				}
				n.start(nodeObject(nicYAML(1, mac1, "192.168.100.10/24", more...)))
				n.wantNICs("multinic1 Pending WaitingForNIC")
				if err := n.Plug(testhost.NIC{MAC: mac1}); err != nil {
					t.Fatal(err)
				}
				right := func(when string) {
					t.Helper()
					n.wantNICs("multinic1 Configured Configured")
					n.wantStays("default routes and addresses by the router "+when, strings.TrimSpace("multinic1 up mtu 1500 192.168.100.10/24 "+c.global)+"; ", func() string {
						return n.link(mac1) + "; " + strings.TrimSpace(n.must("ip", "-6", "route", "show", "default", "dev", "multinic1"))
					})
				}
				right("at once")
				n.must("systemctl", "enable", "multinicd")
				n.reboot()
				right("after a boot")
			})
		}
	})
}

// Where the cloud made the host, and a router advertises on the primary NIC's segment too, the
// extra NIC has an IPv6 default route and an address when it is taken over.
func TestAStockHostWithIPv6Routers(t *testing.T) {
	t.Parallel()
	for _, k := range stockKinds(netplan13 + asTheCloud) {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			b, server := stockBed(t)
			for segment, network := range map[string]string{"mgmt": "2001:db8:a::/64", "data1": "2001:db8:b::/64"} {
				if err := b.World.Advertise(segment, netip.MustParsePrefix(network)); err != nil {
					t.Fatal(err)
				}
			}
			s := newStock(t, k, b, server, k.options(bed.NICs(mac1)...), nil)
			s.hasItsLease()
			by := func() string {
				return strings.Join(strings.Fields(s.must("sh", "-c", "ip -6 route show default | grep -o 'dev [^ ]*' | cut -d ' ' -f 2 | sort")), " ")
			}
			s.eventually("IPv6 default routes", s.Primary+" "+k.nth(1), by)
			s.start(nodeObject(nicYAML(1, mac1, "192.168.100.20/24")))
			s.isOurs("at once", "192.168.100.20/24")
			s.wantStays("IPv6 default routes", s.Primary, by)
			s.reboot()
			s.isOurs("after a boot", "192.168.100.20/24")
			s.wantStays("IPv6 default routes after a boot", s.Primary, by)
		})
	}
}

// IPv6 is off on the host: an object with an IPv6 address is refused before anything is touched,
// and says by which setting. Switched off on a NIC of ours it comes back, without a fight.
func TestIPv6IsSwitchedOff(t *testing.T) {
	onKinds(t, brief(netplan12), func(t *testing.T, k kind) {
		n := kindNode(t, bed.New(t), k, bed.NICs(mac1)...)
		const off = "net.ipv6.conf.all.disable_ipv6 = 1\nnet.ipv6.conf.default.disable_ipv6 = 1\n"
		wish := nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "addresses: [\"2001:db8:1::10/64\"]"))
		n.file("/etc/sysctl.d/60-noipv6.conf", off)
		n.reboot()
		n.settles("the NIC", func() string { return n.link(mac1) })
		const both = "multinic1 up mtu 1500 192.168.100.10/24 2001:db8:1::10/64"
		if k.flavour == testhost.Networkd {
			before := n.footprint()
			refused := n.apply(exitRefused, wish)
			for _, want := range []string{"NotSupported", "disable_ipv6=1"} {
				if !strings.Contains(refused, want) {
					t.Errorf("%q is not said:\n%s", want, refused)
				}
			}
			if after := n.footprint(); after != before {
				t.Errorf("refused, but it is\n%s\nwas\n%s", after, before)
			}
			n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.10/24")))
			n.wantLinkStays(mac1, "multinic1 up mtu 1500 192.168.100.10/24")
		} else { // NetworkManager switches IPv6 on for the links that it manages, now as at a boot
			n.apply(exitDone, wish)
			n.wantLinkStays(mac1, both)
			n.reboot()
			n.wantLinkStays(mac1, both)
		}

		if err := n.Remove("/etc/sysctl.d/60-noipv6.conf"); err != nil {
			t.Fatal(err)
		}
		n.reboot()
		n.start(wish)
		n.wantLink(mac1, both)
		n.wantNICs("multinic1 Configured Configured")
		n.must("sysctl", "-q", "-w", "net.ipv6.conf.multinic1.disable_ipv6=1")
		n.wantLinkStays(mac1, both)
		n.wantNICs("multinic1 Configured Configured")
		if log := n.Journal(t.Context()); strings.Contains(log, "standing back") {
			t.Errorf("it was taken for a fight:\n%s", log)
		}
	})
}

// A subnet or a route that lies in one of somebody else's, the Pods' of another node or half of the
// primary NIC's, draws traffic away: refused beforehand.
func TestASubnetThatIsSomebodyElses(t *testing.T) {
	t.Parallel()
	n := fileNode(t, bed.New(t), testhost.Options{}, nil)
	n.must("sh", "-ec", `ip link add flannel.1 type bridge; ip link set flannel.1 up; ip address add 10.244.7.0/32 dev flannel.1
		ip route add 10.244.9.0/24 via 10.244.9.0 dev flannel.1 onlink
		echo nameserver 10.53.0.53 >/etc/resolv.conf`)
	n.file("/etc/multinicd/multinicd.toml", settings("worker-node-01", fromFile)+"[routing]\nprotect = [\"10.99.0.0/16\"]\n")
	// Whether the overlay's link has a carrier is nobody's doing here, and comes late.
	const list = "ip route get 10.244.9.66; ip route get 192.0.2.201; ip route | sed 's/ linkdown//; s/ *$//'"
	before := n.must("sh", "-c", list)
	const own = "192.168.100.10/24"
	for name, c := range map[string]struct {
		nic  string
		says string
	}{
		"the very subnet of another node's Pods":     {nicYAML(1, mac1, "10.244.9.70/24"), "flannel.1"},
		"half of it":                                 {nicYAML(1, mac1, "10.244.9.200/25"), "flannel.1"},
		"half of the primary NIC's subnet":           {nicYAML(1, mac1, "192.0.2.200/25"), "eth0"},
		"a route to the other node's Pods":           {nicYAML(1, mac1, own, "routes: [{to: 10.244.9.0/25, via: 192.168.100.1}]"), "flannel.1"},
		"a route to the metadata service":            {nicYAML(1, mac1, own, "routes: [{to: 169.254.169.254/32, via: 192.168.100.1}]"), "169.254.169.254"},
		"a route to the host's name server":          {nicYAML(1, mac1, own, "routes: [{to: 10.53.0.0/16, via: 192.168.100.1}]"), "10.53.0.53"},
		"a route to what the host's owner protected": {nicYAML(1, mac1, own, "routes: [{to: 10.99.7.0/24, via: 192.168.100.1}]"), "10.99.0.0/16"},
		"with adopt as well":                         {nicYAML(1, mac1, "10.244.9.70/24", "adopt: true"), "flannel.1"},
	} {
		out := n.apply(exitRefused, nodeObject(c.nic, nicYAML(2, mac2, "192.168.200.10/24")))
		// Half of the primary NIC's subnet has the primary's gateway in it, or another host's.
		if !strings.Contains(out, "SubnetConflict") || !strings.Contains(out, c.says) {
			t.Errorf("%s: it does not say SubnetConflict and %s:\n%s", name, c.says, out)
		}
		n.wantLink(mac1, "eth1 down mtu 1500")
	}
	n.wantLink(mac2, "multinic2 up mtu 1500 192.168.200.10/24")
	n.apply(exitDone, nodeObject())
	if after := n.must("sh", "-c", list); after != before {
		t.Errorf("routes are\n%s\nwere\n%s", after, before)
	}
}
