package plan

import (
	"slices"

	"multinicd/nic"
)

// Transient says whether a route's protocol tells of somebody who brings the route again unasked.
func Transient(r nic.Route) bool {
	return r.Protocol == nic.ProtocolKernel || r.Protocol == nic.ProtocolAdvertisement || r.Protocol == nic.ProtocolDHCP
}

// KernelBefore gives the change that puts back all that the link of an action had. This is more
// than what the action takes: a network manager that was asked for the change may have taken more.
// The action has a link.
func KernelBefore(a Action) nic.Change {
	l := *a.Link
	out := nic.Change{Index: l.Index, MAC: a.NIC.MAC, Had: l.Name, MTU: l.MTU, HadMTU: l.MTU, AddRules: slices.Clone(a.Change.DelRules), DelRules: a.Change.AddRules}
	for _, h := range l.Addresses {
		if h.Permanent && !h.Duplicate && !h.Prefix.Addr().IsLinkLocalUnicast() {
			out.Add = append(out.Add, h.Prefix)
		}
	}
	for _, p := range a.Change.Add {
		if !slices.ContainsFunc(l.Addresses, func(h nic.Address) bool { return h.Prefix == p }) {
			out.Del = append(out.Del, p)
		}
	}
	for _, r := range l.Routes {
		if !Transient(r) {
			// With all its attributes: NetworkManager brings its own routes back a moment later,
			// and would put a second one beside a route that differs.
			out.AddRoutes = append(out.AddRoutes, r)
		}
	}
	for _, r := range a.Change.AddRoutes {
		if !slices.ContainsFunc(l.Routes, func(h nic.Route) bool { return h.Key() == r.Key() }) {
			out.DelRoutes = append(out.DelRoutes, r)
		}
	}
	for _, r := range a.NIC.Rules {
		if slices.ContainsFunc(l.Rules, func(h nic.Rule) bool { return h.Key() == r.Key() }) && !slices.Contains(out.AddRules, r) {
			out.AddRules = append(out.AddRules, r)
		}
	}
	return out
}
