package plan

import (
	"net/netip"
	"slices"

	"multinicd/nic"
)

// A NIC of ours draws the traffic that is meant for its own subnets and routes, and no other. So
// what the object asks for is compared with the routes of the links that are not ours: those of the
// primary, of Pods and of Services. What is in force already is not refused afterwards.

// The shortest prefixes that a subnet or a route may have: a shorter one draws half of the world.
const (
	shortest4 = 8
	shortest6 = 16
)

// drawsOthers says whose traffic the NIC's subnets and routes, as the object has them, would draw.
func (p *planner) drawsOthers(m nic.MAC, l nic.Link) *Refusal {
	i := slices.IndexFunc(p.asked, func(c nic.Config) bool { return c.MAC == m })
	c := p.asked[i]
	had, _ := p.record.Find(m)
	for _, a := range c.Addresses {
		if had.Applied && contains(had.Config, a.Addr()) {
			continue
		}
		if r := p.drawn(a.Masked(), nic.TableMain, l, "subnet "+a.Masked().String()); r != nil {
			return r
		}
		if s := subnet(a); s.IsValid() && !p.shared(c, s) && !(p.view.SubnetsOff && p.beside(c, s)) {
			if r := p.overlaps(nic.Route{To: s, Protocol: nic.ProtocolKernel}, l, "subnet "+s.String()); r != nil {
				return r
			}
		}
	}
	for _, r := range c.Routes {
		if had.Applied && slices.ContainsFunc(had.Config.Routes, func(h nic.Route) bool { return h.Key() == r.Key() }) {
			continue
		}
		table := r.Key().Table
		if nic.OwnTable(table) {
			continue // only the NIC's own traffic is led there
		}
		if table != nic.TableMain && !slices.Contains(p.view.Tables, table) {
			return refuse(NotSupported, "route %s: whoever looks up table %d is drawn along; give the route no table (main) or %d, the NIC's own, or allow this one on the host ([routing] allow_tables)",
				r, table, nic.Table(c.ID))
		}
		if f := p.drawn(r.To, table, l, "route "+r.String()); f != nil {
			return f
		}
		if table == nic.TableMain {
			if f := p.overlaps(r, l, "route "+r.String()); f != nil {
				return f
			}
		}
	}
	return nil
}

// drawn refuses what is too wide, and what takes a protected destination.
func (p *planner) drawn(dst netip.Prefix, table int, l nic.Link, what string) *Refusal {
	least := shortest4
	if dst.Addr().Is6() {
		least = shortest6
	}
	if dst.Bits() < least {
		return refuse(NotSupported, "%s is shorter than /%d and would draw most of the node's traffic; name the networks that are meant, or use gateway, which has a table of its own", what, least)
	}
	if d := p.view.lifelines(p.record).Draws(dst, table, l); d != nil {
		return refuse(SubnetConflict, "%s of %s would draw the traffic for %s, which is %s; give the NIC a subnet or route that does not cover it", what, l.Name, d.To, d.What)
	}
	return nil
}

// overlaps refuses a route that takes traffic from a route of a link that is not ours: want lies
// within that route, or is equal to it and has no worse metric. A wider route takes nothing, since
// the kernel chooses the longest prefix.
func (p *planner) overlaps(want nic.Route, l nic.Link, what string) *Refusal {
	for _, o := range p.view.Links {
		if o.Index == l.Index || p.ours(o) {
			continue
		}
		for _, h := range o.Routes {
			if h.IsDefault() || h.Key().Table != nic.TableMain || h.To.Addr().IsLinkLocalUnicast() || !h.To.Contains(want.To.Addr()) || h.To.Bits() > want.To.Bits() {
				continue
			}
			if h.To == want.To && metric(want) > metric(h) {
				continue
			}
			return refuse(SubnetConflict, "%s lies in %s of link %s, which is not ours (Pods, Services or the node's own network), and would draw its traffic; give the NIC another", what, h, o.Name)
		}
	}
	return nil
}

// metric is what the kernel compares: less is better.
func metric(r nic.Route) int {
	if r.Metric == 0 && r.To.Addr().Is6() && r.Protocol == nic.ProtocolKernel {
		return 256 // IP6_RT_PRIO_ADDRCONF, linux/ipv6_route.h
	}
	return r.Key().Metric
}
