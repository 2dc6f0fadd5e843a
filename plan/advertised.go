package plan

import (
	"net/netip"
	"slices"

	"multinicd/nic"
)

// What is live is what boots. Our files say that a NIC takes no router advertisements, and has no
// link-local IPv6 address unless an IPv6 address is wanted. So the live change sets the same, and
// takes away what advertisements have brought before.

// minMTU6 is the smallest MTU of a link that has IPv6 (RFC 8200). The kernel forgets the link's
// IPv6 values below this MTU, and begins with its defaults above it.
const minMTU6 = 1280

func wantsIPv6(c nic.Config) bool {
	return slices.ContainsFunc(c.Addresses, func(a netip.Prefix) bool { return a.Addr().Is6() })
}

// noIPv6 refuses IPv6 addresses that the host, or this process, cannot set. Where IPv6 is off on
// one link only, the change switches IPv6 on, as networkd and NetworkManager do at the next boot.
func (p *planner) noIPv6(c nic.Config, l nic.Link) *Refusal {
	i := slices.IndexFunc(c.Addresses, func(a netip.Prefix) bool { return a.Addr().Is6() })
	switch {
	case i < 0:
	// The last part of the condition: somebody may have switched IPv6 on for this link alone.
	case p.view.NoIPv6 != "" && (l.Conf6 == nil || l.Conf6.Off):
		return refuse(NotSupported, "address %s: this host has no IPv6 (%s); take the address out of the object, or switch IPv6 on", c.Addresses[i], p.view.NoIPv6)
	case l.NoIPv6:
		return refuse(NotSupported, "address %s: IPv6 is off on link %s (net.ipv6.conf.%[2]s.disable_ipv6=1), and multinicd cannot write /proc/sys here; take the address out of the object, or switch IPv6 on", c.Addresses[i], l.Name)
	}
	return nil
}

// unadvertised adds to ch what closes a link that is to be as c to router advertisements.
func unadvertised(ch *nic.Change, c nic.Config, was Owned, l nic.Link) {
	ch.Advertised, ch.AdvertisedRoutes = advertised(c, l)
	switch {
	case c.MTU != 0 && c.MTU < minMTU6: // no IPv6 is left
	case l.Conf6 != nil:
		if want := conf6(c, was, *l.Conf6); want != *l.Conf6 {
			had := *l.Conf6
			ch.Conf6, ch.HadConf6 = &want, &had
		}
	case was.Conf6 != nil && l.MTU < minMTU6 && c.MTU >= minMTU6: // the link gets IPv6 with its MTU
		want := conf6(c, was, nic.Conf6{AcceptRA: 1})
		ch.Conf6, ch.HadConf6 = &want, &nic.Conf6{AcceptRA: 1}
	}
}

// conf6 is what a link that has the values l is to have.
func conf6(c nic.Config, was Owned, l nic.Conf6) nic.Conf6 {
	if !wantsIPv6(c) {
		if !l.Off {
			l.AcceptRA, l.AddrGenMode = 0, nic.AddrGenNone
		}
		return l
	}
	l.AcceptRA, l.Off = 0, false
	// Only a mode that we have set is put back: NetworkManager sets the mode on each link, and
	// makes the link-local address itself.
	if was.Applied && !wantsIPv6(was.Config) && was.Conf6 != nil && l.AddrGenMode == nic.AddrGenNone {
		l.AddrGenMode = was.Conf6.AddrGenMode
	}
	return l
}

// keepLinkLocal leaves a link that is up its link-local address, where nothing but IPv6 is to be
// changed. The former agent, or a person, may have configured the NIC just as the object wants it:
// such a NIC is taken over without an event in the kernel. The address goes with the next change of
// the link, or at the next boot.
func keepLinkLocal(ch *nic.Change, l nic.Link) {
	if ch.Conf6 == nil || !l.Up || !OnlyIPv6(*ch) {
		return
	}
	if ch.Conf6.AddrGenMode = ch.HadConf6.AddrGenMode; *ch.Conf6 == *ch.HadConf6 {
		ch.Conf6, ch.HadConf6 = nil, nil
	}
}

// OnlyIPv6 says whether a change does nothing, or nothing but close a link to router
// advertisements.
func OnlyIPv6(ch nic.Change) bool {
	ch.Conf6, ch.HadConf6, ch.Advertised, ch.AdvertisedRoutes = nil, nil, nil, nil
	return ch.Empty()
}

// advertised lists what router advertisements have brought to a link and c does not want:
// addresses, routes by a router, and routes to prefixes that a router says are on the link. The
// kernel makes the last kind of route as it makes the route of an address, but no address of the
// link has the prefix. A prefix longer than /64 may be the peer of an address, and stays.
func advertised(c nic.Config, l nic.Link) (addresses []netip.Prefix, routes []nic.Route) {
	for _, a := range l.Addresses {
		if a.Advertised && !slices.Contains(c.Addresses, a.Prefix) {
			addresses = append(addresses, a.Prefix)
		}
	}
	for _, r := range l.Routes {
		onLink := r.Protocol == nic.ProtocolKernel && r.To.Addr().Is6() && !r.Via.IsValid() && r.Key().Table == nic.TableMain && r.To.Bits() <= 64 &&
			!r.To.Addr().IsLinkLocalUnicast() && !slices.ContainsFunc(l.Addresses, func(a nic.Address) bool { return !a.Advertised && a.Prefix.Masked() == r.To.Masked() })
		if r.Protocol == nic.ProtocolAdvertisement || onLink {
			routes = append(routes, r)
		}
	}
	return addresses, routes
}

// undoConf6 adds to ch what the link had before it was ours, except what somebody has changed
// since.
func undoConf6(ch *nic.Change, was Owned, l nic.Link) {
	if was.Conf6 == nil || l.Conf6 == nil {
		return
	}
	back, had := *l.Conf6, *l.Conf6
	if back.AcceptRA == 0 {
		back.AcceptRA = was.Conf6.AcceptRA
	}
	if back.AddrGenMode == nic.AddrGenNone {
		back.AddrGenMode = was.Conf6.AddrGenMode
	}
	if wantsIPv6(was.Config) {
		back.Off = was.Conf6.Off
	}
	if back != had {
		ch.Conf6, ch.HadConf6 = &back, &had
	}
}

// verifyUnadvertised compares what the link shows with what unadvertised wants.
func verifyUnadvertised(c nic.Config, l nic.Link, o Owned) (out []Mismatch) {
	if l.Conf6 == nil || o.Conf6 == nil {
		return nil
	}
	want := conf6(c, Owned{}, *l.Conf6)
	if l.Up { // see keepLinkLocal
		want.AddrGenMode = l.Conf6.AddrGenMode
	}
	if want != *l.Conf6 {
		out = append(out, Mismatch{Field: "conf", Want: want.String(), Have: l.Conf6.String()})
	}
	addresses, routes := advertised(c, l)
	for _, a := range addresses {
		out = append(out, Mismatch{Field: "address", Want: "absent", Have: a.String() + ", by a router advertisement"})
	}
	for _, r := range routes {
		out = append(out, Mismatch{Field: "route", Want: "absent", Have: r.String() + ", by a router advertisement"})
	}
	return out
}
