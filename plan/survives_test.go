package plan_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"multinicd/nic"
	"multinicd/plan"
	"multinicd/plan/lifeline"
)

// cloud is a machine with several default routes, and what is true of the networks behind it.
type cloud struct {
	plan.View
	alive map[int]bool // by ifindex: the router of the link's default route leads to the API server
	// only are the servers to which a longer route led at first, and the link: no other way leads
	// there.
	only map[netip.Addr]int
}

// clouds draws a machine with a primary NIC and up to three more, each with any default routes,
// some below a VLAN or a macvlan; a cluster or none; an address of the node on any link or nowhere.
func clouds(t *rapid.T) *cloud {
	m := &cloud{alive: map[int]bool{}, only: map[netip.Addr]int{}}
	for _, n := range append([]int{0}, most(t, "not plugged in", 1, 2, 3)...) {
		m.Links = append(m.Links, m.port(t, n))
	}
	if chance(t, "something lies on a NIC", 3) {
		below := rapid.SampledFrom(m.Links).Draw(t, "below")
		o := m.port(t, 4)
		o.Index, o.Name, o.Kind, o.Device, o.MAC, o.Lower = 40, "over", rapid.SampledFrom([]string{"vlan", "macvlan"}).Draw(t, "kind"), false, below.MAC, below.Index
		m.Links = append(m.Links, o)
	}
	var rules []nic.Rule
	for _, l := range m.Links {
		for _, a := range l.Addresses {
			if chance(t, "a rule", 3) {
				rules = append(rules, nic.Rule{Priority: 1000, From: netip.PrefixFrom(a.Prefix.Addr(), a.Prefix.Addr().BitLen()), Table: 100})
			}
		}
	}
	for i := range m.Links {
		m.Links[i].Rules = rules
		m.alive[m.Links[i].Index] = !chance(t, "its router is dead", 3)
	}
	for _, l := range m.Links {
		if m.alive[l.Index] && slices.ContainsFunc(l.Routes, nic.Route.IsDefault) {
			m.Answers = append(m.Answers, l.Index)
		}
	}
	for _, to := range some(t, "API servers", []string{"203.0.113.1", "203.0.113.200", "2001:db8:99::1", "10.100.0.77", "10.101.0.77"}, 2) {
		w := lifeline.Path{What: "the API server", To: netip.MustParseAddr(to)}
		if hops := m.hops(w.To); len(hops) > 0 {
			h := rapid.SampledFrom(hops).Draw(t, "of equal ones the kernel takes")
			w.Index, w.Via = h.link, h.route.Via
			if !h.route.IsDefault() {
				m.only[w.To] = h.link
			}
			for _, l := range m.Links {
				for _, a := range l.Addresses {
					if l.Index == h.link && a.Prefix.Addr().Is4() == w.To.Is4() {
						w.Source = a.Prefix.Addr()
					}
				}
			}
		}
		m.Lifelines = append(m.Lifelines, w)
	}
	if chance(t, "the node's address is known", 2) {
		l := rapid.SampledFrom(m.Links).Draw(t, "on")
		for _, a := range l.Addresses {
			if chance(t, "it is this one", 2) {
				m.NodeAddrs = append(m.NodeAddrs, lifeline.NodeAddr{Addr: a.Prefix.Addr(), Evidence: "--node-ip"})
			}
		}
	}
	return m
}

// port draws eth<n> of a cloud: with a lease, addresses by hand, or nothing.
func (m *cloud) port(t *rapid.T, n int) nic.Link {
	l := link(n)
	l.Up, l.Carrier = true, true
	if n == 0 {
		l.Index, l.MAC = 2, mac(0xee)
	}
	for _, a := range some(t, "has", prefixes("10.10"+string(rune('0'+n))+".0.5/24", "2001:db8:"+string(rune('1'+n))+"::5/64"), 2) {
		l.Addresses = append(l.Addresses, nic.Address{Prefix: a, Permanent: chance(t, "by hand", 2)})
	}
	for range rapid.SampledFrom([]int{0, 1, 1, 2}).Draw(t, "default routes") {
		r := rapid.SampledFrom([]nic.Route{route("0.0.0.0/0 10.10" + string(rune('0'+n)) + ".0.1"), route("0.0.0.0/0 10.10" + string(rune('0'+n)) + ".0.1"), route("::/0 fe80::1")}).Draw(t, "default")
		r.Metric = rapid.SampledFrom([]int{0, 50, 100, 100, 100, 101, 102, 200}).Draw(t, "metric")
		r.Protocol = rapid.SampledFrom([]int{3, 4, 16, 16}).Draw(t, "protocol")
		if r.To.Addr().Is6() {
			r.Protocol = rapid.SampledFrom([]int{4, 9, 9, 16}).Draw(t, "protocol")
		}
		if chance(t, "another table", 6) {
			r.Table = 100
		}
		if !slices.ContainsFunc(l.Routes, func(h nic.Route) bool { return h.Key() == r.Key() }) {
			l.Routes = append(l.Routes, r)
		}
	}
	for _, r := range some(t, "routes", []nic.Route{route("203.0.113.0/25"), route("128.0.0.0/1"), route("10.0.0.0/8"), route("2001:db8:99::/48 fe80::1")}, rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "routes")) {
		r.Protocol = 4
		l.Routes = append(l.Routes, r)
	}
	kernelRoutes(&l)
	if !chance(t, "not claimed", 4) {
		l.Claim = &nic.Claim{Owner: "netplan", File: "/etc/netplan/50-cloud-init.yaml", Evidence: "it matches by driver", Machine: rapid.Bool().Draw(t, "by a machine")}
	}
	return l
}

// hop is a way that the kernel may take.
type hop struct {
	link  int
	route nic.Route
}

// hops gives the best routes of main to an address; of several equal ones the kernel takes any.
func (m *cloud) hops(to netip.Addr) (best []hop) {
	for _, l := range m.Links {
		for _, r := range l.Routes {
			if r.Key().Table != nic.TableMain || !r.To.Contains(to) || !l.Up {
				continue
			}
			better := 1
			if len(best) > 0 {
				better = r.To.Bits() - best[0].route.To.Bits()
				if better == 0 {
					better = best[0].route.Key().Metric - r.Key().Metric
				}
			}
			if better > 0 {
				best = nil
			}
			if better >= 0 {
				best = append(best, hop{l.Index, r})
			}
		}
	}
	return best
}

// now is the hop that a path takes.
func (m *cloud) now(w lifeline.Path) hop {
	hops := m.hops(w.To)
	return hops[slices.IndexFunc(hops, func(h hop) bool { return h.link == w.Index && h.route.Via == w.Via })]
}

// follow brings paths and answers up to date, and says how many paths have moved. A path stays
// where it is as long as nothing is better; of several others that are equally good it takes the
// worst.
func (m *cloud) follow() (moved int) {
	for i, w := range m.Lifelines {
		hops := m.hops(w.To)
		if slices.ContainsFunc(hops, func(h hop) bool { return h.link == w.Index && h.route.Via == w.Via }) {
			continue
		}
		m.Lifelines[i].Index, m.Lifelines[i].Via, m.Lifelines[i].Source = 0, netip.Addr{}, netip.Addr{}
		// false first
		slices.SortFunc(hops, func(a, b hop) int { return len(fmt.Sprint(m.alive[b.link])) - len(fmt.Sprint(m.alive[a.link])) })
		if len(hops) > 0 {
			m.Lifelines[i].Index, m.Lifelines[i].Via = hops[0].link, hops[0].route.Via
			moved++
		}
	}
	m.Answers = nil
	for _, l := range m.Links {
		if m.alive[l.Index] && slices.ContainsFunc(l.Routes, nic.Route.IsDefault) {
			m.Answers = append(m.Answers, l.Index)
		}
	}
	return moved
}

// reaches says whether a path leads to its end: by a default route whose router leads there, or by
// the longer one that led there at first.
func (m *cloud) reaches(w lifeline.Path) bool {
	h := m.now(w)
	if index, only := m.only[w.To]; only || !h.route.IsDefault() {
		return only && index == h.link && !h.route.IsDefault()
	}
	return m.alive[h.link]
}

// bury takes down what lies on the link of a NIC that is taken in hand: at the next boot our
// definition of the link wins over the one that made it.
func (m *cloud) bury(a plan.Action) {
	for i := range m.Links {
		if o := &m.Links[i]; a.Kind == plan.Configure && o.Lower == a.Link.Index {
			o.Up, o.Routes = false, nil
		}
	}
}

// wishes draws an object for some of the NICs, the primary among them, which may take everything
// over.
func (m *cloud) wishes(t *rapid.T) (out []nic.Config) {
	for i, l := range most(t, "not wanted", m.Links...) {
		if l.Kind != "" || l.Index == 2 && !chance(t, "the primary too", 4) {
			continue
		}
		c := nic.Config{ID: i + 1, Name: nic.NameFor(i + 1), MAC: l.MAC, MTU: rapid.SampledFrom([]int{0, 1400}).Draw(t, "mtu"), Adopt: !chance(t, "adopt not", 4)}
		other := "10.20" + string(rune('0'+i)) + ".0.5/24"
		for _, a := range l.Addresses { // a cloud gives by DHCP what the object has
			if chance(t, "as it is", 2) {
				c.Addresses = append(c.Addresses, a.Prefix)
			}
		}
		c.Addresses = append(c.Addresses, some(t, "wanted", prefixes(other, "203.0.113.5/24", "10.100.0.9/24", "10.100.0.9/25"), 1)...)
		c.Routes = some(t, "wanted routes", []nic.Route{route("203.0.113.0/24"), route("10.0.0.0/8"), route("192.0.0.0/8")}, rapid.SampledFrom([]int{0, 0, 1}).Draw(t, "most"))
		if slices.ContainsFunc(out, func(o nic.Config) bool {
			return slices.ContainsFunc(c.Addresses, func(a netip.Prefix) bool {
				return slices.ContainsFunc(o.Addresses, func(b netip.Prefix) bool { return a.Addr() == b.Addr() })
			})
		}) {
			c.Addresses = nil
		}
		out = append(out, c)
	}
	return out
}

// vital is what must survive, said of a machine without a word of how the plan finds it.
type vital struct {
	defaults  []string           // families with a default route in main
	addresses map[netip.Addr]int // the node's addresses, and the links that hold them
	routes    map[hop]bool       // the default routes that count for sure
	strangers map[int]nic.Link   // links that the object does not name and that are not ours
}

func (m *cloud) vital(want []nic.Config, rec plan.Record) vital {
	out := vital{addresses: map[netip.Addr]int{}, routes: map[hop]bool{}, strangers: map[int]nic.Link{}}
	ours := func(l nic.Link) bool {
		return l.Kind == "" && slices.ContainsFunc(rec.NICs, func(o plan.Owned) bool { return o.Applied && o.MAC == l.MAC })
	}
	for _, four := range []bool{true, false} {
		var all, holding, led []hop
		for _, l := range m.Links {
			holds := slices.ContainsFunc(m.NodeAddrs, func(a lifeline.NodeAddr) bool { return a.Addr.Is4() == four && l.Holds(a.Addr) })
			leads := slices.ContainsFunc(m.Lifelines, func(w lifeline.Path) bool { return w.To.Is4() == four && w.Index == l.Index })
			for _, r := range l.Routes {
				if !r.IsDefault() || r.To.Addr().Is4() != four || r.Key().Table != nic.TableMain || ours(l) && (r.Protocol == 9 || r.Protocol == 16) {
					continue
				}
				all = append(all, hop{l.Index, r})
				if holds {
					holding = append(holding, hop{l.Index, r})
				}
				if leads {
					led = append(led, hop{l.Index, r})
				}
			}
		}
		if len(all) > 0 {
			out.defaults = append(out.defaults, map[bool]string{true: "IPv4", false: "IPv6"}[four])
		}
		switch {
		case len(holding) > 0:
			for _, h := range holding {
				out.routes[h] = true
			}
		case len(all) == 1:
			out.routes[all[0]] = true
		case len(led) == 0: // the lowest metric, where nothing comes near it
			for _, h := range all {
				if !slices.ContainsFunc(all, func(o hop) bool { return o.link != h.link && o.route.Key().Metric < h.route.Key().Metric+len(all) }) {
					out.routes[h] = true
				}
			}
		}
	}
	for _, l := range m.Links {
		for _, a := range m.NodeAddrs {
			if l.Up && l.Holds(a.Addr) {
				out.addresses[a.Addr] = l.Index
			}
		}
		if l.Kind == "" && !ours(l) && !slices.ContainsFunc(want, func(c nic.Config) bool { return c.MAC == l.MAC }) {
			out.strangers[l.Index] = l
		}
	}
	return out
}

// survived says what of it is gone.
func (m *cloud) survived(before vital, want []nic.Config, rec plan.Record) string {
	now := m.vital(want, rec)
	for _, four := range before.defaults {
		if !slices.Contains(now.defaults, four) {
			return "the last default route of " + four
		}
	}
	for a, index := range before.addresses {
		if now.addresses[a] != index {
			return "the node's address " + a.String()
		}
	}
	for h := range before.routes {
		i := slices.IndexFunc(m.Links, func(l nic.Link) bool { return l.Index == h.link })
		if !slices.Contains(m.Links[i].Routes, h.route) {
			return "the default route that counts, " + h.route.String() + " by " + m.Links[i].Name
		}
	}
	for index, was := range before.strangers {
		i := slices.IndexFunc(m.Links, func(l nic.Link) bool { return l.Index == index })
		if l := m.Links[i]; l.Name != was.Name || !slices.Equal(l.Routes, was.Routes) || !slices.Equal(l.Addresses, was.Addresses) {
			return "something of " + was.Name
		}
	}
	return ""
}

// Whatever the object wants, and whatever it may take over: after each change of a plan the node
// has its address, a default route of each family that it had one of, the one that counts, and a
// path to each API server that it could reach. Without a rule of the guard this fails in a moment.
func TestTheNodeSurvivesAnyObject(t *testing.T) {
	checks := "3000"
	if os.Getenv("MULTINIC_LONG") != "" {
		checks = "100000"
	}
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set(checks); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Value.Set(f.DefValue) }()
	}
	plans, changed, moved := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		m := clouds(t)
		rec := plan.Record{}
		for round := range 3 { // what is in force then is ours
			want := m.wishes(t)
			if round > 0 && chance(t, "a router, or a lease, on a NIC of ours", 3) {
				l := &m.Links[len(m.Links)-1]
				if !l.Up {
					l = &m.Links[0]
				}
				l.Routes = append(slices.Clone(l.Routes), rapid.SampledFrom([]nic.Route{proto(9, route("::/0 fe80::bad")), {To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.9.9.9"), Metric: 100, Protocol: nic.ProtocolDHCP}}).Draw(t, "drift"))
			}
			before := m.vital(want, rec)
			m.Named = nil
			for _, c := range want {
				m.Named = append(m.Named, c.MAC)
			}
			m.follow()
			var reached []netip.Addr
			for _, w := range m.Lifelines {
				if w.Index != 0 && m.reaches(w) {
					reached = append(reached, w.To)
				}
			}
			p := plan.Make(want, nil, m.View, rec)
			plans++
			for _, a := range p.Actions {
				if a.Kind != plan.Configure && a.Kind != plan.Remove || a.Change.Empty() {
					continue
				}
				// As it is done: right before the change the guard is asked of the machine as it is then.
				if i := slices.IndexFunc(m.Links, func(l nic.Link) bool { return l.Index == a.Change.Index }); plan.GuardOf(rec, m.Links[i], m.View) != nil {
					continue
				}
				changed++
				if err := carryOut(a.Change, &m.View); err != nil {
					t.Fatal(err)
				}
				m.bury(a)
				if gone := m.survived(before, want, rec); gone != "" {
					t.Fatalf("%s is gone after %s of %s:\n%s", gone, a.Kind, a.NIC.MAC, a.Change)
				}
				rec = rec.With(a.NIC.MAC, a.After)
				moved += m.follow()
				for _, w := range m.Lifelines {
					if slices.Contains(reached, w.To) && (w.Index == 0 || !m.reaches(w)) {
						t.Fatalf("the path to %s leads nowhere (by link %d) after:\n%s", w.To, w.Index, a.Change)
					}
				}
			}
		}
	})
	t.Logf("%d plans, %d changes, %d paths moved", plans, changed, moved)
	if changed == 0 || moved == 0 {
		t.Error("nothing happened")
	}
}
