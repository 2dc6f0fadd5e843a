package nic

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compare = cmp.Options{cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty()}

func prefixes(ss ...string) (out []netip.Prefix) {
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestChangeInverse(t *testing.T) {
	at := Change{Index: 3, MAC: MAC{2, 1}, Had: "eth1"}
	with := func(change func(*Change)) Change { c := at; change(&c); return c }
	for name, test := range map[string]struct{ do, undo Change }{
		"nothing is undone by nothing": {at, at},
		"a new name by the old one": {with(func(c *Change) { c.Name = "multinic1" }),
			Change{Index: 3, MAC: MAC{2, 1}, Name: "eth1", Had: "multinic1"}},
		"an MTU by the MTU before": {with(func(c *Change) { c.MTU, c.HadMTU = 1400, 1500 }),
			with(func(c *Change) { c.MTU, c.HadMTU = 1500, 1400 })},
		"up by down": {with(func(c *Change) { c.Up = true }), with(func(c *Change) { c.Down = true })},
		"down by up": {with(func(c *Change) { c.Down = true }), with(func(c *Change) { c.Up = true })},
		"an address by its removal, and the other way round": {
			with(func(c *Change) { c.Add, c.Del = prefixes("192.0.2.7/24"), prefixes("192.0.2.8/24", "2001:db8::8/64") }),
			with(func(c *Change) { c.Add, c.Del = prefixes("192.0.2.8/24", "2001:db8::8/64"), prefixes("192.0.2.7/24") })},
		"an address whose lifetime ends by one without, and the other way round": {
			with(func(c *Change) {
				c.Terms = []Term{{Address: prefixes("192.0.2.7/24")[0], Had: Lifetime{Valid: 40, Preferred: 30}}}
			}),
			with(func(c *Change) {
				c.Terms = []Term{{Address: prefixes("192.0.2.7/24")[0], Now: Lifetime{Valid: 40, Preferred: 30}}}
			})},
		"the removal of a leased address by the same with its lifetime": {
			with(func(c *Change) {
				c.Del, c.Terms = prefixes("192.0.2.7/24"), []Term{{Address: prefixes("192.0.2.7/24")[0], Had: Lifetime{Valid: 40, Preferred: 30}}}
			}),
			with(func(c *Change) {
				c.Add, c.Terms = prefixes("192.0.2.7/24"), []Term{{Address: prefixes("192.0.2.7/24")[0], Now: Lifetime{Valid: 40, Preferred: 30}}}
			})},
		"the removal of another's route by the same as his": {
			with(func(c *Change) {
				c.DelRoutes, c.Theirs = []Route{route("0.0.0.0/0", "192.0.2.1")}, []Route{{To: prefixes("0.0.0.0/0")[0], Via: netip.MustParseAddr("192.0.2.1"), Protocol: ProtocolDHCP}}
			}),
			with(func(c *Change) {
				c.AddRoutes = []Route{{To: prefixes("0.0.0.0/0")[0], Via: netip.MustParseAddr("192.0.2.1"), Protocol: ProtocolDHCP}}
				c.Theirs = c.AddRoutes
			})},
		"a route by its removal, and the other way round": {
			with(func(c *Change) {
				c.AddRoutes, c.DelRoutes = []Route{route("10.0.0.0/8", "")}, []Route{route("::/0", "fe80::1")}
			}),
			with(func(c *Change) {
				c.AddRoutes, c.DelRoutes = []Route{route("::/0", "fe80::1")}, []Route{route("10.0.0.0/8", "")}
			})},
		"a rule by its removal, and the other way round": {
			with(func(c *Change) {
				c.AddRules, c.DelRules = []Rule{{Priority: 20001, Table: 10001}}, []Rule{{Priority: 20002, Table: 10002}}
			}),
			with(func(c *Change) {
				c.AddRules, c.DelRules = []Rule{{Priority: 20002, Table: 10002}}, []Rule{{Priority: 20001, Table: 10001}}
			})},
		"what the link has of its own by what it had": {with(func(c *Change) { c.Conf, c.HadConf = &Conf{1, 2, 2}, &Conf{0, 0, 1} }),
			with(func(c *Change) { c.Conf, c.HadConf = &Conf{0, 0, 1}, &Conf{1, 2, 2} })},
		"what the link has of IPv6 by what it had": {with(func(c *Change) { c.Conf6, c.HadConf6 = &Conf6{AddrGenMode: AddrGenNone}, &Conf6{AcceptRA: 1} }),
			with(func(c *Change) { c.Conf6, c.HadConf6 = &Conf6{AcceptRA: 1}, &Conf6{AddrGenMode: AddrGenNone} })},
		"all at once": {
			Change{Index: 3, MAC: MAC{2, 1}, Name: "multinic1", Had: "eth1", MTU: 1400, HadMTU: 1500, Up: true, Add: prefixes("192.0.2.7/24"), AddRoutes: []Route{route("10.0.0.0/8", "192.0.2.1")}},
			Change{Index: 3, MAC: MAC{2, 1}, Name: "eth1", Had: "multinic1", MTU: 1500, HadMTU: 1400, Down: true, Del: prefixes("192.0.2.7/24"), DelRoutes: []Route{route("10.0.0.0/8", "192.0.2.1")}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.undo, test.do.Inverse(), compare); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(test.do, test.do.Inverse().Inverse(), compare); diff != "" {
				t.Errorf("undoing the undo: -want +got:\n%s", diff)
			}
			if test.do.Empty() != test.do.Inverse().Empty() {
				t.Error("one of the two is empty")
			}
		})
	}
}

func TestChangeEmpty(t *testing.T) {
	if c := (Change{Index: 3, MAC: MAC{2}, Had: "eth1", HadMTU: 1500}); !c.Empty() || c.String() != "" {
		t.Errorf("what only says where: %+v", c)
	}
	for name, c := range map[string]Change{
		"name": {Name: "x"}, "mtu": {MTU: 1}, "up": {Up: true}, "down": {Down: true}, "add": {Add: prefixes("::1/128")}, "del": {Del: prefixes("::1/128")}, "term": {Terms: make([]Term, 1)},
		"add route": {AddRoutes: make([]Route, 1)}, "del route": {DelRoutes: make([]Route, 1)},
		"add rule": {AddRules: make([]Rule, 1)}, "del rule": {DelRules: make([]Rule, 1)}, "conf": {Conf: &Conf{}},
		"conf6": {Conf6: &Conf6{}}, "advertised": {Advertised: prefixes("::1/128")}, "advertised route": {AdvertisedRoutes: make([]Route, 1)},
	} {
		if c.Empty() {
			t.Errorf("%s: empty", name)
		}
	}
}

// The next advertisement brings it again where it is let in; put back by hand it would stay for
// good.
func TestNothingPutsBackWhatWasAdvertised(t *testing.T) {
	c := Change{Index: 3, MAC: MAC{2, 1}, Had: "eth1", Advertised: prefixes("2001:db8::1/64"), AdvertisedRoutes: []Route{route("::/0", "fe80::1")}}
	if undo := c.Inverse(); !undo.Empty() {
		t.Errorf("undone by %s", undo)
	}
}

func TestChangeString(t *testing.T) {
	c := Change{Name: "multinic1", Had: "eth1", MTU: 1400, HadMTU: 1500, Up: true, Add: prefixes("192.0.2.7/24"), Del: prefixes("192.0.2.8/24"),
		AddRoutes: []Route{route("10.0.0.0/8", "192.0.2.1")}, DelRoutes: []Route{route("2001:db8::/32", "")},
		Conf: &Apart, HadConf: &Conf{RPFilter: 1}, Conf6: &Conf6{AddrGenMode: 1}, HadConf6: &Conf6{AcceptRA: 1, Off: true},
		Advertised: prefixes("2001:db8:1::7/64"), AdvertisedRoutes: []Route{route("::/0", "fe80::1")}, AddRules: []Rule{{Priority: 20001, From: prefixes("192.0.2.7/32")[0], Table: 10001}},
		DelRules: []Rule{{Priority: 20001, To: prefixes("192.0.2.8/32")[0], Table: 10001}}}
	want := `~ name eth1 -> multinic1
~ mtu 1500 -> 1400
~ down -> up
~ arp_ignore 0 arp_announce 0 rp_filter 1 -> arp_ignore 1 arp_announce 2 rp_filter 2
~ accept_ra 1 addr_gen_mode 0 disable_ipv6 1 -> accept_ra 0 addr_gen_mode 1 disable_ipv6 0
- address 2001:db8:1::7/64, by a router advertisement
- route default via fe80::1, by a router advertisement
- address 192.0.2.8/24
+ address 192.0.2.7/24
- route 2001:db8::/32
+ route 10.0.0.0/8 via 192.0.2.1
- rule from all to 192.0.2.8/32 lookup 10001 priority 20001
+ rule from 192.0.2.7/32 lookup 10001 priority 20001
`
	if diff := cmp.Diff(want, c.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	leased := Change{Del: prefixes("192.0.2.8/24"), Terms: []Term{{Address: prefixes("192.0.2.7/24")[0], Had: Lifetime{Valid: 40}}, {Address: prefixes("192.0.2.8/24")[0], Had: Lifetime{Valid: 40}}}}
	if diff := cmp.Diff("- address 192.0.2.8/24\n~ address 192.0.2.7/24 for a time -> for good\n", leased.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := (Change{Down: true}).String(); got != "~ up -> down\n" {
		t.Errorf("got %q", got)
	}
}
