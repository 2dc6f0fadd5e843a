package plan

import (
	"net/netip"
	"slices"

	"multinicd/nic"
)

// diff gives the change by which a link becomes what c wants. was is what is in force (zero:
// nothing), and o is the record once the change is done. Whatever is neither wanted nor remembered
// stays.
func diff(c nic.Config, was Owned, l nic.Link, o Owned) nic.Change {
	out := nic.Change{Index: l.Index, MAC: c.MAC, Had: l.Name}
	if l.Name != c.Name && !(o.RenameBlocked && l.Up) {
		out.Name = c.Name
	}
	switch {
	case c.MTU != 0 && c.MTU != l.MTU:
		out.MTU, out.HadMTU = c.MTU, l.MTU
	case c.MTU == 0 && was.Config.MTU == l.MTU && o.Found.MTU != 0 && o.Found.MTU != l.MTU:
		// The object names none any more: without this the link would keep it until the next boot only.
		out.MTU, out.HadMTU = o.Found.MTU, l.MTU
	}
	out.Up = !l.Up
	unadvertised(&out, c, was, l)
	switch {
	case c.Apart && l.Conf != nic.Apart:
		out.Conf, out.HadConf = &nic.Conf{}, &nic.Conf{}
		*out.Conf, *out.HadConf = nic.Apart, l.Conf
	case !c.Apart:
		undoConf(&out, was, l)
	}
	for _, a := range c.Addresses {
		i := slices.IndexFunc(l.Addresses, func(h nic.Address) bool { return h.Prefix == a })
		switch {
		case i < 0:
			out.Add = append(out.Add, a)
		case l.Addresses[i].Duplicate: // the kernel asks the neighbours again only for one that is put there anew
			out.Add = append(out.Add, a)
		case !l.Addresses[i].Permanent: // it would go with its lease
			out.Terms = append(out.Terms, nic.Term{Address: a, Had: l.Addresses[i].Lifetime})
		}
	}
	stale(&out, l, o.Retired)
	endLease(&out, c, l)
	// The kernel's own route for an address goes with that.
	staying := slices.DeleteFunc(slices.Clone(l.Routes), func(r nic.Route) bool {
		return r.Protocol == nic.ProtocolKernel && slices.ContainsFunc(out.Del, func(a netip.Prefix) bool { return a.Masked() == r.To })
	})
	for _, r := range c.Routes {
		if !slices.ContainsFunc(staying, r.MetBy) {
			out.AddRoutes = append(out.AddRoutes, r)
		}
	}
	for _, r := range c.Rules {
		if !hasRule(l, r) {
			out.AddRules = append(out.AddRules, r)
		}
	}
	keepLinkLocal(&out, l)
	return out
}

// undoConf adds to ch the settings that the link had before it came to share a subnet, unless
// somebody has changed them since.
func undoConf(ch *nic.Change, was Owned, l nic.Link) {
	if was.Config.Apart && was.Conf != nil && l.Conf == nic.Apart && *was.Conf != nic.Apart {
		now, before := l.Conf, *was.Conf
		ch.Conf, ch.HadConf = &before, &now
	}
}

// stale adds to ch the removal of what is retired and there.
func stale(ch *nic.Change, l nic.Link, retired []Retired) {
	for _, r := range retired {
		switch {
		case r.Route != nil:
			if i := slices.IndexFunc(l.Routes, r.shows); i >= 0 {
				dropRoute(ch, *r.Route, l.Routes[i])
			}
		case r.Rule != nil && hasRule(l, *r.Rule):
			ch.DelRules = append(ch.DelRules, *r.Rule)
		case r.Address.IsValid():
			if i := slices.IndexFunc(l.Addresses, func(a nic.Address) bool { return a.Prefix == r.Address }); i >= 0 {
				drop(ch, l.Addresses[i])
			}
		}
	}
}

// endLease adds to ch the removal of what a DHCP client has brought, except what is retired and
// goes anyway.
func endLease(ch *nic.Change, c nic.Config, l nic.Link) {
	addresses, routes := leased(c, l)
	for _, a := range addresses {
		if !slices.Contains(ch.Del, a.Prefix) {
			drop(ch, a)
		}
	}
	for _, r := range routes {
		plain := r
		plain.Protocol = 0
		if !slices.ContainsFunc(ch.DelRoutes, func(d nic.Route) bool { return d.Key() == r.Key() }) {
			dropRoute(ch, plain, r)
		}
	}
}

// EndLease is the removal, alone, of what a DHCP client has brought to a link; empty where there is
// nothing of that.
func EndLease(c nic.Config, l nic.Link) nic.Change {
	out := nic.Change{Index: l.Index, MAC: c.MAC, Had: l.Name}
	endLease(&out, c, l)
	return out
}

// drop adds the removal of an address to ch, and its lifetime, for the undo.
func drop(ch *nic.Change, a nic.Address) {
	ch.Del = append(ch.Del, a.Prefix)
	if a.Lifetime != (nic.Lifetime{}) {
		ch.Terms = append(ch.Terms, nic.Term{Address: a.Prefix, Had: a.Lifetime})
	}
}

// dropRoute adds the removal of a route to ch, and whose it was as found, for the undo.
func dropRoute(ch *nic.Change, r, found nic.Route) {
	ch.DelRoutes = append(ch.DelRoutes, r)
	if found.Protocol != 0 && found.Protocol != nic.RouteProtocol {
		ch.Theirs = append(ch.Theirs, found)
	}
}

// giveBack is the change that leaves the link as it was found: without what is ours, with its first
// name and MTU, up or down.
func giveBack(o Owned, retired []Retired, l nic.Link) nic.Change {
	out := nic.Change{Index: l.Index, MAC: o.MAC, Had: l.Name}
	stale(&out, unleased(l), retired)
	// Once the NIC was given back, the link is another's to use. But the link may come up with an
	// address of ours and no other address. Then a network manager did not know that the file is
	// gone (networkd, restarted while the file went), and what came with the address goes too.
	if !o.Applied && (len(out.Del) == 0 || l.Claim != nil || slices.ContainsFunc(l.Addresses, func(a nic.Address) bool { return global(a) && !slices.Contains(out.Del, a.Prefix) })) {
		return out
	}
	if o.Applied && o.Found.Name != "" && l.Name == o.Config.Name && l.Name != o.Found.Name {
		out.Name = o.Found.Name
	}
	if o.Config.MTU != 0 && o.Found.MTU != 0 && l.MTU == o.Config.MTU && l.MTU != o.Found.MTU {
		out.MTU, out.HadMTU = o.Found.MTU, l.MTU
	}
	undoConf(&out, o, l)
	undoConf6(&out, o, l)
	out.Down = l.Up && !o.Found.Up && o.Found.Name != ""
	return out
}

// unleased is the link without what a DHCP client or a router has brought.
func unleased(l nic.Link) nic.Link {
	l.Addresses = slices.DeleteFunc(slices.Clone(l.Addresses), func(a nic.Address) bool { return !a.Permanent })
	l.Routes = slices.DeleteFunc(slices.Clone(l.Routes), func(r nic.Route) bool {
		return r.Protocol == nic.ProtocolDHCP || r.Protocol == nic.ProtocolAdvertisement
	})
	return l
}

func hasAddress(l nic.Link, p netip.Prefix) bool {
	return slices.ContainsFunc(l.Addresses, func(a nic.Address) bool { return a.Prefix == p })
}

func hasRule(l nic.Link, r nic.Rule) bool {
	return slices.ContainsFunc(l.Rules, func(h nic.Rule) bool { return h.Key() == r.Key() })
}

// shows says whether have is exactly the retired route. A route that differs only in its source is
// another's, or is wanted now. The kernel's own route cannot be deleted.
func (r Retired) shows(have nic.Route) bool {
	return have.Protocol != nic.ProtocolKernel && have.Key() == r.Route.Key()
}

// serves says whether r is there for something that c wants.
func serves(c nic.Config, r nic.Route) bool {
	return slices.ContainsFunc(c.Routes, func(w nic.Route) bool { return w.MetBy(r) })
}
