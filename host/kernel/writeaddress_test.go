package kernel

import (
	"net/netip"
	"slices"
	"testing"

	"multinicd/nic"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lease gives a link an address as a DHCP client does.
func (n *namespace) lease(index int, address string, valid, flags int) {
	n.t.Helper()
	a, err := netlink.ParseAddr(address)
	n.ok(err)
	a.ValidLft, a.PreferedLft, a.Flags = valid, valid/2, flags
	n.ok(n.AddrAdd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}, a))
}

func (n *namespace) address(link, p string) nic.Address {
	n.t.Helper()
	l := n.link(link)
	i := slices.IndexFunc(l.Addresses, func(a nic.Address) bool { return a.Prefix == netip.MustParsePrefix(p) })
	if i < 0 {
		n.t.Fatalf("there is no %s in %v", p, l.Addresses)
	}
	return l.Addresses[i]
}

func TestALeasedAddressStaysForGoodAndItsLifetimeComesBack(t *testing.T) {
	const four, six, mine = "192.0.2.10/24", "2001:db8::10/64", "192.0.2.20/24"
	for name, flags := range map[string]int{"the kernel has a route for it": 0, "its client has made the route": unix.IFA_F_NOPREFIXROUTE} {
		t.Run(name, func(t *testing.T) {
			n := newNamespace(t)
			l := n.veth("multinic1", testMAC)
			n.quick("multinic1")
			n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true})
			n.lease(l.Index, four, 600, flags)
			n.lease(l.Index, mine, 600, flags)
			n.lease(l.Index, six, 600, flags)
			// Somebody else's, which goes with the address unless that stays.
			if flags == 0 {
				n.route(l.Index, "203.0.113.0/24", "192.0.2.1", 254, 80)
			}
			var c nic.Change
			c.Index, c.MAC = l.Index, l.MAC
			for _, p := range []string{four, six} {
				c.Terms = append(c.Terms, nic.Term{Address: netip.MustParsePrefix(p), Had: n.address("multinic1", p).Lifetime})
			}
			n.quiet()
			n.change(c)
			for _, p := range []string{four, six} {
				if a := n.address("multinic1", p); !a.Permanent || a.Tentative || a.Lifetime != (nic.Lifetime{}) {
					t.Errorf("%+v", a)
				}
			}
			if a := n.address("multinic1", mine); a.Permanent || a.Lifetime.Valid < 500 || a.Lifetime.Valid > 600 || a.Lifetime.Preferred > 300 {
				t.Errorf("another's lease: %+v", a)
			}
			var subnet bool
			for _, r := range n.link("multinic1").Routes {
				subnet = subnet || r.To == netip.MustParsePrefix("192.0.2.0/24") && r.Protocol == nic.ProtocolKernel
			}
			if !subnet {
				t.Error("the kernel has no route to the subnet")
			}
			if got := routes(n.link("multinic1")); flags == 0 && !cmp.Equal(got, []string{"203.0.113.0/24 via 192.0.2.1 proto 80"}) {
				t.Errorf("another's route: %q", got)
			}
			n.quiet()
			n.change(c)
			if got := n.events(); len(got) != 0 {
				t.Errorf("the second time there were events: %q", got)
			}
			n.change(c.Inverse())
			for _, p := range []string{four, six} {
				if a := n.address("multinic1", p); a.Permanent || a.Lifetime.Valid < 500 || a.Lifetime.Valid > 600 || a.Lifetime.Preferred > 300 {
					t.Errorf("undone: %+v", a)
				}
			}
		})
	}
}

func TestAnAddressThatADHCPClientBringsFirstStaysForGoodToo(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("multinic1", testMAC)
	n.lease(l.Index, "192.0.2.10/24", 600, 0)
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24", "192.0.2.11/24")})
	for _, p := range []string{"192.0.2.10/24", "192.0.2.11/24"} {
		if a := n.address("multinic1", p); !a.Permanent {
			t.Errorf("%+v", a)
		}
	}
}

func TestALeasedAddressThatWasDeletedComesBackWithItsLifetime(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("multinic1", testMAC)
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true})
	n.lease(l.Index, "192.0.2.10/24", 600, 0)
	a := n.address("multinic1", "192.0.2.10/24")
	c := nic.Change{Index: l.Index, MAC: l.MAC, Add: prefixes("192.0.2.11/24"), Del: prefixes("192.0.2.10/24"), Terms: []nic.Term{{Address: a.Prefix, Had: a.Lifetime}}}
	n.change(c)
	if diff := cmp.Diff([]string{"192.0.2.11/24"}, addresses(n.link("multinic1"))); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	n.change(c.Inverse())
	if a := n.address("multinic1", "192.0.2.10/24"); a.Permanent || a.Lifetime.Valid < 500 || a.Lifetime.Valid > 600 {
		t.Errorf("undone: %+v", a)
	}
}
