package plan

import (
	"net/netip"
	"slices"

	"multinicd/nic"
)

// A default route in a NIC's own table would also take the NIC's answers to Pods, to which main
// leads. So the kernel asks these rules for each address of the family of the gateway, in this
// order (here of NIC 1):
//
//	 9999: from ADDRESS to NETWORK lookup OWN                     what comes before main all the same
//	10001: from ADDRESS lookup main suppress_prefixlength 0       main, except its default route
//	20001: from ADDRESS lookup OWN                                the rest, the default route too
//
// Before main come only networks for which main names another link, or may name one:
//
//   - a subnet that another link is in too, since main has the route of one of them only;
//   - a route that the object puts into the NIC's own table, which main does not have;
//   - a route to a network to which another NIC of the object leads as well.
//
// The rules follow from what is wanted, and from which links share a subnet; from nothing else.

// BehindMain gives the rules that ask main, except its default route, before the default route in a
// NIC's own table. There is one for each address that looks up such a table. c is laid out. The
// result does not depend on whether c.Rules has such rules already.
func BehindMain(c nic.Config) (out []nic.Rule) {
	for _, r := range c.Rules {
		if r.Priority != nic.Priority(c.ID) || r.Table != nic.Table(c.ID) || !r.From.IsSingleIP() {
			continue
		}
		if slices.ContainsFunc(c.Routes, func(d nic.Route) bool {
			return d.IsDefault() && d.Table == r.Table && d.To.Addr().Is4() == r.From.Addr().Is4()
		}) {
			out = append(out, nic.Rule{Priority: nic.MainPriority(c.ID), From: r.From, Table: nic.TableMain, NoDefault: true})
		}
	}
	return out
}

// behindMain gives all rules of the NIC, whose other rules and routes are in c. The rules that lead
// to main come last: the writer makes rules in this order.
func (t *ownTable) behindMain(c nic.Config) (out []nic.Rule) {
	main := BehindMain(c)
	for _, m := range main {
		for _, to := range t.first {
			r := nic.Rule{Priority: nic.OwnFirst, From: m.From, To: to, Table: t.table()}
			if to.Addr().Is4() == m.From.Addr().Is4() && !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	return slices.Concat(out, c.Rules, main)
}

// ownRoutes lists the networks of the object's routes that come before main.
func (p *planner) ownRoutes(c nic.Config) (out []netip.Prefix) {
	for _, r := range c.Routes {
		if r.IsDefault() {
			continue
		}
		if r.Table == nic.Table(c.ID) || r.Key().Table == nic.TableMain && slices.ContainsFunc(p.asked, func(o nic.Config) bool {
			_, refused := p.refused[o.MAC]
			return !refused && o.MAC != c.MAC && slices.ContainsFunc(o.Routes, func(h nic.Route) bool { return h.To == r.To && h.Key().Table == nic.TableMain })
		}) {
			out = append(out, r.To)
		}
	}
	return out
}

// taken says whether a rule of somebody else has a priority of the rules of c.
func taken(r nic.Rule, c nic.Config) bool {
	switch r.Priority {
	case nic.Priority(c.ID):
		return r.Table != nic.Table(c.ID) || r.To.IsValid() || r.NoDefault || r.Other
	case nic.MainPriority(c.ID):
		return len(BehindMain(c)) > 0 && (r.Table != nic.TableMain || r.To.IsValid() || !r.NoDefault || r.Other)
	}
	return false
}
