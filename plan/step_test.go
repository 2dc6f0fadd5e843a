package plan_test

import (
	stdcmp "cmp"
	"encoding/json"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"multinicd/nic"
	"multinicd/plan"
)

func TestLive(t *testing.T) {
	all := nic.Change{Index: 11, MAC: mac(1), Name: "multinic1", Had: "eth1", MTU: 1400, HadMTU: 1500, Up: true,
		Add: prefixes("10.1.0.5/24", "2001:db8::5/64"), Del: prefixes("10.1.0.4/24"), AddRoutes: []nic.Route{route("10.0.0.0/8 10.1.0.1")}}
	back := nic.Change{Index: 11, MAC: mac(1), Name: "eth1", Had: "multinic1", MTU: 1500, HadMTU: 1400, Down: true,
		Del: prefixes("10.1.0.5/24"), DelRoutes: []nic.Route{route("10.0.0.0/8 10.1.0.1")}}
	reshape := nic.Change{Add: prefixes("10.1.0.5/32"), Del: prefixes("10.1.0.5/24"), AddRoutes: []nic.Route{in(10001, route("10.1.0.0/24"))}, AddRules: []nic.Rule{rule(1, "10.1.0.5/32")},
		Conf: &nic.Conf{ARPIgnore: 1, ARPAnnounce: 2, RPFilter: 2}, HadConf: &nic.Conf{RPFilter: 1}}
	closed := all
	closed.Conf6, closed.HadConf6 = &nic.Conf6{AddrGenMode: nic.AddrGenNone}, &nic.Conf6{AcceptRA: 1}
	opened := back
	opened.Conf6, opened.HadConf6 = closed.HadConf6, closed.Conf6
	for name, test := range map[string]struct {
		change nic.Change
		dad    bool
		want   []string
	}{
		"nothing to do is no step":                         {nic.Change{Index: 11, Had: "eth1"}, true, nil},
		"a NIC comes: name first, routes last":             {all, false, []string{"rename", "mtu", "up", "addresses", "routes", "retire"}},
		"neighbours are asked once the link is up":         {all, true, []string{"rename", "mtu", "up", "free", "addresses", "routes", "retire"}},
		"a NIC goes: down last, and its name when it is":   {back, true, []string{"routes", "addresses", "down", "rename", "mtu"}},
		"no router is let in before the link is up":        {closed, true, []string{"rename", "mtu", "conf6", "up", "free", "addresses", "routes", "retire"}},
		"and none until the link is down":                  {opened, true, []string{"routes", "addresses", "down", "conf6", "rename", "mtu"}},
		"what was advertised goes at once":                 {nic.Change{Advertised: prefixes("2001:db8:f::1/64"), Add: prefixes("10.1.0.5/24")}, false, []string{"conf6", "addresses"}},
		"nobody is asked for an address that goes":         {nic.Change{Del: prefixes("10.1.0.5/24")}, true, []string{"retire"}},
		"neighbours are asked for IPv6 addresses too":      {nic.Change{Add: prefixes("2001:db8::5/64")}, true, []string{"free", "addresses"}},
		"the new address is there before the old one goes": {nic.Change{Add: prefixes("10.1.0.5/24"), Del: prefixes("10.1.0.4/24")}, false, []string{"addresses", "retire"}},
		"a route comes back behind the address it needs":   {nic.Change{Add: prefixes("10.2.0.5/24"), Del: prefixes("10.1.0.4/24"), DelRoutes: []nic.Route{route("10.0.0.0/8 10.1.0.1")}}, false, []string{"addresses", "retire"}},
		"and so does one whose place another took":         {nic.Change{Add: prefixes("10.2.0.5/24"), Del: prefixes("10.1.0.4/24"), AddRoutes: []nic.Route{route("10.0.0.0/8 10.2.0.1")}, DelRoutes: []nic.Route{route("10.0.0.0/8 10.1.0.1")}}, false, []string{"addresses", "routes", "retire"}},
		"a new length is nothing to ask neighbours about":  {nic.Change{Add: prefixes("10.1.0.5/32"), Del: prefixes("10.1.0.5/24")}, true, []string{"addresses", "retire"}},
		"IPv6 has an address once, so both lengths in one": {nic.Change{Add: prefixes("2001:db8::5/128"), Del: prefixes("2001:db8::5/64")}, true, []string{"addresses"}},
		"IPv6 has a route once, so both routers in one":    {nic.Change{AddRoutes: []nic.Route{route("2001:db8:9::/48 fe80::1")}, DelRoutes: []nic.Route{route("2001:db8:9::/48 fe80::2")}}, false, []string{"routes"}},
		"a table before its rules, and gone behind them":   {reshape, false, []string{"conf", "addresses", "routes", "rules", "retire"}},
		"back again, down last":                            {nic.Change{Down: true, Del: reshape.Add, DelRoutes: reshape.AddRoutes, DelRules: reshape.AddRules, Conf: reshape.HadConf, HadConf: reshape.Conf}, false, []string{"rules", "routes", "addresses", "conf", "down"}},
	} {
		t.Run(name, func(t *testing.T) {
			steps := plan.Live(test.change, test.dad)
			var got []string
			for _, s := range steps {
				got = append(got, string(s.Kind))
				if s.Final || s.Do.Link != nil && (s.Undo.Link == nil || s.Do.Link.Index != test.change.Index || s.Do.Link.MAC != test.change.MAC) {
					t.Errorf("step %s: %+v", s.Kind, s)
				}
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			walk(t, test.change, steps)
		})
	}
}

// walk does the steps, and undoes them from each on, on a model of the link that the change was
// made of.
func walk(t *testing.T, c nic.Change, steps []plan.Step) {
	t.Helper()
	start := nic.Link{Index: c.Index, Name: c.Had, MAC: c.MAC, MTU: stdcmp.Or(c.HadMTU, 1500), Up: c.Down}
	for _, a := range c.Del {
		start.Addresses = append(start.Addresses, nic.Address{Prefix: a, Permanent: true})
	}
	start.Routes, start.Rules = slices.Clone(c.DelRoutes), slices.Clone(c.DelRules)
	if c.HadConf6 != nil {
		conf := *c.HadConf6
		start.Conf6 = &conf
	}
	if c.HadConf != nil {
		start.Conf = *c.HadConf
	}
	do := func(m *plan.View, o plan.Op) {
		if o.Link == nil {
			return
		}
		if l := m.Links[0]; o.Link.Name != "" && o.Link.Had != l.Name {
			t.Errorf("the link is %s, not %s: %+v", l.Name, o.Link.Had, o.Link)
		}
		if err := carryOut(*o.Link, m); err != nil {
			t.Error(err)
		}
		for _, r := range o.Link.AddRoutes {
			if r.Via.IsValid() && !r.Via.IsLinkLocalUnicast() && !slices.ContainsFunc(m.Links[0].Addresses, func(a nic.Address) bool { return a.Prefix.Masked().Contains(r.Via) }) {
				t.Errorf("route %s: the network is unreachable", r)
			}
		}
	}
	for n := range len(steps) + 1 {
		m := plan.View{Links: []nic.Link{start}}
		for _, s := range steps[:n] {
			do(&m, s.Do)
		}
		if n == len(steps) {
			whole := plan.View{Links: []nic.Link{start}}
			do(&whole, plan.Op{Link: &c})
			if diff := cmp.Diff(bareRoutes(whole.Links[0]), bareRoutes(m.Links[0]), compare); diff != "" {
				t.Errorf("step by step is not at once: -at once +step by step:\n%s", diff)
			}
		}
		for _, s := range slices.Backward(steps[:n]) {
			do(&m, s.Undo)
		}
		if diff := cmp.Diff(bareRoutes(start), bareRoutes(m.Links[0]), compare); diff != "" {
			t.Errorf("undone from step %d on: -before +after:\n%s", n, diff)
		}
	}
}

// bareRoutes leaves out what only the kernel says of routes.
func bareRoutes(l nic.Link) nic.Link {
	l.Routes = slices.DeleteFunc(slices.Clone(l.Routes), func(r nic.Route) bool { return r.Protocol == 2 })
	for i := range l.Routes {
		l.Routes[i] = l.Routes[i].Key()
	}
	return l
}

func TestFreeNamesTheAddressesThatAreNew(t *testing.T) {
	for _, s := range plan.Live(nic.Change{Add: prefixes("10.1.0.5/24", "2001:db8::5/64", "10.2.0.5/16")}, true) {
		if s.Kind != plan.StepFree {
			continue
		}
		want := []netip.Addr{netip.MustParseAddr("10.1.0.5"), netip.MustParseAddr("2001:db8::5"), netip.MustParseAddr("10.2.0.5")}
		if s.Do.Check != plan.CheckFree || !slices.Equal(s.Do.Addresses, want) || !s.Undo.Zero() {
			t.Errorf("got %+v", s)
		}
		return
	}
	t.Error("nobody is asked")
}

// The journal holds steps as JSON.
func TestStepsSurviveTheDisk(t *testing.T) {
	c := nic.Change{Index: 11, MAC: mac(1), Name: "multinic1", Had: "eth1", Up: true, Add: prefixes("10.1.0.5/24"), AddRoutes: []nic.Route{in2(100, "::/0")}}
	want := append(plan.Live(c, true), plan.Step{Kind: "persist", Final: true, Do: plan.Op{File: &plan.File{Path: "/etc/x", Data: []byte{0, 255, '\n'}, Mode: 0o600}}, Undo: plan.Op{File: &plan.File{Path: "/etc/x", Absent: true}}},
		plan.Step{Kind: plan.StepVerify, Do: plan.Op{Check: plan.CheckVerify}})
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got []plan.Step
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, s := range got {
		if n := b2i(s.Do.Link != nil) + b2i(s.Do.File != nil) + b2i(s.Do.Check != ""); n != 1 {
			t.Errorf("step %s does %d things", s.Kind, n)
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
