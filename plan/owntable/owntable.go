// Package owntable fills the routing table that a NIC has of its own, and makes the rules that lead
// there.
//
// In go the addresses whose traffic the table is for, and a nic.Config; out comes the nic.Config
// with the routes and rules that it has on a host. It is the same for the same input.
//
// It does not know which links share a subnet: package plan asks for a table where they do, or
// where the NIC has a gateway. It touches nothing and reads nothing.
//
// Start reading at Table.Fill, then BehindMain in rules.go.
package owntable

import (
	"net/netip"
	"slices"

	"multinicd/nic"
)

// Table is what a NIC's own table gets.
type Table struct {
	ID      int            // of the NIC
	Shared  []netip.Prefix // those of the NIC's subnets that another link is in
	First   []netip.Prefix // networks that come before main; see BehindMain
	rules   []nic.Rule
	subnets []nic.Route
}

// Empty says whether nothing is sent into the table: then the NIC has none.
func (t *Table) Empty() bool { return len(t.rules) == 0 }

// Fill gives a NIC with all its routes and rules. main are the routes to shared subnets that it has
// in main.
func (t *Table) Fill(c nic.Config, main []nic.Route) nic.Config {
	c.Routes, c.Rules = t.routes(c, main), t.rules
	c.Rules = t.behindMain(c)
	return c
}

// routes gives all routes of a NIC that has a table of its own: that table's, those in main, and
// the object's own, which are put into that table too.
func (t *Table) routes(c nic.Config, main []nic.Route) (out []nic.Route) {
	all := append(t.subnets, main...)
	for _, r := range c.Routes {
		all = append(all, t.reach(r))
	}
	for _, r := range c.Routes {
		if r.Key().Table == nic.TableMain && t.serves(r.To.Addr()) {
			r.Table = t.table()
			all = append(all, t.reach(r))
		}
	}
	if c.Gateway.IsValid() {
		all = append(all, t.byGateway(c.Gateway))
	}
	for _, r := range all {
		if !slices.ContainsFunc(out, func(o nic.Route) bool { return o.Key() == r.Key() }) {
			out = append(out, r)
		}
	}
	return out
}

// reach has the kernel accept a route by a router in a shared subnet, to which main may lead by
// another NIC.
func (t *Table) reach(r nic.Route) nic.Route {
	r.OnLink = r.OnLink || r.Via.Is4() && slices.ContainsFunc(t.Shared, func(s netip.Prefix) bool { return s.Contains(r.Via) })
	return r
}

func (t *Table) table() int { return nic.Table(t.ID) }

// From sends what comes from an address into the table, where its subnet is on the link.
func (t *Table) From(a netip.Addr, s netip.Prefix) {
	t.rules = append(t.rules, nic.Rule{Priority: nic.Priority(t.ID), From: netip.PrefixFrom(a, a.BitLen()), Table: t.table()})
	if s.IsValid() && !slices.ContainsFunc(t.subnets, func(r nic.Route) bool { return r.To == s }) {
		t.subnets = append(t.subnets, nic.Route{To: s, Table: t.table()})
	}
}

// serves says whether an address of a's family looks into the table.
func (t *Table) serves(a netip.Addr) bool {
	return slices.ContainsFunc(t.rules, func(r nic.Rule) bool { return r.From.Addr().Is4() == a.Is4() })
}

func (t *Table) byGateway(g netip.Addr) nic.Route {
	r := nic.Route{To: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Via: g, Table: t.table()}
	if g.Is6() {
		r.To = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	r.OnLink = !slices.ContainsFunc(t.subnets, func(s nic.Route) bool { return s.To.Contains(g) }) && !g.IsLinkLocalUnicast()
	return r
}

// InMain is the one route of ours to a shared subnet in main. Its metric is worse than any other,
// so that it draws no traffic from a route that comes later. Two NICs have different metrics, so
// that their routes never collide while the route changes hands.
func InMain(id int, s netip.Prefix, source netip.Addr) nic.Route {
	r := nic.Route{To: s, Metric: nic.Priority(id)}
	// IPv6 chooses the right source by itself, and would have to wait for duplicate address
	// detection.
	if source.Is4() {
		r.Source = source
	}
	return r
}
