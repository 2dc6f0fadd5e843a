package plan

import (
	"net/netip"
	"slices"

	"multinicd/nic"
	"multinicd/plan/owntable"
)

// laidOut gives all that is wanted in the form in which it can stand beside the rest of this host.
// Everything comes back as it is asked for, except:
//
//   - an address in a subnet that another link is in too. It becomes a host address, which brings
//     no route. The subnet gets a route in the NIC's own table, and a rule sends what comes from
//     the address into that table. So an answer leaves by the NIC through which the question came
//     in;
//   - a gateway. It becomes a default route in that table, with the rules for it.
//
// Traffic without a source to a shared subnet finds one route in main: that of the NIC with the
// lowest id that is there and does not fail, and none of ours where another link has one. The
// result follows from what is wanted, which NICs are there, and the other links; from nothing else.
func (p *planner) laidOut() []nic.Config {
	out := slices.Clone(p.asked)
	for i, c := range p.asked {
		if _, refused := p.refused[c.MAC]; !refused {
			out[i] = p.layOut(c)
		}
	}
	return out
}

func (p *planner) layOut(c nic.Config) nic.Config {
	c.MTU = p.roomy(c)
	own := owntable.Table{ID: c.ID}
	var main []nic.Route
	addresses := slices.Clone(c.Addresses)
	for i, a := range c.Addresses {
		s := subnet(a)
		shared := p.shared(c, s)
		if !shared && (!c.Gateway.IsValid() || c.Gateway.Is4() != a.Addr().Is4() || a.Addr().IsLinkLocalUnicast()) {
			continue
		}
		own.From(a.Addr(), s)
		if p.joined(c, s) {
			own.First = append(own.First, s)
		}
		if !shared {
			continue
		}
		addresses[i] = hostPrefix(a.Addr())
		c.Apart = c.Apart || a.Addr().Is4()
		if !slices.Contains(own.Shared, s) && p.holds(c, s) {
			main = append(main, owntable.InMain(c.ID, s, a.Addr()))
		}
		own.Shared = append(own.Shared, s)
	}
	if own.Empty() {
		return c
	}
	own.First = append(own.First, p.ownRoutes(c)...)
	c.Addresses = addresses
	return own.Fill(c, main)
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

// AsAsked gives an address of the action's link as the object has it. A host address that stands
// for one in a shared subnet gets that subnet's length. An address that the object does not have
// comes back as it is.
func (a Action) AsAsked(have netip.Prefix) netip.Prefix {
	for _, p := range a.Asked.Addresses {
		if have == hostPrefix(p.Addr()) {
			return p
		}
	}
	return have
}

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// subnet is the network of an address that other links can be in too; zero where there is none.
func subnet(a netip.Prefix) netip.Prefix {
	if a.IsSingleIP() || a.Addr().IsLinkLocalUnicast() {
		return netip.Prefix{}
	}
	return a.Masked()
}

func inSubnet(c nic.Config, s netip.Prefix) bool {
	return slices.ContainsFunc(c.Addresses, func(a netip.Prefix) bool { return subnet(a) == s })
}

// shared says whether another link is in the subnet too: one that the object wants, even before it
// is plugged in, or anybody's.
func (p *planner) shared(c nic.Config, s netip.Prefix) bool {
	return !p.view.SubnetsOff && p.joined(c, s)
}

// joined is shared where sharing is not switched off.
func (p *planner) joined(c nic.Config, s netip.Prefix) bool {
	if !s.IsValid() {
		return false
	}
	for _, o := range p.asked {
		if _, refused := p.refused[o.MAC]; !refused && o.MAC != c.MAC && inSubnet(o, s) {
			return true
		}
	}
	return p.beside(c, s)
}

// holds says whether main's route to a shared subnet is that of c.
func (p *planner) holds(c nic.Config, s netip.Prefix) bool {
	for _, o := range p.asked { // sorted by id
		if _, refused := p.refused[o.MAC]; refused || !inSubnet(o, s) || slices.Contains(p.view.Failed, o.MAC) {
			continue
		}
		if l, _ := p.find(o); l != nil {
			return o.MAC == c.MAC && p.heldByNobody(c, s)
		}
	}
	return false
}

// heldByNobody says whether main has no route to the subnet by a link that is not ours.
func (p *planner) heldByNobody(c nic.Config, s netip.Prefix) bool {
	return !p.wasBeside(c, s) && !p.others(func(l nic.Link) bool {
		return slices.ContainsFunc(l.Routes, func(r nic.Route) bool {
			return r.To == s && !r.Via.IsValid() && r.Key().Table == nic.TableMain
		})
	})
}

// others asks about each link that this plan does not configure or give back.
func (p *planner) others(is func(nic.Link) bool) bool {
	return slices.ContainsFunc(p.view.Links, func(l nic.Link) bool { return is(l) && !p.ours(l) })
}

func (p *planner) ours(l nic.Link) bool {
	for _, c := range p.asked {
		if _, refused := p.refused[c.MAC]; !refused && l.HasMAC(c.MAC) && l.Physical(p.view.Kinds) {
			return true
		}
	}
	own, ok := p.changeable(l)
	return ok && !slices.ContainsFunc(p.asked, func(c nic.Config) bool { return c.MAC == own.MAC })
}

// beside says whether a link that is not ours is in the subnet. A link that was in the subnet, and
// has lost its address for now, counts while no other link has a default route. At boot the primary
// may get its address later than we look, and must not find our route in its place.
func (p *planner) beside(c nic.Config, s netip.Prefix) bool {
	return p.others(func(l nic.Link) bool {
		return slices.ContainsFunc(l.Addresses, func(a nic.Address) bool { return subnet(a.Prefix) == s }) ||
			slices.ContainsFunc(l.Routes, func(r nic.Route) bool { return r.To == s && !r.Via.IsValid() })
	}) || p.wasBeside(c, s)
}

func (p *planner) wasBeside(c nic.Config, s netip.Prefix) bool {
	had, _ := p.record.Find(c.MAC)
	return had.Applied && slices.Contains(had.Beside, s) && !p.others(func(l nic.Link) bool {
		return slices.ContainsFunc(l.Routes, func(r nic.Route) bool {
			return r.IsDefault() && r.To.Addr().Is4() == s.Addr().Is4() && r.Key().Table == nic.TableMain
		})
	})
}

// besides lists the subnets of a NIC in which a link is that is not ours.
func (p *planner) besides(m nic.MAC) (out []netip.Prefix) {
	i := slices.IndexFunc(p.asked, func(c nic.Config) bool { return c.MAC == m })
	for _, a := range p.asked[i].Addresses {
		if s := subnet(a); s.IsValid() && !p.view.SubnetsOff && !slices.Contains(out, s) && p.beside(p.asked[i], s) {
			out = append(out, s)
		}
	}
	return out
}

// lends says whether a NIC that is given back holds main's route to a subnet that others stay in.
// Such a NIC goes last, when the others have their own route, unless one of them takes over its
// name or an address.
func (p *planner) lends(o Owned) bool {
	return o.Applied && slices.ContainsFunc(o.Config.Routes, func(r nic.Route) bool {
		return r.Metric == nic.Priority(o.Config.ID) && r.Key().Table == nic.TableMain &&
			slices.ContainsFunc(p.asked, func(c nic.Config) bool { return inSubnet(c, r.To) })
	}) && !slices.ContainsFunc(p.asked, func(c nic.Config) bool {
		return c.Name == o.Config.Name || slices.ContainsFunc(o.Config.Addresses, func(a netip.Prefix) bool { return contains(c, a.Addr()) })
	})
}

// nobodys leaves out the rules that another NIC has come to want. Rules belong to no link: a NIC
// that got the address and the id of another has the very same rules.
func (p *planner) nobodys(retired []Retired) []Retired {
	return slices.DeleteFunc(slices.Clone(retired), func(r Retired) bool {
		return r.Rule != nil && slices.ContainsFunc(p.want, func(c nic.Config) bool { return slices.Contains(c.Rules, *r.Rule) })
	})
}

// tableConflict says why the NIC's own table, or what is wanted of it, cannot be.
func (p *planner) tableConflict(c nic.Config, l nic.Link) *Refusal {
	if r := p.tableTaken(c, l); r != nil {
		return r
	}
	return routesUnsupported(c)
}

// tableTaken refuses a NIC whose own table, or the priority of its rules, somebody else uses. Where
// we used the table first, somebody who came later is left alone.
func (p *planner) tableTaken(c nic.Config, l nic.Link) *Refusal {
	had, _ := p.record.Find(c.MAC)
	if len(c.Rules) == 0 || had.Applied && had.Config.ID == c.ID && len(had.Config.Rules) > 0 {
		return nil
	}
	table := nic.Table(c.ID)
	for _, r := range l.Rules {
		if owntable.Taken(r, c) {
			return refuse(TableTaken, "rule %q has the priority of %s, and is not ours; give the NIC another id, or the rule another priority", r, c.Name)
		}
	}
	for _, o := range p.view.Links {
		i := slices.IndexFunc(o.Routes, func(r nic.Route) bool { return r.Table == table })
		if i >= 0 && o.Index != l.Index && !p.ours(o) {
			return refuse(TableTaken, "table %d, that of %s, is in use: link %s has the route %q in it; give the NIC another id, or that route another table", table, c.Name, o.Name, o.Routes[i])
		}
	}
	return nil
}

// routesUnsupported refuses a route of the object that cannot stand with the NIC's own table, or
// with another NIC's. It looks at nothing but the wish, so that the same wish always gets the same
// answer, whatever is in force.
func routesUnsupported(c nic.Config) *Refusal {
	table := nic.Table(c.ID)
	for _, r := range c.Routes {
		if nic.OwnTable(r.Table) && r.Table != table {
			return refuse(NotSupported, "route %q: table %d is that of another NIC, multinic%d; give the route table %d, that of %s, or none of %d to %d",
				r, r.Table, r.Table-nic.TableBase, table, c.Name, nic.TableBase, nic.TableBase+nic.MaxID)
		}
		if c.Gateway.IsValid() && r.IsDefault() && r.Table == table && r.Via != c.Gateway && r.Via.Is4() == c.Gateway.Is4() {
			return refuse(NotSupported, "table %d gets its default route from gateway; take the route %q out of routes", table, r)
		}
		if len(c.Rules) > 0 && r.Table != table && owntable.ViaShared(c, r.Via) {
			return refuse(NotSupported, "route %q: by a router in an IPv6 subnet that links share only the NIC's own table can lead; give the route table %d", r, table)
		}
	}
	return nil
}
