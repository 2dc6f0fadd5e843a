package plan

import (
	"math"
	"net/netip"
	"path"
	"slices"

	"multinicd/nic"
)

// never lists names of links that belong to container networks and tunnels, whatever their kind (FACTS: what the daemon must never touch).
var never = []string{
	"lo", "cali*", "tunl*", "vxlan*", "wireguard.cali", "cilium_*", "lxc*", "flannel*", "cni*", "kube-ipvs0", "kube-bridge", "nodelocaldns",
	"docker*", "br-*", "ovn*", "ovs-*", "genev_sys*", "antrea*", "weave*", "virbr*", "vnet*", "tap*", "tun*", "wg*", "bond*", "team*", "dummy*",
}

// Guard says why a link that is not ours must not be touched, or nil; of any link GuardOf does. It is asked when planning and again right before every change, by the one writer of links.
// It looks at the link and at the machine alone, never at what is wanted: no wish makes a protected link fair game.
func Guard(l nic.Link, m Machine) *Refusal {
	if r := NotOurs(l, m); r != nil {
		return r
	}
	for _, p := range m.Lifelines {
		if p.Index == l.Index && p.Index != 0 {
			return refuse(ProtectedLink, "link %s carries the path to %s (%s): the node would be lost; take this NIC out of the object", l.Name, p.What, p.To)
		}
		if p.To.IsValid() && l.Holds(p.To) || p.Source.IsValid() && l.Holds(p.Source) {
			return refuse(ProtectedLink, "link %s holds the node's own address towards %s: the node would be lost; take this NIC out of the object", l.Name, p.What)
		}
	}
	for _, r := range l.Routes {
		if r.IsDefault() && !nic.OwnTable(r.Table) && (len(l.Former) == 0 || !nic.FormerTable(r.Table)) {
			return refuse(ProtectedLink, "link %s has a default route (%s) that is not ours: the node may live by it; remove that route, or take this NIC out of the object", l.Name, r)
		}
	}
	return nil
}

// GuardOf is Guard for what we remember. On a link of a NIC that is ours and in force, a default route by a router advertisement protects nothing:
// nobody has set it, and our files keep it away from the next boot on (see advertised.go). A link that the node lives by all the same, since
// the way to the API server or the node's address is on it, stays protected: Lifelines tell.
func GuardOf(rec Record, l nic.Link, m Machine) *Refusal {
	if rec.inForce(l) {
		l.Routes = slices.DeleteFunc(slices.Clone(l.Routes), func(r nic.Route) bool { return r.Protocol == nic.ProtocolAdvertisement })
	}
	return Guard(l, m)
}

// Again asks once more, right before a change and of the machine as it is then, what Make asked: whether link l may be touched, and whether what is
// wanted of it can stand beside the rest of the host. c is as Make laid it out, rec as Make knew it, and was what it knew of this NIC; nil: nothing.
// Addresses that other links of ours are to give up may still be there.
func Again(c nic.Config, l nic.Link, m Machine, rec Record, was *Owned) *Refusal {
	if r := GuardOf(rec, l, m); r != nil {
		return r
	}
	p := planner{asked: []nic.Config{c}, want: []nic.Config{c}, machine: m, record: rec}
	var known Owned
	if was != nil {
		known = *was
	}
	if r := p.foreign(c, l, known, was != nil); r != nil {
		return r
	}
	for _, a := range c.Addresses {
		if r := p.addressConflict(a, l); r != nil {
			return r
		}
	}
	for _, route := range c.Routes {
		if r := p.routeConflict(c, route, l); r != nil {
			return r
		}
	}
	return nil
}

// NotOurs says why the link is of a kind that is never touched. It is the part of Guard that holds for an undo too: what we changed we may
// put back, also where the change itself has drawn the node's path to the link.
func NotOurs(l nic.Link, m Machine) *Refusal {
	for _, pattern := range slices.Concat(never, m.Deny) {
		if ok, err := path.Match(pattern, l.Name); err == nil && ok {
			return refuse(NotPhysical, "link %s has a name of the form %s, which container networks and tunnels use: it is never touched; name the MAC of a NIC of its own", l.Name, pattern)
		}
	}
	if !physical(l, m.Kinds) {
		return refuse(NotPhysical, "link %s is virtual (kind %q), no NIC: it is never touched; name the MAC of a NIC", l.Name, l.Kind)
	}
	if l.Master != 0 {
		return refuse(NotPhysical, "link %s is part of a bond, bridge or VRF: it is never touched; take it out of there first", l.Name)
	}
	return nil
}

// physical says whether a link may be meant by a MAC: bonds, bridges and VLANs that borrow one never are.
func physical(l nic.Link, kinds []string) bool {
	if l.Kind == "" {
		return l.Device || slices.Contains(kinds, "")
	}
	return slices.Contains(kinds, l.Kind)
}

// foreign says whether somebody else configured the link and the object does not say that it may be taken over.
func (p *planner) foreign(c nic.Config, l nic.Link, o Owned, known bool) *Refusal {
	if known && o.Applied || c.Adopt {
		return nil
	}
	if l.Claim != nil {
		return refuse(ForeignConfig, "link %s is configured by %s: %s; remove that, or set adopt: true to take it over", l.Name, l.Claim.Owner, l.Claim.Evidence)
	}
	if len(l.Former) > 0 {
		return nil // it did what we do now, for the same NICs
	}
	for _, a := range l.Addresses {
		retired := slices.ContainsFunc(o.Retired, func(r Retired) bool { return r.Address == a.Prefix })
		if global(a) && !retired && !slices.Contains(c.Addresses, a.Prefix) {
			return refuse(ForeignConfig, "link %s already has address %s, which is not ours; remove it, or set adopt: true to take the link over", l.Name, a.Prefix)
		}
	}
	return nil
}

// global says whether the address was configured: link-local ones and what IPv6 made of router advertisements were not.
func global(a nic.Address) bool {
	ip := a.Prefix.Addr()
	return !ip.IsLinkLocalUnicast() && (a.Permanent || ip.Is4())
}

// conflicts says why what is wanted cannot stand beside the rest of the host.
func (p *planner) conflicts(c nic.Config, l nic.Link) *Refusal {
	if c.MTU != 0 && (l.MaxMTU != 0 && c.MTU > l.MaxMTU || l.MinMTU != 0 && c.MTU < l.MinMTU) {
		return refuse(MTUTooLarge, "MTU %d is outside of what link %s can do (%d to %d); give the NIC another mtu", c.MTU, l.Name, l.MinMTU, l.MaxMTU)
	}
	if r := p.noIPv6(c, l); r != nil {
		return r
	}
	for _, o := range p.machine.Links {
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
	return nil
}

// tableLocal is the kernel's table of its own addresses (RT_TABLE_LOCAL, linux/rtnetlink.h). It is asked before all others, so that no
// prefix in another table is long enough to win.
const tableLocal = 255

func (p *planner) routeConflict(c nic.Config, r nic.Route, l nic.Link) *Refusal {
	// netplan 0.106 to 1.1.2 writes greater ones as negative numbers, and networkd then takes the route without them: in main, say.
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
	for _, o := range p.machine.Links {
		if o.Index != l.Index && o.Holds(a.Addr()) && !p.releases(o, a.Addr()) {
			return refuse(AddressInUse, "address %s is on link %s of this host already, and can be on one link only; give the NIC another address, or free this one", a.Addr(), o.Name)
		}
	}
	for _, w := range p.machine.Lifelines {
		if a.Addr() == w.To || a.Addr() == w.Via {
			return refuse(CutsAPIPath, "address %s is the one by which the node reaches %s: the node would be lost; give the NIC another address", a.Addr(), w.What)
		}
	}
	for _, o := range p.machine.Links {
		if slices.ContainsFunc(o.Routes, func(r nic.Route) bool { return r.IsDefault() && r.Via == a.Addr() }) {
			return refuse(CutsAPIPath, "address %s is the gateway of the default route of %s: the node would be lost; give the NIC another address", a.Addr(), o.Name)
		}
	}
	return p.cuts(a.Masked(), nic.TableMain, l)
}

// cuts says whether a route to dst through l would draw traffic that the node lives by: the API server, its next hop, or the
// next hop of a default route, where the present way there is a shorter prefix.
func (p *planner) cuts(dst netip.Prefix, table int, l nic.Link) *Refusal {
	if table != nic.TableMain {
		return nil
	}
	for _, w := range p.machine.Lifelines {
		for _, to := range []netip.Addr{w.To, w.Via, w.Source} {
			if to.IsValid() && dst.Contains(to) && w.Index != l.Index && dst.Bits() > p.bestBits(to, w.Index) {
				return refuse(CutsAPIPath, "%s through %s would take the traffic for %s, which is %s: the node would be lost; give the NIC a subnet or route that does not cover it", dst, l.Name, to, w.What)
			}
		}
	}
	for _, o := range p.machine.Links {
		for _, r := range o.Routes {
			if o.Index != l.Index && r.IsDefault() && r.Key().Table == nic.TableMain && r.Via.IsValid() && dst.Contains(r.Via) && dst.Bits() > p.bestBits(r.Via, o.Index) {
				return refuse(CutsAPIPath, "%s through %s would take the traffic for %s, the gateway of the default route of %s: the node would be lost; give the NIC a subnet or route that does not cover it", dst, l.Name, r.Via, o.Name)
			}
		}
	}
	return nil
}

// bestBits is the longest prefix in main by which link index reaches a now; 0 if it has none.
// A path through a longer prefix wins over ours whatever we add; an equal one may lose, by metric: the probe after the change tells.
func (p *planner) bestBits(a netip.Addr, index int) int {
	best := 0
	for _, l := range p.machine.Links {
		if l.Index != index {
			continue
		}
		for _, r := range l.Routes {
			if r.Key().Table == nic.TableMain && r.To.Contains(a) && r.To.Bits() > best {
				best = r.To.Bits()
			}
		}
	}
	return best
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
	if i < 0 || slices.Contains(p.hold, p.record.NICs[i].MAC) || GuardOf(p.record, o, p.machine) != nil {
		return Owned{}, false
	}
	return p.record.NICs[i], true
}

func contains(c nic.Config, a netip.Addr) bool {
	return slices.ContainsFunc(c.Addresses, func(h netip.Prefix) bool { return h.Addr() == a })
}
