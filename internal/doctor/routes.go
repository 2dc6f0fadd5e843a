package doctor

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"multinicd/docs"
	"multinicd/nic"
	"multinicd/plan"
)

// on is a subnet of a link.
type on struct {
	link   nic.Link
	subnet netip.Prefix
}

// subnets finds subnets of our NICs that overlap with one of another link: of equal ones each NIC of
// ours has a table of its own, but nobody helps where one lies in the other. What routers advertise is
// left out: our NICs do not listen. Of links that are not ours others may want what they have.
func subnets(f Facts) (out []Finding) {
	var all []on
	for _, l := range f.Links {
		for _, a := range l.Addresses {
			s := a.Prefix.Masked()
			known := slices.ContainsFunc(all, func(o on) bool { return o.link.Index == l.Index && o.subnet == s })
			if !known && !a.Advertised && !a.Prefix.IsSingleIP() && !s.Addr().IsLinkLocalUnicast() && !s.Addr().IsLoopback() {
				all = append(all, on{l, s})
			}
		}
	}
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.link.Index == b.link.Index || !a.subnet.Overlaps(b.subnet) || f.owned(a.link) == nil && f.owned(b.link) == nil {
				continue
			}
			one := Finding{ID: "overlapping-subnets", Severity: Warning, Subject: a.link.Name + " " + b.link.Name,
				Evidence: fmt.Sprintf("%s on %s and %s on %s overlap: what is sent to the smaller one leaves by its link alone", a.subnet, a.link.Name, b.subnet, b.link.Name),
				Advice:   "give one of them another subnet"}
			if a.subnet == b.subnet {
				one.Evidence = fmt.Sprintf("%s is on %s and on %s: an answer may leave by the other link", a.subnet, a.link.Name, b.link.Name)
				one.Advice = "where the NICs are multinicd's, leave routing.same_subnet at \"auto\": each gets a table of its own; otherwise give one of them another subnet"
			}
			out = append(out, one)
		}
	}
	return out
}

// overlaps finds routes of others that overlap with a network of a NIC of ours in force, such as those
// of a container network that came later. The guard would refuse the NIC now; in force it stays.
func overlaps(f Facts) (out []Finding) {
	for _, l := range f.nics() {
		own := f.owned(l)
		if own == nil {
			continue
		}
		for _, o := range f.Links {
			if o.Index == l.Index || f.owned(o) != nil {
				continue
			}
			if theirs, ours := overlap(networks(own.Config), o.Routes); theirs != nil {
				out = append(out, Finding{"overlapping-networks", Warning, l.Name + " " + o.Name,
					fmt.Sprintf("%s of %s and the route %s of %s overlap: what is sent to an address in both leaves by the longer prefix alone", ours, l.Name, *theirs, o.Name),
					"where that is a container network (Pods, Services), give this NIC another subnet in the object, or that network another range; until then the NIC stays as it is"})
			}
		}
	}
	return out
}

// networks are what a NIC of ours leads to from main: its subnets and the routes of the object.
func networks(c nic.Config) (out []netip.Prefix) {
	for _, a := range c.Addresses {
		if !a.IsSingleIP() && !a.Addr().IsLinkLocalUnicast() {
			out = append(out, a.Masked())
		}
	}
	for _, r := range c.Routes {
		if r.Key().Table == nic.TableMain && !r.IsDefault() {
			out = append(out, r.To)
		}
	}
	return out
}

// overlap finds the first route that overlaps with one of our networks, and that network. Routes that
// the kernel made go with an address, see subnets. A DHCP client's route to one address leads to a
// router or a name server, and is meant so.
func overlap(ours []netip.Prefix, routes []nic.Route) (*nic.Route, netip.Prefix) {
	for _, r := range routes {
		single := r.To.IsSingleIP() && r.Protocol == nic.ProtocolDHCP
		if r.IsDefault() || r.Key().Table != nic.TableMain || r.Protocol == nic.ProtocolKernel || single || r.To.Addr().IsLinkLocalUnicast() {
			continue
		}
		if i := slices.IndexFunc(ours, r.To.Overlaps); i >= 0 {
			return &r, ours[i]
		}
	}
	return nil, netip.Prefix{}
}

// gateways finds NICs that may be in another network than the object has it: with a trunk port, the
// untagged NIC has the MAC of a VLAN's port, and the address belongs on the VLAN.
func gateways(f Facts) (out []Finding) {
	for _, l := range f.nics() {
		if gateway := f.Silent[l.Index]; gateway != "" && f.owned(l) != nil {
			out = append(out, Finding{"gateway-silent", Warning, l.Name, fmt.Sprintf("its gateway %s does not answer on this link: the NIC may be in another network than its address", gateway),
				"compare the port's network with the object; a subport of a trunk has the MAC of its parent, and is no NIC (" + docs.Page("openstack.md") + ")"})
		}
	}
	return out
}

// inMain says whether a route is a default route of main.
func inMain(r nic.Route) bool { return r.IsDefault() && r.Key().Table == nic.TableMain }

// defaults finds default routes by which the node does not live: the kernel may use one nevertheless.
func defaults(f Facts) (out []Finding) {
	m := plan.View{Links: f.Links, Kinds: f.Kinds, NodeAddrs: f.NodeAddrs, Lifelines: f.Lifelines}
	for _, o := range f.Record.NICs {
		m.Named = append(m.Named, o.MAC) // sorted; more of the object is not known here
	}
	var spare []nic.Link
	counts := ""
	for _, l := range f.Links {
		if !slices.ContainsFunc(l.Routes, inMain) || f.owned(l) != nil {
			continue
		}
		life := plan.Lives(l, m, f.Record)
		switch {
		case life != nil && !life.Silent:
			counts = cmp.Or(counts, l.Name+" "+life.Why)
		case slices.ContainsFunc(f.nics(), func(n nic.Link) bool { return n.Index == l.Index }):
			spare = append(spare, l)
		}
	}
	for _, l := range spare {
		r := l.Routes[slices.IndexFunc(l.Routes, inMain)]
		one := Finding{"spare-default-route", Info, l.Name, "", ""}
		if counts != "" {
			one.Evidence = fmt.Sprintf("%s does not count: %s; once this NIC is in the object, the route goes", r, counts)
		} else {
			one.Evidence = fmt.Sprintf("%s, and others are as good: the kernel uses the one that came first, and nothing says which the node lives by; the one counts whose NIC no object names", r)
		}
		one.Advice = docs.Page("routing.md") + " says which one counts"
		out = append(out, one)
	}
	return out
}
