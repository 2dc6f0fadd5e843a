package owntable

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
func (t *Table) behindMain(c nic.Config) (out []nic.Rule) {
	main := BehindMain(c)
	for _, m := range main {
		for _, to := range t.First {
			r := nic.Rule{Priority: nic.OwnFirst, From: m.From, To: to, Table: t.table()}
			if to.Addr().Is4() == m.From.Addr().Is4() && !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	return slices.Concat(out, c.Rules, main)
}

// Taken says whether a rule of somebody else has a priority of the rules of c.
func Taken(r nic.Rule, c nic.Config) bool {
	switch r.Priority {
	case nic.Priority(c.ID):
		return r.Table != nic.Table(c.ID) || r.To.IsValid() || r.NoDefault || r.Other
	case nic.MainPriority(c.ID):
		return len(BehindMain(c)) > 0 && (r.Table != nic.TableMain || r.To.IsValid() || !r.NoDefault || r.Other)
	}
	return false
}

// ViaShared says whether a router lies in an IPv6 subnet that c shares. The kernel takes such a
// route only where its own table, or main, leads to the router by the same link.
func ViaShared(c nic.Config, via netip.Addr) bool {
	return via.Is6() && slices.ContainsFunc(c.Routes, func(s nic.Route) bool { return s.Table == nic.Table(c.ID) && !s.Via.IsValid() && s.To.Contains(via) }) &&
		!slices.ContainsFunc(c.Addresses, func(a netip.Prefix) bool { return !a.IsSingleIP() && a.Contains(via) })
}
