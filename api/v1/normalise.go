package v1

import (
	"errors"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

const (
	// MaxID is the greatest id of a NIC; the least is 0.
	MaxID = 9999

	namePrefix  = "multinic"
	minMTU      = 68
	minMTUIPv6  = 1280
	maxMTU      = 65535
	maxMetric   = 1<<32 - 1
	maxTable    = 1<<32 - 1
	mainTable   = 254
	maxRoutes   = 16
	maxExtra    = 8
	maxText     = 253
	maxHardware = 17
)

var (
	// macForm: six bytes. The second digit is even, because no NIC has a multicast address as its
	// own.
	macForm  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$`) })
	nameForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^multinic(0|[1-9][0-9]{0,3})$`) })
)

// Normal is an Interface with every string parsed, and with every value filled in that follows from
// another. Where an Interface breaks the rules, the values that cannot be read are zero.
//
// +kubebuilder:object:generate=false
type Normal struct {
	ID         int32
	Name       string // multinic<ID>; empty if neither id nor name gives an id
	MACAddress string // lower case
	// Addresses are host/prefix; the first is the one that address and cidr give. It is empty if
	// the NIC is only to be named and set up. The host part is kept.
	Addresses []netip.Prefix
	MTU       int32 // bytes; 0: leave as it is
	Routes    []NormalRoute
	Gateway   netip.Addr // zero: none
	Adopt     bool
}

// NormalRoute is a Route parsed.
//
// +kubebuilder:object:generate=false
type NormalRoute struct {
	To     netip.Prefix // masked
	Via    netip.Addr   // zero: on the link
	Metric uint32       // 0: the kernel's default
	Table  uint32       // 0: main
}

// reading is an Interface with each of its strings parsed, whether it keeps the rules or not. What
// is absent, or cannot be parsed, is zero.
type reading struct {
	*Interface
	id      int32          // ID, or the id in Name where ID is absent
	named   bool           // ID or Name gives an id
	address netip.Addr     // Address
	cidr    netip.Prefix   // CIDR
	extra   []netip.Prefix // of Addresses, one by one
	routes  []NormalRoute  // of Routes, one by one; To may have host bits
	gateway netip.Addr     // Gateway
}

func (n *Interface) read() reading {
	r := reading{Interface: n}
	if n.ID != nil {
		r.id, r.named = *n.ID, true
	} else if nameForm().MatchString(n.Name) {
		id, err := strconv.ParseInt(strings.TrimPrefix(n.Name, namePrefix), 10, 32)
		r.id, r.named = int32(id), err == nil
	}
	r.address, _ = parseAddr(n.Address)
	r.cidr, _ = parsePrefix(n.CIDR)
	for _, s := range n.Addresses {
		p, _ := parsePrefix(s)
		r.extra = append(r.extra, p)
	}
	for _, from := range n.Routes {
		var to NormalRoute
		to.To, _ = parsePrefix(from.To)
		to.Via, _ = parseAddr(from.Via)
		if from.Metric != nil {
			to.Metric = uint32(*from.Metric)
		}
		if from.Table != nil {
			to.Table = uint32(*from.Table)
		}
		r.routes = append(r.routes, to)
	}
	r.gateway, _ = parseAddr(n.Gateway)
	return r
}

// normal is the Normal of a reading. Values that could not be read are left out.
//
// The first address has the prefix length of cidr, whichever way cidr is spelled. A cidr alone is
// host/prefix, and its host part is the address.
func (r reading) normal() Normal {
	out := Normal{MACAddress: strings.ToLower(r.MACAddress), Gateway: r.gateway, Adopt: r.Adopt}
	if r.named {
		out.ID, out.Name = r.id, namePrefix+strconv.Itoa(int(r.id))
	}
	for _, p := range append([]netip.Prefix{r.primary()}, r.extra...) {
		if p.IsValid() {
			out.Addresses = append(out.Addresses, p)
		}
	}
	if r.MTU != nil {
		out.MTU = *r.MTU
	}
	for _, route := range r.routes {
		if route.To.IsValid() {
			route.To = route.To.Masked()
			out.Routes = append(out.Routes, route)
		}
	}
	return out
}

// primary is the prefix that address and cidr give together; zero if they give none.
func (r reading) primary() netip.Prefix {
	switch {
	case r.Address == "":
		return r.cidr
	case r.cidr.IsValid() && r.address.BitLen() == r.cidr.Addr().BitLen():
		return netip.PrefixFrom(r.address, r.cidr.Bits())
	}
	return netip.Prefix{}
}

var errSpelling = errors.New("not an address")

// parseAddr takes what the API server's CEL function ip() takes: no zone, no IPv4 inside IPv6.
func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return netip.Addr{}, errSpelling
	}
	return a, nil
}

// parsePrefix takes what the API server's CEL function cidr() takes.
func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, errSpelling
	}
	return p, nil
}
