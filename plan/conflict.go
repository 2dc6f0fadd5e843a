package plan

import (
	"math"
	"net/netip"
	"slices"

	"multinicd/nic"
)

// conflicts says why what is wanted cannot stand beside the rest of the host.
func (p *planner) conflicts(c nic.Config, l nic.Link) *Refusal {
	if c.MTU != 0 && (l.MaxMTU != 0 && c.MTU > l.MaxMTU || l.MinMTU != 0 && c.MTU < l.MinMTU) {
		return refuse(MTUTooLarge, "MTU %d is outside of what link %s can do (%d to %d); give the NIC another mtu", c.MTU, l.Name, l.MinMTU, l.MaxMTU)
	}
	if r := p.noIPv6(c, l); r != nil {
		return r
	}
	for _, o := range p.view.Links {
		leaves := o.Name == c.Name && (p.given[o.Index] != "" || p.movesOn(o, c.Name))
		if o.Index != l.Index && (o.Answers(c.Name) && !leaves || p.given[o.Index] == c.Name) {
			return refuse(NameTaken, "another link (ifindex %d, MAC %s) is called %s already; rename it, or give the NIC another id", o.Index, o.MAC, c.Name)
		}
	}
	if slices.Contains(l.AltNames, c.Name) {
		return refuse(NameTaken, "%s is an alternative name of link %s itself, and the kernel gives no name twice; remove it (ip link property del dev %s altname %[1]s)", c.Name, l.Name, l.Name)
	}
	if r := p.tableConflict(c, l); r != nil {
		return r
	}
	for _, a := range c.Addresses {
		if r := p.addressConflict(a, l); r != nil {
			return r
		}
	}
	for _, r := range c.Routes {
		if r := p.routeConflict(c, r, l); r != nil {
			return r
		}
	}
	return p.drawsOthers(c.MAC, l)
}

// tableLocal is the kernel's table of its own addresses (RT_TABLE_LOCAL, linux/rtnetlink.h). The
// kernel asks this table first, so that not even the longest prefix in another table wins.
const tableLocal = 255

func (p *planner) routeConflict(c nic.Config, r nic.Route, l nic.Link) *Refusal {
	// netplan 0.106 to 1.1.2 writes greater numbers as negative ones. networkd then takes the route
	// without the table, which puts the route into main.
	if r.Table > math.MaxInt32 || r.Metric > math.MaxInt32 {
		return refuse(NotSupported, "route %s: table and metric can be at most %d on this host; give smaller ones", r, math.MaxInt32)
	}
	if r.Table == tableLocal {
		return refuse(NotSupported, "route %s: table %d is the kernel's own; use another", r, tableLocal)
	}
	if r.IsDefault() && !nic.OwnTable(r.Table) {
		return refuse(CutsAPIPath, "a default route through %s in table %d would take the node's own; take the route out, and use gateway, which has a table of its own", c.Name, r.Key().Table)
	}
	return p.cuts(r.To, r.Key().Table, l)
}

func (p *planner) addressConflict(a netip.Prefix, l nic.Link) *Refusal {
	for _, o := range p.view.Links {
		if o.Index != l.Index && o.Holds(a.Addr()) && !p.releases(o, a.Addr()) {
			return refuse(AddressInUse, "address %s is on link %s of this host already, and can be on one link only; give the NIC another address, or free this one", a.Addr(), o.Name)
		}
	}
	for _, w := range p.view.Lifelines {
		if a.Addr() == w.To || a.Addr() == w.Via {
			return refuse(CutsAPIPath, "address %s is the one by which the node reaches %s: the node would be lost; give the NIC another address", a.Addr(), w.What)
		}
	}
	for _, o := range p.view.Links {
		if slices.ContainsFunc(o.Routes, func(r nic.Route) bool { return r.IsDefault() && r.Via == a.Addr() }) {
			return refuse(CutsAPIPath, "address %s is the gateway of the default route of %s: the node would be lost; give the NIC another address", a.Addr(), o.Name)
		}
	}
	return p.cuts(a.Masked(), nic.TableMain, l)
}

// cuts refuses a route to dst through l that would draw traffic that the node lives by.
func (p *planner) cuts(dst netip.Prefix, table int, l nic.Link) *Refusal {
	if table != nic.TableMain {
		return nil
	}
	if whose := p.view.lifelines(p.record).Cuts(dst, l); whose != "" {
		return refuse(CutsAPIPath, "%s through %s would take the traffic %s: the node would be lost; give the NIC a subnet or route that does not cover it", dst, l.Name, whose)
	}
	return nil
}

// releases says whether link o is ours and will not have the address any more.
func (p *planner) releases(o nic.Link, a netip.Addr) bool {
	own, ok := p.changeable(o)
	if _, refused := p.refused[own.MAC]; !ok || refused || !contains(own.Config, a) {
		return false
	}
	return !slices.ContainsFunc(p.want, func(w nic.Config) bool { return w.MAC == own.MAC && contains(w, a) })
}

// changeable finds what we remember of a link that is ours and that this plan may change.
func (p *planner) changeable(o nic.Link) (Owned, bool) {
	i := slices.IndexFunc(p.record.NICs, func(own Owned) bool { return o.HasMAC(own.MAC) && own.Applied })
	if i < 0 || slices.Contains(p.hold, p.record.NICs[i].MAC) || p.guard(o) != nil {
		return Owned{}, false
	}
	return p.record.NICs[i], true
}

func contains(c nic.Config, a netip.Addr) bool {
	return slices.ContainsFunc(c.Addresses, func(h netip.Prefix) bool { return h.Addr() == a })
}
