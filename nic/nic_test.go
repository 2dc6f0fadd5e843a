package nic

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func route(to, via string) Route {
	r := Route{To: netip.MustParsePrefix(to)}
	if via != "" {
		r.Via = netip.MustParseAddr(via)
	}
	return r
}

func TestRouteKey(t *testing.T) {
	with := func(r Route, change func(*Route)) Route { change(&r); return r }
	v4, v6 := route("10.0.0.0/8", "192.0.2.1"), route("2001:db8::/32", "")
	for name, test := range map[string]struct {
		a, b Route
		same bool
	}{
		"no table is main":                                  {v4, with(v4, func(r *Route) { r.Table = 254 }), true},
		"another table is another route":                    {v4, with(v4, func(r *Route) { r.Table = 253 }), false},
		"who made it does not matter":                       {v4, with(v4, func(r *Route) { r.Protocol = 16 }), true},
		"host bits do not matter":                           {v4, with(v4, func(r *Route) { r.To = netip.MustParsePrefix("10.1.2.3/8") }), true},
		"another length is another route":                   {v4, with(v4, func(r *Route) { r.To = netip.MustParsePrefix("10.0.0.0/9") }), false},
		"another metric is another route":                   {v4, with(v4, func(r *Route) { r.Metric = 1024 }), false},
		"IPv6 without metric has 1024":                      {v6, with(v6, func(r *Route) { r.Metric = 1024 }), true},
		"IPv6 with another metric is another route":         {v6, with(v6, func(r *Route) { r.Metric = 256 }), false},
		"another next hop is another route":                 {v4, route("10.0.0.0/8", "192.0.2.2"), false},
		"on link is not by way of a next hop":               {v4, route("10.0.0.0/8", ""), false},
		"another preferred source is another route":         {v4, with(v4, func(r *Route) { r.Source = netip.MustParseAddr("192.0.2.7") }), false},
		"whether the router is on the link does not matter": {v4, with(v4, func(r *Route) { r.OnLink = true }), true},
		"the default routes of both families differ":        {route("0.0.0.0/0", ""), route("::/0", ""), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.a.Key() == test.b.Key(); got != test.same {
				t.Errorf("same is %v: %+v, %+v", got, test.a.Key(), test.b.Key())
			}
			if k := test.a.Key(); k != k.Key() {
				t.Errorf("the key's key is another: %+v, %+v", k, k.Key())
			}
		})
	}
}

func TestRouteAsWantedAndBesideAnother(t *testing.T) {
	with := func(r Route, change func(*Route)) Route { change(&r); return r }
	v4, v6 := route("10.0.0.0/8", "192.0.2.1"), route("2001:db8::/32", "fe80::1")
	source := func(r *Route) { r.Source = netip.MustParseAddr("192.0.2.7") }
	for name, test := range map[string]struct {
		want, have    Route
		met, excludes bool
	}{
		"the same of IPv4":                      {v4, v4, true, false},
		"the same of IPv6":                      {v6, v6, true, true},
		"any source will do":                    {v4, with(v4, source), true, false},
		"the source that is wanted will do":     {with(v4, source), with(v4, source), true, false},
		"no source will not do":                 {with(v4, source), v4, false, false},
		"an IPv6 route by another next hop":     {v6, route("2001:db8::/32", "fe80::2"), false, true},
		"an IPv6 route with the default metric": {v6, with(v6, func(r *Route) { r.Metric = 1024 }), true, true},
		"an IPv6 route with another metric":     {v6, with(v6, func(r *Route) { r.Metric = 5 }), false, false},
		"an IPv6 route in another table":        {v6, with(v6, func(r *Route) { r.Table = 5 }), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.want.MetBy(test.have); got != test.met {
				t.Errorf("met: %v", got)
			}
			if got := test.want.Excludes(test.have); got != test.excludes || got != test.have.Excludes(test.want) {
				t.Errorf("excludes: %v", got)
			}
		})
	}
}

func TestRouteString(t *testing.T) {
	for want, r := range map[string]Route{
		"default via 192.0.2.1":        {To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1"), Table: TableMain, Protocol: 4},
		"default metric 5 table 10001": {To: netip.MustParsePrefix("::/0"), Metric: 5, Table: 10001},
		"10.0.0.0/8 via 192.0.2.1 src 192.0.2.7 metric 100 table 4294967295": {To: netip.MustParsePrefix("10.0.0.0/8"), Via: netip.MustParseAddr("192.0.2.1"), Source: netip.MustParseAddr("192.0.2.7"), Metric: 100, Table: 1<<32 - 1},
	} {
		if got := r.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestConfigEqual(t *testing.T) {
	base := Config{ID: 1, Name: "multinic1", MAC: MAC{2, 1}, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")}, MTU: 1500,
		Routes: []Route{route("10.0.0.0/8", "192.0.2.1")}, PortID: "p"}
	for name, test := range map[string]struct {
		change func(*Config)
		same   bool
	}{
		"itself":                           {func(*Config) {}, true},
		"the port is for messages only":    {func(c *Config) { c.PortID = "q" }, true},
		"another id":                       {func(c *Config) { c.ID = 2 }, false},
		"another name":                     {func(c *Config) { c.Name = "multinic2" }, false},
		"another MAC":                      {func(c *Config) { c.MAC[5] = 1 }, false},
		"another length":                   {func(c *Config) { c.Addresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.7/25")} }, false},
		"an address less":                  {func(c *Config) { c.Addresses = nil }, false},
		"no address, nil or empty":         {func(c *Config) { c.Addresses = []netip.Prefix{} }, false},
		"another MTU":                      {func(c *Config) { c.MTU = 0 }, false},
		"another route":                    {func(c *Config) { c.Routes = []Route{route("10.0.0.0/8", "")} }, false},
		"a gateway":                        {func(c *Config) { c.Gateway = netip.MustParseAddr("192.0.2.1") }, false},
		"a rule":                           {func(c *Config) { c.Rules = []Rule{{Table: 10001}} }, false},
		"a subnet that others are in":      {func(c *Config) { c.Apart = true }, false},
		"leave to take the link over":      {func(c *Config) { c.Adopt = true }, false},
		"the same routes in another slice": {func(c *Config) { c.Routes = []Route{route("10.0.0.0/8", "192.0.2.1")} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := base
			test.change(&o)
			if got := base.Equal(o); got != test.same {
				t.Errorf("got %v", got)
			}
			if got := o.Equal(base); got != test.same {
				t.Errorf("the other way round: got %v", got)
			}
		})
	}
	if !(Config{Addresses: nil, Routes: []Route{}}).Equal(Config{Addresses: []netip.Prefix{}}) {
		t.Error("nil and empty lists differ")
	}
}

func TestSortConfigsByIDThenMAC(t *testing.T) {
	got := []Config{{ID: 10, MAC: MAC{2}}, {ID: 2, MAC: MAC{4}}, {ID: 2, MAC: MAC{2, 9}}}
	SortConfigs(got)
	if diff := cmp.Diff([]Config{{ID: 2, MAC: MAC{2, 9}}, {ID: 2, MAC: MAC{4}}, {ID: 10, MAC: MAC{2}}}, got, cmp.Comparer(Config.Equal)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLinkHasMAC(t *testing.T) {
	ours, other := MAC{2, 0, 0, 0, 1, 1}, MAC{2, 0, 0, 0, 1, 2}
	for name, test := range map[string]struct {
		link Link
		want bool
	}{
		"by the current MAC where none is burnt in": {Link{MAC: ours}, true},
		"another MAC": {Link{MAC: other}, false},
		"by the burnt-in MAC, whatever the current":    {Link{MAC: other, Permanent: ours}, true},
		"a borrowed MAC counts not where one is burnt": {Link{MAC: ours, Permanent: other}, false},
		"a link without any":                           {Link{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.link.HasMAC(ours); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestLinkAnswersAndHolds(t *testing.T) {
	l := Link{Name: "eth1", AltNames: []string{"enp3s0", "enx020000000101"}, Addresses: []Address{{Prefix: netip.MustParsePrefix("192.0.2.7/24")}}}
	for name, want := range map[string]bool{"eth1": true, "enx020000000101": true, "eth10": false, "": false} {
		if got := l.Answers(name); got != want {
			t.Errorf("answers to %q: got %v", name, got)
		}
	}
	for addr, want := range map[string]bool{"192.0.2.7": true, "192.0.2.0": false, "::ffff:192.0.2.7": false} {
		if got := l.Holds(netip.MustParseAddr(addr)); got != want {
			t.Errorf("holds %s: got %v", addr, got)
		}
	}
}
