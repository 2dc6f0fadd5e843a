package plan

import (
	"fmt"
	"slices"

	"multinicd/nic"
)

// foreign refuses a link that somebody else's configuration holds. What a machine wrote, and a
// lease, give way by themselves, unless the host forbids that. What a person wrote gives way only
// to an object that says adopt, on a host that allows it. The same holds for a link on which other
// links lie.
func (p *planner) foreign(c nic.Config, l nic.Link, o Owned, known bool) *Refusal {
	if known && o.Applied || c.Adopt && !p.view.NoAdopt {
		return nil
	}
	way := p.wayOut()
	switch claim := l.Claim; {
	case claim == nil:
	case !claim.Machine:
		return refuse(ForeignConfig, "link %s is configured by %s: %s; remove that%s", l.Name, claim.Owner, claim.Evidence, way)
	case p.view.NoTakeOver:
		return refuse(ForeignConfig, "link %s is configured by %s: %s, and [links] take_over is \"none\"; remove that%s", l.Name, claim.Owner, claim.Evidence, way)
	}
	if len(l.Former) > 0 {
		return nil // it did what we do now, for the same NICs
	}
	if on := lying(l, p.view.Links); len(on) > 0 {
		return refuse(ForeignConfig, "link %s carries link %s, which lies on it and would change with it; take that off the link%s", l.Name, on[0].Name, way)
	}
	if l.Claim != nil {
		return nil // which also explains the addresses
	}
	for _, a := range l.Addresses {
		switch {
		case !global(a) || o.retired(a.Prefix) || slices.Contains(c.Addresses, a.Prefix):
		case a.Permanent:
			return refuse(ForeignConfig, "link %s already has address %s, which no file explains: a person has set it by hand; remove it%s", l.Name, a.Prefix, way)
		case p.view.NoTakeOver:
			return refuse(ForeignConfig, "link %s already has address %s, a lease, and [links] take_over is \"none\"; remove it%s", l.Name, a.Prefix, way)
		}
	}
	if r, ok := byHand(l); ok && !serves(c, r) {
		return refuse(ForeignConfig, "link %s already has route %s, which no file and no lease explains: a person has set it by hand; remove it%s", l.Name, r, way)
	}
	return nil
}

// byHand finds a default route that a person has set. On a link with a lease the DHCP client may
// have made the route, since some clients call ip(8) for that.
func byHand(l nic.Link) (nic.Route, bool) {
	if slices.ContainsFunc(l.Addresses, func(a nic.Address) bool { return global(a) && !a.Permanent }) {
		return nic.Route{}, false
	}
	i := slices.IndexFunc(l.Routes, func(r nic.Route) bool {
		return r.IsDefault() && configured(r) && r.Protocol != nic.ProtocolDHCP && !nic.OwnTable(r.Table)
	})
	if i < 0 {
		return nic.Route{}, false
	}
	return l.Routes[i], true
}

// wayOut is the other way out of a refusal, as the end of the sentence that names the first.
func (p *planner) wayOut() string {
	if p.view.NoAdopt {
		return "; no object may take it over, since [links] adopt is false in multinicd.toml"
	}
	return ", or set adopt: true to take it over"
}

// global says whether somebody configured the address, by hand, in a file, or by DHCP.
func global(a nic.Address) bool { return !a.Prefix.Addr().IsLinkLocalUnicast() && !a.Advertised }

// leased lists what a DHCP client has brought to a link and c does not want: addresses with a
// lifetime, and routes. A program that reads router advertisements in place of the kernel counts as
// such a client. On a NIC of ours nobody is meant to do that.
func leased(c nic.Config, l nic.Link) (addresses []nic.Address, routes []nic.Route) {
	for _, a := range l.Addresses {
		if global(a) && !a.Permanent && !slices.Contains(c.Addresses, a.Prefix) {
			addresses = append(addresses, a)
		}
	}
	for _, r := range l.Routes {
		if r.Protocol == nic.ProtocolDHCP && !serves(c, r) {
			routes = append(routes, r)
		}
	}
	return addresses, routes
}

// former is what a link has of a configuration that c takes over.
func former(c nic.Config, l nic.Link) (gone []Retired) {
	for _, a := range l.Addresses {
		if global(a) && !slices.Contains(c.Addresses, a.Prefix) {
			gone = append(gone, Retired{Address: a.Prefix})
		}
	}
	for _, r := range l.Routes {
		if configured(r) && !serves(c, r) {
			r.Protocol = 0
			gone = append(gone, Retired{Route: &r})
		}
	}
	return gone
}

// formerly lists the rules that lead traffic from the link's own addresses into a table that c does
// not want. A rule belongs to no link, but nobody else can need one for such an address.
func formerly(c nic.Config, l nic.Link) (gone []Retired) {
	for _, r := range l.Rules {
		r = r.Key()
		if !r.Other && r.From.IsSingleIP() && l.Holds(r.From.Addr()) && !slices.Contains(c.Rules, r) {
			gone = append(gone, Retired{Rule: &r})
		}
	}
	return gone
}

// takesOver says whose configuration of the link c takes over, and how we know; "" where there is
// none.
func takesOver(c nic.Config, l nic.Link, o Owned) string {
	if o.Applied {
		return ""
	}
	if l.Claim != nil {
		return fmt.Sprintf("taken over from %s: %s", l.Claim.Owner, l.Claim.Evidence)
	}
	for _, a := range l.Addresses {
		if wanted := slices.Contains(c.Addresses, a.Prefix); global(a) && !o.retired(a.Prefix) && (!wanted || !a.Permanent) && len(l.Former) == 0 {
			if a.Permanent {
				return fmt.Sprintf("taken over with address %s, which a person had set by hand", a.Prefix)
			}
			return fmt.Sprintf("taken over with address %s, which somebody had leased", a.Prefix)
		}
	}
	if r, ok := byHand(l); ok && !serves(c, r) && len(l.Former) == 0 {
		return fmt.Sprintf("taken over with route %s, which a person had set by hand", r)
	}
	return ""
}
