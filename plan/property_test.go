package plan_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"multinicd/nic"
	"multinicd/plan"
)

// The pools are small, so that what is wanted, there and remembered meets often.
var (
	poolAddresses = prefixes("10.1.0.5/24", "10.1.0.5/16", "10.1.0.6/24", "10.2.0.5/24", "192.0.2.11/24", "192.0.2.201/25", "198.51.100.1/32",
		"2001:db8:1::5/64", "2001:db8:1::5/128", "2001:db8:2::11/64", "fe80::5/64",
		"10.3.0.5/24", "10.3.0.6/24", "10.4.0.5/24", "172.16.0.5/16", "2001:db8:3::5/64", "2001:db8:4::5/64")
	poolRoutes = []nic.Route{route("172.20.0.0/16"), route("172.20.0.0/16 10.1.0.1"), route("172.21.0.0/16"), in2(100, "172.20.0.0/16"), route("10.0.0.0/8 10.1.0.1"), route("10.0.0.0/8"), in2(254, "10.0.0.0/8 10.1.0.1"), in2(100, "10.0.0.0/8"), in2(10001, "0.0.0.0/0 10.1.0.1"),
		in2(100, "::/0"), route("2001:db8:9::/48 fe80::1"), {To: netip.MustParsePrefix("2001:db8:1::/64"), Metric: 256}, route("128.0.0.0/1"), route("198.51.100.1/32"), in2(255, "10.0.0.0/8")}
	poolGateways = []netip.Addr{{}, {}, {}, netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("fe80::1")}
	poolNames    = []string{"eth1", "eth2", "eth3", "multinic1", "multinic2", "multinic3"}
)

// some draws up to most of a pool, none twice.
func some[T any](t *rapid.T, label string, pool []T, most int) (out []T) {
	drawn := map[int]bool{}
	for range rapid.SampledFrom(indexes(most+1)).Draw(t, label) {
		if i := rapid.SampledFrom(indexes(len(pool))).Draw(t, label); !drawn[i] {
			out, drawn[i] = append(out, pool[i]), true
		}
	}
	return out
}

// most draws each of a pool in three cases of four.
func most[T any](t *rapid.T, label string, pool ...T) (out []T) {
	for _, x := range pool {
		if !chance(t, label, 4) {
			out = append(out, x)
		}
	}
	return out
}

func indexes(n int) []int { return upTo20[:n] }

var upTo20 = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}

// chance is one in so many. (Ranges of numbers are drawn with a preference for the small ones.)
func chance(t *rapid.T, label string, in int) bool {
	return rapid.SampledFrom(indexes(in)).Draw(t, label) == in-1
}

// wants draws what the API lets through: MACs, ids and addresses are unique.
func wants(t *rapid.T) (out []nic.Config) {
	used := map[netip.Addr]bool{}
	ids := rapid.Permutation([]int{1, 2, 3, 4}).Draw(t, "ids")
	for i, n := range most(t, "not wanted", 1, 2, 3) {
		c := nic.Config{ID: ids[i], Name: nic.NameFor(ids[i]), MAC: mac(byte(n)), MTU: rapid.SampledFrom([]int{0, 0, 1400, 1400, 1500, 1500, 9000, 9000, 9001}).Draw(t, "mtu"),
			Adopt: chance(t, "adopt", 2), Gateway: rapid.SampledFrom(poolGateways).Draw(t, "gateway"), Routes: distinct(some(t, "routes", poolRoutes, 2))}
		for _, a := range some(t, "addresses", poolAddresses, 3) {
			if !used[a.Addr()] {
				c.Addresses, used[a.Addr()] = append(c.Addresses, a), true
			}
		}
		out = append(out, c)
	}
	return out
}

func distinct(rs []nic.Route) (out []nic.Route) {
	for _, r := range rs {
		if !slices.ContainsFunc(out, func(o nic.Route) bool { return o.Key() == r.Key() }) {
			out = append(out, r)
		}
	}
	return out
}

// machines draws a host with the primary NIC and up to three others, each in any state.
func machines(t *rapid.T) plan.View {
	m := host()
	m.Links = m.Links[:1]
	names := rapid.Permutation(poolNames).Draw(t, "names")
	for i, n := range most(t, "not plugged in", 1, 2, 3) {
		l := link(n)
		l.Name, l.Up, l.MTU = names[i], chance(t, "up", 2), rapid.SampledFrom([]int{1400, 1500}).Draw(t, "has mtu")
		for _, a := range some(t, "has", poolAddresses, rapid.SampledFrom([]int{0, 0, 2}).Draw(t, "most")) {
			l.Addresses = append(l.Addresses, nic.Address{Prefix: a, Permanent: !chance(t, "temporary", 4)})
		}
		for _, r := range distinct(some(t, "has routes", poolRoutes, rapid.SampledFrom([]int{0, 0, 2}).Draw(t, "most"))) {
			if r.Table != 100 || r.To.Bits() != 0 || chance(t, "protected", 4) {
				r.Protocol = rapid.SampledFrom([]int{4, 16, 80, 109}).Draw(t, "protocol")
				l.Routes = append(l.Routes, r)
			}
		}
		if chance(t, "claimed", 8) {
			l.Claim = rapid.SampledFrom([]*nic.Claim{claim, generated}).Draw(t, "by")
		}
		if chance(t, "enslaved", 16) {
			l.Master = 2
		}
		if chance(t, "virtual", 16) {
			l.Kind, l.Device = "veth", false
		}
		l.Conf6 = rapid.SampledFrom([]*nic.Conf6{nil, {AcceptRA: 1}, {AcceptRA: 1}, {AddrGenMode: nic.AddrGenNone}, {AcceptRA: 2, AddrGenMode: 3}, {AcceptRA: 1, Off: true}}).Draw(t, "conf6")
		advertised := chance(t, "advertised", 4)
		if advertised {
			l.Addresses = append(l.Addresses, nic.Address{Prefix: netip.MustParsePrefix("2001:db8:f::1/64"), Advertised: true})
			l.Routes = append(l.Routes, nic.Route{To: netip.MustParsePrefix("2001:db8:e::/48"), Via: netip.MustParseAddr("fe80::bad"), Metric: 1024, Protocol: 9})
			if chance(t, "with a default route", 2) {
				l.Routes = append(l.Routes, nic.Route{To: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fe80::bad"), Metric: 1024, Protocol: 9})
			}
		}
		kernelRoutes(&l)
		if advertised {
			l.Routes = append(l.Routes, nic.Route{To: netip.MustParsePrefix("2001:db8:d::/64"), Metric: 256, Protocol: 2})
		}
		m.Links = append(m.Links, l)
	}
	if chance(t, "by another link", 16) && len(m.Links) > 1 {
		m.Lifelines[0].Index = m.Links[1].Index
	}
	return m
}

func records(t *rapid.T) (out plan.Record) {
	for _, n := range most(t, "unknown", 1, 2, 3) {
		id := rapid.SampledFrom([]int{1, 2, 3}).Draw(t, "had id")
		c := nic.Config{ID: id, Name: nic.NameFor(id), MAC: mac(byte(n)), MTU: rapid.SampledFrom([]int{0, 1400}).Draw(t, "had mtu"),
			Addresses: some(t, "had", poolAddresses, 2), Routes: distinct(some(t, "had routes", poolRoutes, 2))}
		o := plan.Owned{MAC: c.MAC, Config: c, Applied: chance(t, "applied", 2), RenameBlocked: chance(t, "blocked", 8),
			Found: plan.Found{Name: rapid.SampledFrom(poolNames).Draw(t, "found"), MTU: 1500, Up: chance(t, "found up", 2)}}
		for _, a := range some(t, "retired", poolAddresses, 2) {
			o.Retired = append(o.Retired, plan.Retired{Address: a})
		}
		for _, r := range distinct(some(t, "retired routes", poolRoutes, 1)) {
			o.Retired = append(o.Retired, plan.Retired{Route: &r})
		}
		out = out.With(c.MAC, &o)
	}
	return out
}

// kernelRoutes brings the routes that the kernel makes for addresses up to date.
func kernelRoutes(l *nic.Link) {
	l.Routes = slices.DeleteFunc(slices.Clone(l.Routes), func(r nic.Route) bool { return r.Protocol == 2 })
	for _, a := range l.Addresses {
		r := nic.Route{To: a.Prefix.Masked(), Protocol: 2}
		if a.Prefix.Addr().Is4() {
			r.Source = a.Prefix.Addr()
		} else {
			r.Metric = 256
		}
		if l.Up && !slices.ContainsFunc(l.Routes, func(h nic.Route) bool { return h.Key() == r.Key() }) {
			l.Routes = append(l.Routes, r)
		}
	}
}

// carryOut does to a simple model of a host what the writer of links does to the kernel.
func carryOut(c nic.Change, m *plan.View) error {
	if c.Way != nil {
		if err := carryOut(*c.Way, m); err != nil {
			return err
		}
	}
	for i := range m.Links {
		l := &m.Links[i]
		if l.Index != c.Index {
			if c.Name != "" && l.Answers(c.Name) {
				return fmt.Errorf("renaming %s to %s: the name is taken by ifindex %d", c.Had, c.Name, l.Index)
			}
			continue
		}
		if c.Name != "" {
			l.Name = c.Name
		}
		if c.MTU != 0 {
			l.MTU = c.MTU
		}
		l.Up = (l.Up || c.Up) && !c.Down
		l.Addresses = slices.DeleteFunc(slices.Clone(l.Addresses), func(h nic.Address) bool { return slices.Contains(c.Del, h.Prefix) })
		for j, a := range l.Addresses {
			if slices.ContainsFunc(c.Extends(), func(x nic.Term) bool { return x.Address == a.Prefix }) {
				l.Addresses[j].Permanent = true
			}
		}
		for _, a := range c.Add {
			l.Addresses = append(l.Addresses, nic.Address{Prefix: a, Permanent: true})
		}
		l.Routes = slices.DeleteFunc(slices.Clone(l.Routes), func(h nic.Route) bool {
			return h.Protocol != 2 && slices.ContainsFunc(c.DelRoutes, func(r nic.Route) bool { return r.Key() == h.Key() })
		})
		if c.Conf != nil {
			l.Conf = *c.Conf
		}
		if c.Conf6 != nil {
			conf := *c.Conf6
			l.Conf6 = &conf
		}
		l.Addresses = slices.DeleteFunc(l.Addresses, func(h nic.Address) bool { return h.Advertised && slices.Contains(c.Advertised, h.Prefix) })
		l.Routes = slices.DeleteFunc(l.Routes, func(h nic.Route) bool { return slices.Contains(c.AdvertisedRoutes, h) })
		l.Rules = slices.DeleteFunc(slices.Clone(l.Rules), func(r nic.Rule) bool { return slices.Contains(c.DelRules, r.Key()) })
		for _, r := range c.AddRules {
			if !slices.Contains(l.Rules, r) {
				l.Rules = append(l.Rules, r)
			}
		}
		for j := range m.Links { // rules are the whole host's
			m.Links[j].Rules = l.Rules
		}
		kernelRoutes(l)
		for _, r := range c.AddRoutes {
			if !slices.ContainsFunc(l.Routes, func(h nic.Route) bool { h.Source = r.Source; return h.Key() == r.Key() }) {
				r.Protocol = 109
				l.Routes = append(l.Routes, r)
			}
		}
	}
	return nil
}

// Whatever is wanted, there and remembered: no protected link changes, nothing of others goes, the
// same input gives the same plan, and what was done once is not done again.
func TestMakeKeepsItsPromises(t *testing.T) {
	// Each case is planned for, twice over, until it comes to rest: more than 10,000 plans. Where
	// -rapid.checks is given, that many cases.
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("3500"); err != nil {
			t.Fatal(err)
		}
	}
	plans, kinds := 0, map[plan.Kind]int{}
	rapid.Check(t, func(t *rapid.T) {
		want, m, rec := wants(t), machines(t), plan.Record{}
		if chance(t, "any record", 2) {
			rec = records(t)
		} else { // one with a past
			for _, a := range plan.Make(wants(t), nil, m, rec).Actions {
				if a.Kind == plan.Configure {
					if err := carryOut(a.Change, &m); err != nil {
						t.Fatal(err)
					}
					rec = rec.With(a.NIC.MAC, a.After)
				}
			}
		}
		var hold []nic.MAC
		if chance(t, "hold", 4) {
			hold = []nic.MAC{mac(1)}
			want = slices.DeleteFunc(want, func(c nic.Config) bool { return c.MAC == mac(1) })
		}
		done := map[nic.MAC]plan.Action{}
		for pass := range 6 {
			p := plan.Make(want, hold, m, rec)
			plans += 2
			shuffled := slices.Clone(want)
			rand.New(rand.NewPCG(1, uint64(pass))).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			if again := plan.Make(shuffled, hold, m, rec); !reflect.DeepEqual(p, again) {
				t.Fatalf("the same input in another order: %s", cmp.Diff(p, again, compare))
			}
			quiet := true
			laidOut(t, p)
			for _, a := range p.Actions {
				kinds[a.Kind]++
				quiet = quiet && a.Change.Empty()
				// Another NIC that is refused no more may share a subnet with it: then it is laid
				// out in another way.
				if d, ok := done[a.NIC.MAC]; ok && d.Kind == a.Kind && d.NIC.Equal(a.NIC) && !a.Change.Empty() {
					t.Fatalf("pass %d: %s was done already: %s", pass, a.NIC.MAC, a.Change)
				}
				if slices.Contains(hold, a.NIC.MAC) {
					t.Fatalf("%s is held", a.NIC.MAC)
				}
				promise(t, a, m, rec)
				if a.Kind != plan.Configure && a.Kind != plan.Remove {
					continue
				}
				if err := carryOut(a.Change, &m); err != nil {
					t.Fatal(err)
				}
				rec = rec.With(a.NIC.MAC, a.After)
				done[a.NIC.MAC] = a
				if a.Change.Way != nil {
					break // the rest is planned anew
				}
				if a.Link == nil {
					continue
				}
				now := m.Links[slices.IndexFunc(m.Links, func(l nic.Link) bool { return l.Index == a.Link.Index })]
				wrong := plan.VerifyGone(now, a.After)
				if a.Kind == plan.Configure {
					wrong = plan.Verify(a.NIC, now, *a.After)
				}
				if len(wrong) > 0 && !(a.Kind == plan.Remove && a.Change.Empty()) {
					t.Fatalf("done, but %s", wrong[0])
				}
			}
			if quiet {
				return
			}
		}
		t.Fatal("it does not come to rest")
	})
	t.Logf("%d plans with %v", plans, kinds)
}

// laidOut holds the NICs of a plan together: each has the tables, rules and priorities of its own
// id only, a host address has its rule and its subnet's route in that table, and main one route of
// ours for a subnet that several share.
func laidOut(t *rapid.T, p plan.Plan) {
	inMain := map[netip.Prefix]int{}
	for _, a := range p.Actions {
		if a.Kind != plan.Configure {
			continue
		}
		c := a.NIC
		for _, r := range c.Rules {
			own := r.Table == nic.Table(c.ID) && !r.NoDefault && (r.Priority == nic.Priority(c.ID) && !r.To.IsValid() || r.Priority == nic.OwnFirst && r.To.IsValid())
			main := r.Table == nic.TableMain && r.NoDefault && r.Priority == nic.MainPriority(c.ID) && !r.To.IsValid()
			if !own && !main || !r.From.IsSingleIP() || !slices.ContainsFunc(c.Addresses, func(h netip.Prefix) bool { return h.Addr() == r.From.Addr() }) {
				t.Fatalf("%s has the rule %s", c.Name, r)
			}
		}
		for _, r := range c.Routes {
			if r.IsDefault() && !nic.OwnTable(r.Table) {
				t.Fatalf("%s has the route %s", c.Name, r)
			}
			if r.Metric == nic.Priority(c.ID) && r.Key().Table == nic.TableMain {
				inMain[r.To]++
			}
		}
		for _, d := range a.Change.DelRules {
			if d.Priority < nic.OwnFirst || d.Priority > nic.RuleBase+nic.MaxID || !nic.OwnTable(d.Table) && !d.NoDefault {
				t.Fatalf("%s is not ours to delete", d)
			}
		}
	}
	for s, n := range inMain {
		if n > 1 {
			t.Fatalf("main gets %d routes to %s", n, s)
		}
	}
}

// advertisedNothing is a link as the guard is to see it: on one of a NIC that is ours and in force,
// what routers advertise protects nothing.
func advertisedNothing(l nic.Link, rec plan.Record) nic.Link {
	for _, o := range rec.NICs {
		if o.Applied && l.HasMAC(o.MAC) {
			l.Routes = slices.DeleteFunc(slices.Clone(l.Routes), func(r nic.Route) bool { return r.Protocol == 9 })
		}
	}
	return l
}

// promise holds one action against the machine and the record that it was made of.
func promise(t *rapid.T, a plan.Action, m plan.View, rec plan.Record) {
	if a.Change.Empty() {
		return
	}
	if a.Link == nil || a.Change.Index != a.Link.Index || !a.Link.HasMAC(a.NIC.MAC) {
		t.Fatalf("the change is not on the NIC's link: %+v", a)
	}
	if r := plan.Guard(advertisedNothing(*a.Link, rec), m); r != nil {
		t.Fatalf("the link must not be touched: %s: %s", r.Message, a.Change)
	}
	for _, r := range a.Change.AdvertisedRoutes {
		if a.Kind != plan.Configure || r.Protocol != 9 && r.Protocol != 2 || r.To.Addr().Is4() {
			t.Fatalf("no router has advertised %s (protocol %d): %s", r, r.Protocol, a.Change)
		}
	}
	if w := a.Change.Way; w != nil {
		i := slices.IndexFunc(m.Links, func(l nic.Link) bool { return l.Index == w.Index })
		if own, ok := rec.Find(w.MAC); !ok || !own.Applied || plan.Guard(advertisedNothing(m.Links[i], rec), m) != nil || m.Links[i].Name != a.NIC.Name {
			t.Fatalf("%s is not ours to make way for %s", m.Links[i].Name, a.NIC.Name)
		}
	}
	o, _ := rec.Find(a.NIC.MAC)
	takeOver := a.Kind == plan.Configure && !o.Applied && a.After.Adopted
	if takeOver && !a.NIC.Adopt && a.Link.Claim != nil && !a.Link.Claim.Machine {
		t.Fatalf("a person's configuration is taken over without a word: %s", a.Change)
	}
	for _, p := range a.Change.Del {
		leased := a.Kind == plan.Configure && slices.ContainsFunc(a.Link.Addresses, func(h nic.Address) bool { return h.Prefix == p && !h.Permanent })
		ours := leased || o.Applied && slices.Contains(o.Config.Addresses, p) || slices.ContainsFunc(o.Retired, func(r plan.Retired) bool { return r.Address == p })
		if !ours && !takeOver || a.Kind == plan.Configure && slices.Contains(a.NIC.Addresses, p) {
			t.Fatalf("%s is not ours to delete: %s", p, a.Change)
		}
	}
	for _, d := range a.Change.DelRoutes {
		same := func(r nic.Route) bool { return r.Key() == d.Key() }
		leased := a.Kind == plan.Configure && slices.ContainsFunc(a.Link.Routes, func(h nic.Route) bool { return same(h) && h.Protocol == nic.ProtocolDHCP })
		ours := leased || o.Applied && slices.ContainsFunc(o.Config.Routes, same) || slices.ContainsFunc(o.Retired, func(r plan.Retired) bool { return r.Route != nil && same(*r.Route) })
		if !ours && !takeOver || a.Kind == plan.Configure && slices.ContainsFunc(a.NIC.Routes, same) {
			t.Fatalf("%s is not ours to delete: %s", d, a.Change)
		}
	}
}
