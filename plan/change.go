package plan

import (
	"net/netip"
	"slices"

	"multinicd/nic"
)

// diff compares a link with what is wanted of it, was remembered of it (zero: nothing is in force), and is to be remembered. What is neither stays.
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
		if !hasAddress(l, a) {
			out.Add = append(out.Add, a)
		}
	}
	stale(&out, l, o.Retired)
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

// undoConf adds to ch what the link had before it came to share a subnet, unless somebody has changed it since.
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
		case r.Route != nil && showsRoute(l.Routes, *r.Route):
			ch.DelRoutes = append(ch.DelRoutes, *r.Route)
		case r.Rule != nil && hasRule(l, *r.Rule):
			ch.DelRules = append(ch.DelRules, *r.Rule)
		case r.Address.IsValid() && hasAddress(l, r.Address):
			ch.Del = append(ch.Del, r.Address)
		}
	}
}

// giveBack is the change that leaves the link as it was found: without what is ours, with its first name and MTU, up or down.
func giveBack(o Owned, retired []Retired, l nic.Link) nic.Change {
	out := nic.Change{Index: l.Index, MAC: o.MAC, Had: l.Name}
	stale(&out, l, retired)
	// Once it was given back, the link is another's to use. But where it comes up with an address of ours and none besides, that was a network
	// manager who had not heard of it (networkd, restarted while the file went), and what came with the address goes too.
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

func hasAddress(l nic.Link, p netip.Prefix) bool {
	return slices.ContainsFunc(l.Addresses, func(a nic.Address) bool { return a.Prefix == p })
}

func hasRule(l nic.Link, r nic.Rule) bool {
	return slices.ContainsFunc(l.Rules, func(h nic.Rule) bool { return h.Key() == r.Key() })
}

// showsRoute says whether exactly that route is there. What is retired is compared so: the same way with another source is another's,
// or the very one that is wanted now; the kernel's own cannot be deleted.
func showsRoute(have []nic.Route, r nic.Route) bool {
	return slices.ContainsFunc(have, func(h nic.Route) bool { return h.Protocol != nic.ProtocolKernel && h.Key() == r.Key() })
}

// serves says whether r is there for something that c wants.
func serves(c nic.Config, r nic.Route) bool {
	return slices.ContainsFunc(c.Routes, func(w nic.Route) bool { return w.MetBy(r) })
}
