package plan

import (
	"net/netip"
	"slices"

	"multinicd/nic"
)

// Live gives the steps that make a change in the kernel, each with its undo, in an order in which
// no step undoes another and what comes is there before what it takes the place of goes: name and
// MTU while the link may still be down, addresses before the routes that need them, a table before
// the rules that lead there; what is retired last. A link that is to go down does so behind that.
// With dad, neighbours are asked for new addresses first; IPv6 has the kernel's own detection as
// well, which CheckVerify waits for.
func Live(c nic.Change, dad bool) []Step {
	var steps []Step
	add := func(kind StepKind, part nic.Change) {
		part.Index, part.MAC, part.Had = c.Index, c.MAC, c.Had
		if slices.ContainsFunc(steps, func(s Step) bool { return s.Kind == StepRename }) {
			part.Had = c.Name
		}
		if part.Empty() {
			return
		}
		inverse := part.Inverse()
		steps = append(steps, Step{Kind: kind, Do: Op{Link: &part}, Undo: Op{Link: &inverse}})
	}
	rename := nic.Change{Name: c.Name}
	mtu := nic.Change{MTU: c.MTU, HadMTU: c.HadMTU}
	conf := nic.Change{Conf: c.Conf, HadConf: c.HadConf}
	conf6 := nic.Change{Conf6: c.Conf6, HadConf6: c.HadConf6, Advertised: c.Advertised, AdvertisedRoutes: c.AdvertisedRoutes}
	if c.Down {
		add(StepRules, nic.Change{AddRules: c.AddRules, DelRules: c.DelRules})
		add(StepRoutes, nic.Change{AddRoutes: c.AddRoutes, DelRoutes: c.DelRoutes, Theirs: c.Theirs})
		add(StepAddresses, nic.Change{Add: c.Add, Del: c.Del, Terms: c.Terms})
		add(StepConf, conf)
		add(StepDown, nic.Change{Down: true})
		add(StepConf6, conf6) // a link that is down makes nothing of an advertisement
		add(StepRename, rename)
		add(StepMTU, mtu) // behind the rename, since udev may set the MTU then
		return steps
	}
	if c.Name != "" && c.Way != nil {
		inverse := c.Way.Inverse()
		steps = append(steps, Step{Kind: StepMakeWay, Do: Op{Link: c.Way}, Undo: Op{Link: &inverse}})
	}
	add(StepRename, rename)
	add(StepMTU, mtu)
	// Before the link is up: a router advertises at once. Behind the MTU:
	// below 1280 a link has no IPv6.
	add(StepConf6, conf6)
	add(StepUp, nic.Change{Up: c.Up})
	if free := newAddresses(c); dad && len(free) > 0 {
		steps = append(steps, Step{Kind: StepFree, Do: Op{Check: CheckFree, Addresses: free}})
	}
	addresses, delLater := divide(c.Del, func(old netip.Prefix) bool {
		return slices.ContainsFunc(c.Add, func(a netip.Prefix) bool { return a.Addr() == old.Addr() && a.Addr().Is6() })
	})
	later, terms := divide(c.Terms, func(t nic.Term) bool { return slices.Contains(delLater, t.Address) })
	routes, delRoutesLater := divide(c.DelRoutes, func(old nic.Route) bool {
		return slices.ContainsFunc(c.AddRoutes, old.Excludes)
	})
	add(StepConf, conf)
	add(StepAddresses, nic.Change{Add: c.Add, Del: addresses, Terms: terms})
	add(StepRoutes, nic.Change{AddRoutes: c.AddRoutes, DelRoutes: routes, Theirs: c.Theirs})
	add(StepRules, nic.Change{AddRules: c.AddRules})
	retire := nic.Change{Del: delLater, Terms: later, DelRoutes: delRoutesLater, Theirs: c.Theirs, DelRules: c.DelRules}
	if len(delLater) > 0 {
		// The kernel's own route may have stood in for one of these, and goes with its address.
		retire.AddRoutes = c.AddRoutes
	}
	if !retire.Empty() {
		add(StepRetire, retire)
	}
	return steps
}

// divide parts a list by what f says.
func divide[T any](list []T, f func(T) bool) (yes, no []T) {
	for _, x := range list {
		if f(x) {
			yes = append(yes, x)
		} else {
			no = append(no, x)
		}
	}
	return yes, no
}

// newAddresses lists the addresses that neighbours are asked for: not those that only get another
// length. Another link of this host would answer for them.
func newAddresses(c nic.Change) []netip.Addr {
	var out []netip.Addr
	for _, p := range c.Add {
		if !slices.ContainsFunc(c.Del, func(d netip.Prefix) bool { return d.Addr() == p.Addr() }) {
			out = append(out, p.Addr())
		}
	}
	return out
}
