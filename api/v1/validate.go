package v1

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Validate reads c once. It returns what c says, and what is wrong with c.
//
// The NICs are in the order of spec.interfaces, one for each entry, but no more than an object may
// have. The Normal of an entry that breaks the rules is only for display.
//
// The errors are those for which the API server would refuse c. They name the same fields, in the
// order of the object's fields. They are nil if c is right. Validate does not ask what only a host
// can know: is the link there, may we touch it.
//
// The markers of the types state the same rules a second time. The tables under testdata check that
// both agree.
func (c *MultiNicNodeConfig) Validate() ([]Normal, FieldErrors) {
	v := validator{index: -1}
	s := &c.Spec
	v.text("spec.providerId", s.ProviderID, maxText)
	switch {
	case s.NodeName == "":
		v.add("spec.nodeName", "nodeName is missing: give the node's name")
	case utf8.RuneCountInString(s.NodeName) > MaxNodeName:
		v.text("spec.nodeName", s.NodeName, MaxNodeName)
	case s.NodeName != c.Name:
		v.add("spec.nodeName", "nodeName must equal metadata.name: the object of a node bears the node's name")
	}
	v.text("spec.instanceId", s.InstanceID, maxText)
	v.text("spec.specHash", s.SpecHash, maxText)
	var nics []reading
	var out []Normal
	for i := range min(len(s.Interfaces), MaxInterfaces) {
		nics = append(nics, s.Interfaces[i].read())
		out = append(out, nics[i].normal())
	}
	if len(s.Interfaces) > MaxInterfaces {
		v.add("spec.interfaces", "there are %d interfaces, at most %d are taken", len(s.Interfaces), MaxInterfaces)
		return out, v.errs
	}
	v.unique(nics)
	for i, n := range nics {
		v.index = i
		v.nic(fmt.Sprintf("spec.interfaces[%d]", i), n)
	}
	return out, v.errs
}

type validator struct {
	errs  FieldErrors
	index int // of the entry that is looked at; -1: the object as a whole
}

func (v *validator) add(field, format string, args ...any) {
	v.errs = append(v.errs, FieldError{Field: field, Message: fmt.Sprintf(format, args...), Index: v.index})
}

// text bounds a string as the schema's maxLength does, in characters.
func (v *validator) text(field, s string, most int) bool {
	n := utf8.RuneCountInString(s)
	if n > most {
		v.add(field, "it has %d characters, at most %d are taken", n, most)
	}
	return n <= most
}

// unique compares all NICs with each other. In such a rule the API server cannot name one NIC, so
// the field does not name one either. The message does.
func (v *validator) unique(nics []reading) {
	macs, ids, addrs := map[string]int{}, map[int32]int{}, map[netip.Addr]int{}
	twice := func(first, second int, what string) {
		v.add("spec.interfaces", "interfaces[%d] and interfaces[%d] both have %s: give each its own", first, second, what)
	}
	for i, n := range nics {
		mac := strings.ToLower(n.MACAddress)
		if first, ok := macs[mac]; ok {
			twice(first, i, "macAddress "+mac)
		} else {
			macs[mac] = i
		}
		if n.named {
			if first, ok := ids[n.id]; ok {
				twice(first, i, fmt.Sprintf("id %d", n.id))
			} else {
				ids[n.id] = i
			}
		}
		for _, a := range n.all() {
			if first, ok := addrs[a]; ok {
				twice(first, i, "address "+a.String())
			} else {
				addrs[a] = i
			}
		}
	}
}

// all are the addresses that can be read, even if the rest of r cannot.
func (r reading) all() []netip.Addr {
	first := r.address
	if r.Address == "" {
		first = r.cidr.Addr()
	}
	out := []netip.Addr{first}
	for _, p := range r.extra {
		out = append(out, p.Addr())
	}
	return slices.DeleteFunc(out, func(a netip.Addr) bool { return !a.IsValid() })
}

func (v *validator) nic(at string, n reading) {
	v.text(at+".portId", n.PortID, maxText)
	v.identity(at, n)
	if v.text(at+".macAddress", n.MACAddress, maxHardware) &&
		(!macForm().MatchString(n.MACAddress) || n.MACAddress == "00:00:00:00:00:00") {
		v.add(at+".macAddress", "macAddress must be the NIC's own address, six hexadecimal bytes with colons, such as 02:00:00:00:01:01")
	}
	v.address(at, n)
	if n.MTU != nil {
		switch {
		case *n.MTU < minMTU || *n.MTU > maxMTU:
			v.add(at+".mtu", "mtu must be %d to %d bytes", minMTU, maxMTU)
		case *n.MTU < minMTUIPv6 && n.speaks(true):
			v.add(at+".mtu", "IPv6 needs an mtu of at least %d", minMTUIPv6)
		}
	}
	if len(n.Addresses) > maxExtra {
		v.add(at+".addresses", "there are %d addresses, at most %d are taken", len(n.Addresses), maxExtra)
	}
	for i, p := range n.extra {
		if !hostPrefix(p) {
			v.add(fmt.Sprintf("%s.addresses[%d]", at, i), "%s", cmp.Or(wrongLength("addresses", n.Addresses[i], 1),
				"an entry of addresses must be host/prefix, such as 192.168.100.11/24"))
		}
	}
	if len(n.Routes) > maxRoutes {
		v.add(at+".routes", "there are %d routes, at most %d are taken", len(n.Routes), maxRoutes)
	}
	for i := range n.Routes {
		v.route(fmt.Sprintf("%s.routes[%d]", at, i), &n.Routes[i], n.routes[i])
	}
	v.routes(at+".routes", n)
	if n.Gateway != "" {
		if !usable(n.gateway) {
			v.add(at+".gateway", "gateway must be an IPv4 or IPv6 address of a host, without prefix length, such as 192.168.100.1")
		} else if !n.speaks(strings.Contains(n.Gateway, ":")) {
			v.add(at+".gateway", "gateway needs an address of its family on this NIC")
		} else if n.has(n.gateway) {
			v.add(at+".gateway", "gateway is this NIC's own address: give the router's")
		}
	}
}

// identity checks id and name.
func (v *validator) identity(at string, n reading) {
	if n.ID == nil && n.Name == "" {
		v.add(at+".id", "id and name are both missing: give id (0 to %d), or name (multinic<id>)", MaxID)
		return
	}
	if n.ID != nil && (*n.ID < 0 || *n.ID > MaxID) {
		v.add(at+".id", "id must be 0 to %d", MaxID)
	}
	if n.Name == "" {
		return
	}
	if !nameForm().MatchString(n.Name) {
		v.add(at+".name", "name must be multinic<id>, id being 0 to %d without leading zeros", MaxID)
	} else if n.ID != nil && n.Name != fmt.Sprintf("%s%d", namePrefix, *n.ID) {
		v.add(at+".name", "name %s and id %d do not agree: correct one of the two, or leave one out", n.Name, *n.ID)
	}
}

// address checks address and cidr, each alone and both together.
func (v *validator) address(at string, n reading) {
	if n.Address == "" && n.CIDR == "" {
		return
	}
	if n.Address != "" && !usable(n.address) {
		v.add(at+".address", "address must be an IPv4 or IPv6 address of a host, without prefix length, such as 192.168.100.10")
	}
	if n.CIDR == "" {
		v.add(at+".cidr", "address has no prefix length: give cidr, such as 192.168.100.10/24")
		return
	}
	if !hostPrefix(n.cidr) {
		v.add(at+".cidr", "%s", cmp.Or(wrongLength("cidr", n.CIDR, 1), "cidr must be host/prefix or network/prefix, such as 192.168.100.10/24"))
		return
	}
	p, a := n.cidr, n.address
	// In the smallest subnets every address is a host's (RFC 3021, RFC 6164).
	small := p.Bits() >= p.Addr().BitLen()-1
	if n.Address == "" {
		if !small && p == p.Masked() {
			v.add(at+".cidr", "cidr is a network and address is missing: give address, or spell cidr host/prefix")
		}
		return
	}
	if !a.IsValid() {
		return
	}
	if p.Addr().Is4() != a.Is4() {
		v.add(at+".cidr", "cidr %s and address %s are not of one family, IPv4 or IPv6", n.CIDR, n.Address)
	} else if !p.Contains(a) || (p.Addr() != a && p != p.Masked()) {
		v.add(at+".cidr", "cidr %s is not the subnet of address %s: with this prefix length it is %s/%d; correct cidr or address", n.CIDR, n.Address, n.Address, p.Bits())
	} else if !small && p.Masked().Addr() == a {
		v.add(at+".address", "address is the address of the network itself: give one of a host")
	}
}

// routes checks the routes of a NIC against its addresses.
func (v *validator) routes(at string, n reading) {
	if slices.ContainsFunc(n.Routes, func(r Route) bool { return strings.Contains(r.To, ":") }) && !n.speaks(true) {
		v.add(at, "an IPv6 route needs an IPv6 address on this NIC: give one in cidr or addresses, or take the route out")
	}
	if slices.ContainsFunc(n.routes, func(r NormalRoute) bool { return n.has(r.Via) }) {
		v.add(at, "via of a route is this NIC's own address: give the router's, or leave via out")
	}
}

// route checks one route. is is r, parsed.
func (v *validator) route(at string, r *Route, is NormalRoute) {
	switch {
	case !is.To.IsValid() || is.To != is.To.Masked():
		v.add(at+".to", "%s", cmp.Or(wrongLength("to", r.To, 0), "to must be network/prefix without host bits, such as 10.20.0.0/16"))
	case is.To.Bits() == 0 && (r.Table == nil || *r.Table == mainTable):
		v.add(at+".to", "a default route in the main table would take the node's own: give table, or use gateway")
	}
	if r.Via != "" {
		if !usable(is.Via) {
			v.add(at+".via", "via must be an IPv4 or IPv6 address of a host, without prefix length, such as 192.168.100.1")
		} else if is.To.IsValid() && strings.Contains(r.Via, ":") != strings.Contains(r.To, ":") {
			v.add(at+".via", "via and to must be of one family, IPv4 or IPv6")
		}
	}
	if r.Metric != nil && (*r.Metric < 0 || *r.Metric > maxMetric) {
		v.add(at+".metric", "metric must be 0 to %d", int64(maxMetric))
	}
	if r.Table != nil && (*r.Table < 1 || *r.Table > maxTable) {
		v.add(at+".table", "table must be 1 to %d", int64(maxTable))
	}
}

// speaks says whether the NIC has an address of the family. It goes by the spelling, as the API
// server's rule does.
func (r reading) speaks(ipv6 bool) bool {
	if r.CIDR != "" && strings.Contains(r.CIDR, ":") == ipv6 {
		return true
	}
	for _, s := range r.Addresses {
		if strings.Contains(s, ":") == ipv6 {
			return true
		}
	}
	return false
}

// has says whether the address is one of the NIC's, whatever its spelling.
func (r reading) has(a netip.Addr) bool { return slices.Contains(r.all(), a) }

// hostPrefix is also false for what could not be parsed.
func hostPrefix(p netip.Prefix) bool { return p.Bits() > 0 && usable(p.Addr()) }

// lengthForm matches a text that looks like an address with a prefix length.
var lengthForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9A-Fa-f:.]+/[1-9][0-9]{1,2}$`) })

// wrongLength says that only the length of a prefix is wrong: it is too large, or smaller than
// least, which is 0 or 1. It is "" if the length is right, or if something else is wrong as well.
func wrongLength(field, s string, least int) string {
	address, _, _ := strings.Cut(s, "/")
	is := "large"
	if p, err := parsePrefix(s); err == nil {
		if p.Bits() >= least {
			return ""
		}
		is = "small"
	} else if _, err := parseAddr(address); err != nil || !lengthForm().MatchString(s) {
		return ""
	}
	return fmt.Sprintf("the prefix length in %s %s is too %s: give %d to 32 for IPv4, %d to 128 for IPv6", field, s, is, least, least)
}

// usable is false for what no NIC can have: unspecified, loopback, multicast and broadcast
// addresses. It is also false for what could not be parsed.
func usable(a netip.Addr) bool { return a.IsGlobalUnicast() || a.IsLinkLocalUnicast() }
