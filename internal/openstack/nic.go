package openstack

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "multinicd/api/v1"
)

const (
	// more are the addresses and the routes that a NIC may have (api/v1); the first address is
	// beside them.
	moreAddresses, moreRoutes = 8, 16
	// mtuIPv6 is the least MTU that goes with IPv6.
	mtuIPv6, mtuMin, mtuMax = 1280, 68, 65535
)

// metadata is the route that Neutron's DHCP agent adds for the metadata service. It would take the
// node's own way there.
var metadata = netip.MustParsePrefix("169.254.169.254/32")

// unusable says why a port cannot become a NIC as it is.
type unusable struct {
	reason  Reason
	message string
}

// nic is what a port becomes. last is the NIC of the object, nil for none: what Neutron does not say,
// or cannot be read now, stays as it is there.
func (r Rules) nic(p Port, seen Seen, last *v1.Interface) (v1.Interface, *unusable) {
	out := v1.Interface{PortID: p.ID, MACAddress: p.MACAddress}
	if last != nil {
		out = *last.DeepCopy()
		out.PortID, out.MACAddress = p.ID, p.MACAddress
	}
	addresses, no := p.addresses(seen)
	if no != nil {
		return out, no
	}
	if last != nil { // Neutron gives addresses in any order: the first one stays the first
		if i := slices.IndexFunc(addresses, func(a netip.Prefix) bool { return a.Addr() == first(*last) }); i > 0 {
			a := addresses[i]
			addresses = slices.Insert(slices.Delete(addresses, i, i+1), 0, a)
		}
	}
	out.Address, out.CIDR, out.Addresses = addresses[0].Addr().String(), addresses[0].String(), nil
	for _, a := range addresses[1:] {
		out.Addresses = append(out.Addresses, a.String())
	}
	if n, ok := seen.Networks[p.NetworkID]; ok && r.MTU && n.MTU >= mtuMin && n.MTU <= mtuMax && (n.MTU >= mtuIPv6 || !speaks(addresses, false)) {
		out.MTU = new(n.MTU)
	}
	if r.Gateway {
		out.Gateway = p.gateway(seen, addresses)
	}
	if r.HostRoutes {
		out.Routes = p.routes(seen, addresses)
	}
	return out, nil
}

// first is the first address of a NIC; zero if it has none that can be read.
func first(nic v1.Interface) netip.Addr {
	o := v1.MultiNicNodeConfig{Spec: v1.MultiNicNodeConfigSpec{Interfaces: []v1.Interface{nic}}}
	normals, _ := o.Validate()
	if len(normals[0].Addresses) == 0 {
		return netip.Addr{}
	}
	return normals[0].Addresses[0].Addr()
}

// addresses are those of a port, host/prefix, at least one: IPv4 first, then by value.
func (p Port) addresses(seen Seen) ([]netip.Prefix, *unusable) {
	var out []netip.Prefix
	for _, f := range p.FixedIPs {
		subnet, ok := seen.Subnets[f.SubnetID]
		switch {
		case !ok:
			return nil, &unusable{SubnetUnreadable, fmt.Sprintf("subnet %s cannot be read", f.SubnetID)}
		case !subnet.CIDR.Contains(f.Address):
			return nil, &unusable{Malformed, fmt.Sprintf("address %s is not in %s, the subnet that Neutron names", f.Address, subnet.CIDR)}
		}
		out = append(out, netip.PrefixFrom(f.Address, subnet.CIDR.Bits()))
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int {
		if a.Addr().Is4() != b.Addr().Is4() {
			return map[bool]int{true: -1, false: 1}[a.Addr().Is4()]
		}
		return a.Addr().Compare(b.Addr())
	})
	out = slices.Compact(out)
	switch {
	case len(out) == 0:
		return nil, &unusable{NoAddress, "the port has no address"}
	case len(out) > 1+moreAddresses:
		return nil, &unusable{Malformed, fmt.Sprintf("the port has %d addresses, at most %d are taken", len(out), 1+moreAddresses)}
	}
	return out, nil
}

// gateway is that of the subnet of the first address which has one that can be used.
func (p Port) gateway(seen Seen, addresses []netip.Prefix) string {
	for _, a := range addresses {
		for _, f := range p.FixedIPs {
			if g := seen.Subnets[f.SubnetID].Gateway; f.Address == a.Addr() && g.IsValid() && !has(addresses, g) {
				return g.String()
			}
		}
	}
	return ""
}

// routes are the host routes of the port's subnets, sorted. Default routes are not among them, nor
// what no host may take as it is.
func (p Port) routes(seen Seen, addresses []netip.Prefix) []v1.Route {
	var out []v1.Route
	for _, f := range p.FixedIPs {
		for _, h := range seen.Subnets[f.SubnetID].HostRoutes {
			to := h.To.Masked()
			if !to.IsValid() || !h.Via.IsValid() || to.Bits() == 0 || to == metadata || h.Via.Is4() != to.Addr().Is4() || has(addresses, h.Via) || !speaks(addresses, to.Addr().Is4()) {
				continue
			}
			out = append(out, v1.Route{To: to.String(), Via: h.Via.String()})
		}
	}
	slices.SortFunc(out, func(a, b v1.Route) int { return cmp.Or(strings.Compare(a.To, b.To), strings.Compare(a.Via, b.Via)) })
	out = slices.CompactFunc(out, func(a, b v1.Route) bool { return a.To == b.To })
	return out[:min(len(out), moreRoutes)]
}

func has(addresses []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(addresses, func(p netip.Prefix) bool { return p.Addr() == a })
}

// speaks tells whether one of the addresses is of a family.
func speaks(addresses []netip.Prefix, v4 bool) bool {
	return slices.ContainsFunc(addresses, func(p netip.Prefix) bool { return p.Addr().Is4() == v4 })
}
