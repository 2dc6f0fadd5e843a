package status

import (
	"fmt"
	"slices"
	"strings"

	"multinicd/internal/apply"
	"multinicd/nic"
	"multinicd/plan"
)

// Unknown is the author of what nobody tells us of. Of a link itself (name, MTU, up, down, sysctls)
// the kernel never does.
const Unknown = "unknown"

// protocols are names of those who make routes, by the protocol that they give them; those that nic
// does not name are of linux/rtnetlink.h.
var protocols = map[int]string{
	nic.ProtocolBoot: "ip(8) or a script (proto boot)", nic.ProtocolStatic: "a network manager (proto static)",
	nic.ProtocolAdvertisement: "a router advertisement", nic.ProtocolDHCP: "DHCP", 11: "zebra", 12: "bird", 186: "BGP", 188: "OSPF",
}

// share is one thing that somebody changed: its kind, as Differences calls it, which one, and by
// whom.
type share struct{ kind, which, by string }

// Author says who did what an action repairs: "bird (process 812, user bird)", or, where it was not
// all the same one, "systemd-networkd for address 192.0.2.1/24; unknown for up".
//
// whose gives who made one of the changes, of a link by its ifindex; "": nobody knows. See
// daemon.Wiring.
func Author(a plan.Action, whose func(index int, what any) string) string {
	return authors(changed(a, whose))
}

// changed lists what somebody changed, with the evidence of who it was: the kernel's word, or the
// mark on a route that took the place of ours.
func changed(a plan.Action, whose func(index int, what any) string) (out []share) {
	c := a.Change
	told := func(kind, which string, what any) {
		by := ""
		if whose != nil {
			by = whose(a.Link.Index, what)
		}
		out = append(out, share{kind, which, by})
	}
	for _, p := range append(slices.Clone(c.Add), c.Del...) {
		told("address", p.String(), p)
	}
	for _, r := range append(slices.Clone(c.AddRoutes), c.DelRoutes...) {
		told("route", r.String(), r)
	}
	for i, want := range c.AddRoutes {
		p := &out[len(c.Add)+len(c.Del)+i]
		for _, have := range a.Link.Routes {
			if p.by == "" && have.To == want.To && have.Key().Table == want.Key().Table {
				p.by = protocols[have.Protocol]
			}
		}
	}
	for _, r := range append(slices.Clone(c.AddRules), c.DelRules...) {
		told("rule", r.String(), r)
	}
	for _, p := range c.Advertised {
		out = append(out, share{"address", p.String(), protocols[nic.ProtocolAdvertisement]})
	}
	for _, r := range c.AdvertisedRoutes {
		out = append(out, share{"route", r.String(), protocols[nic.ProtocolAdvertisement]})
	}
	for kind, is := range map[string]bool{"name": c.Name != "", "mtu": c.MTU != 0, "up": c.Up || c.Down, "conf": c.Conf != nil || c.Conf6 != nil} {
		if is {
			out = append(out, share{kind: kind})
		}
	}
	return out
}

// authors puts together who changed what. A kind is named as a whole where all of it has one
// author.
func authors(parts []share) string {
	by := map[string]map[string]bool{} // kind -> its authors
	for i := range parts {
		p := &parts[i]
		if p.by == "" {
			p.by = Unknown
		}
		if by[p.kind] == nil {
			by[p.kind] = map[string]bool{}
		}
		by[p.kind][p.by] = true
	}
	of := map[string][]string{} // author -> what
	var order []string
	for _, p := range parts {
		what := p.kind
		if len(by[p.kind]) > 1 {
			what += " " + p.which
		}
		if of[p.by] == nil && p.by != Unknown {
			order = append(order, p.by)
		}
		if !slices.Contains(of[p.by], what) {
			of[p.by] = append(of[p.by], what)
		}
	}
	slices.Sort(of[Unknown])
	switch {
	case len(order) == 0:
		return Unknown
	case len(order) == 1 && of[Unknown] == nil:
		return order[0]
	case of[Unknown] != nil:
		order = append(order, Unknown)
	}
	for i, who := range order {
		order[i] = fmt.Sprintf("%s for %s", who, strings.Join(of[who], ", "))
	}
	return strings.Join(order, "; ")
}

// Repaired says what a repair was about: what differed on the link, and which files.
func Repaired(res apply.Result) (out []string) {
	if !res.Action.Change.Empty() {
		out = Differences(res.Action)
	}
	for _, file := range res.Files {
		out = append(out, "file: "+file+" was not as multinicd wrote it")
	}
	return out
}

// Differences says what a repair was about, as Verify would.
func Differences(a plan.Action) (out []string) {
	after := plan.Owned{}
	if a.After != nil {
		after = *a.After
	}
	for _, m := range plan.Verify(a.NIC, *a.Link, after) {
		out = append(out, m.String())
	}
	if out == nil {
		out = strings.Split(strings.TrimSpace(a.Change.String()), "\n")
	}
	return out
}
