package plan_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/nic"
	"multinicd/plan"
)

func TestVerify(t *testing.T) {
	c := config(1, "10.1.0.5/24", "2001:db8::5/64")
	c.MTU, c.Routes = 1500, []nic.Route{route("10.0.0.0/8 10.1.0.1"), route("2001:db8:9::/48 fe80::1")}
	for name, test := range map[string]struct {
		change func(l *nic.Link, o *plan.Owned)
		want   []plan.Mismatch
	}{
		"all is well":                    {func(*nic.Link, *plan.Owned) {}, nil},
		"what is not ours is no matter":  {func(l *nic.Link, _ *plan.Owned) { l.Addresses = append(l.Addresses, address("10.9.0.1/24")) }, nil},
		"the name":                       {func(l *nic.Link, _ *plan.Owned) { l.Name = "eth1" }, []plan.Mismatch{{Field: "name", Want: "multinic1", Have: "eth1"}}},
		"the name where it must wait":    {func(l *nic.Link, o *plan.Owned) { l.Name, o.RenameBlocked = "eth1", true }, nil},
		"the MTU":                        {func(l *nic.Link, _ *plan.Owned) { l.MTU = 1400 }, []plan.Mismatch{{Field: "mtu", Want: "1500", Have: "1400"}}},
		"the link is down":               {func(l *nic.Link, _ *plan.Owned) { l.Up = false }, []plan.Mismatch{{Field: "up", Want: "up", Have: "down"}}},
		"no carrier is no matter":        {func(l *nic.Link, _ *plan.Owned) { l.Carrier = false }, nil},
		"an address is missing":          {func(l *nic.Link, _ *plan.Owned) { l.Addresses = l.Addresses[1:] }, []plan.Mismatch{missing("10.1.0.5/24", plan.Absent)}},
		"an address has another length":  {func(l *nic.Link, _ *plan.Owned) { l.Addresses[0] = address("10.1.0.5/16") }, []plan.Mismatch{missing("10.1.0.5/24", plan.Absent)}},
		"an address waits for a carrier": {func(l *nic.Link, _ *plan.Owned) { l.Addresses[1].Tentative, l.Carrier = true, false }, nil},
		"an address is being probed":     {func(l *nic.Link, _ *plan.Owned) { l.Addresses[1].Tentative, l.Carrier = true, true }, []plan.Mismatch{missing("2001:db8::5/64", plan.Tentative)}},
		"an address is somebody else's":  {func(l *nic.Link, _ *plan.Owned) { l.Addresses[1].Tentative, l.Addresses[1].Duplicate = true, true }, []plan.Mismatch{missing("2001:db8::5/64", plan.Duplicate)}},
		"an address goes with its lease": {func(l *nic.Link, _ *plan.Owned) { l.Addresses[0].Permanent = false }, []plan.Mismatch{missing("10.1.0.5/24", plan.Leased)}},
		"a DHCP client has brought something": {func(l *nic.Link, _ *plan.Owned) {
			l.Addresses = append(l.Addresses, nic.Address{Prefix: netip.MustParsePrefix("10.9.0.1/24")})
			l.Routes = append(l.Routes, proto(16, route("172.16.0.0/12")))
		}, []plan.Mismatch{{Field: "address", Want: "absent", Have: "10.9.0.1/24, which has a lifetime"}, {Field: "route", Want: "absent", Have: "172.16.0.0/12, by DHCP"}}},
		"a route is missing":           {func(l *nic.Link, _ *plan.Owned) { l.Routes = l.Routes[:3] }, []plan.Mismatch{{Field: "route", Want: "2001:db8:9::/48 via fe80::1", Have: "absent"}}},
		"a route in another table":     {func(l *nic.Link, _ *plan.Owned) { l.Routes[2].Table = 100 }, []plan.Mismatch{{Field: "route", Want: "10.0.0.0/8 via 10.1.0.1", Have: "absent"}}},
		"a route with a source serves": {func(l *nic.Link, _ *plan.Owned) { l.Routes[2].Source = netip.MustParseAddr("10.1.0.5") }, nil},
		"a route that somebody made":   {func(l *nic.Link, _ *plan.Owned) { l.Routes[2].Protocol = 16 }, nil},
		"what is retired is there again": {func(l *nic.Link, o *plan.Owned) {
			l.Addresses = append(l.Addresses, address("10.1.0.4/24"))
			o.Retired = retired("10.1.0.4/24")
		}, []plan.Mismatch{{Field: "address", Want: "absent", Have: "10.1.0.4/24"}}},
		"a retired route is there again": {func(l *nic.Link, o *plan.Owned) {
			l.Routes = append(l.Routes, route("172.16.0.0/12"))
			o.Retired = retired(route("172.16.0.0/12"), "10.1.0.4/24")
		}, []plan.Mismatch{{Field: "route", Want: "absent", Have: "172.16.0.0/12"}}},
		"a retired route with another source is another's": {func(l *nic.Link, o *plan.Owned) {
			l.Routes = append(l.Routes, from("10.9.0.1", route("172.16.0.0/12")))
			o.Retired = retired(route("172.16.0.0/12"))
		}, nil},
		"several at once, in a fixed order": {func(l *nic.Link, _ *plan.Owned) { l.Name, l.Up, l.MTU = "eth1", false, 9000 }, []plan.Mismatch{
			{Field: "name", Want: "multinic1", Have: "eth1"}, {Field: "mtu", Want: "1500", Have: "9000"}, {Field: "up", Want: "up", Have: "down"}}},
	} {
		t.Run(name, func(t *testing.T) {
			l, o := up(link(1), c), owned(c)
			// As up makes it: per address its own route, then the wanted ones.
			test.change(&l, &o)
			if diff := cmp.Diff(test.want, plan.Verify(c, l, o), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func missing(p string, s plan.AddressState) plan.Mismatch {
	return plan.Mismatch{Field: "address", Want: p, Have: string(s), Address: netip.MustParsePrefix(p), State: s}
}

func address(p string) nic.Address {
	return nic.Address{Prefix: netip.MustParsePrefix(p), Permanent: true}
}

func TestVerifyGone(t *testing.T) {
	l := up(link(1), config(1, "10.1.0.5/24"))
	if got := plan.VerifyGone(l, nil); got != nil {
		t.Errorf("nothing was ours: got %v", got)
	}
	want := []plan.Mismatch{{Field: "address", Want: "absent", Have: "10.1.0.5/24"}}
	if diff := cmp.Diff(want, plan.VerifyGone(l, &plan.Owned{Retired: retired("10.1.0.5/24", "10.1.0.4/24", route("10.0.0.0/8"))}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	l.Addresses[0].Permanent = false
	if got := plan.VerifyGone(l, &plan.Owned{Retired: retired("10.1.0.5/24")}); got != nil {
		t.Errorf("the next owner leases the address that was retired: got %v", got)
	}
	if got := want[0].String(); got != "address: want absent, have 10.1.0.5/24" {
		t.Errorf("got %q", got)
	}
}
