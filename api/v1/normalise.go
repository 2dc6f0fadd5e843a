package v1

import (
	"errors"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
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
	// macForm: six bytes; the second digit even, for a multicast address is no
	// NIC's own.
	macForm  = regexp.MustCompile(`^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$`)
	nameForm = regexp.MustCompile(`^multinic(0|[1-9][0-9]{0,3})$`)
)

// Normal is an Interface with everything that follows from something else
// filled in and every string parsed.
//
// +kubebuilder:object:generate=false
type Normal struct {
	ID         int32
	Name       string // multinic<ID>
	MACAddress string // lower case
	// Addresses are host/prefix, first the one of address and cidr; empty where
	// the NIC shall only be named and up. The host part is kept.
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

// Normalise reads an Interface that passes Validate; of one that does not, it
// leaves zero what cannot be read.
//
// An address stands with the prefix length of cidr, whichever way that is
// spelled. A cidr alone is host/prefix and is the address.
func (n Interface) Normalise() Normal {
	out := Normal{MACAddress: strings.ToLower(n.MACAddress), Adopt: n.Adopt}
	if id, ok := n.EffectiveID(); ok {
		out.ID, out.Name = id, namePrefix+strconv.Itoa(int(id))
	}
	if p, ok := n.primary(); ok {
		out.Addresses = append(out.Addresses, p)
	}
	for _, s := range n.Addresses {
		if p, err := parsePrefix(s); err == nil {
			out.Addresses = append(out.Addresses, p)
		}
	}
	if n.MTU != nil {
		out.MTU = *n.MTU
	}
	for _, r := range n.Routes {
		to, err := parsePrefix(r.To)
		if err != nil {
			continue
		}
		nr := NormalRoute{To: to.Masked()}
		nr.Via, _ = parseAddr(r.Via)
		if r.Metric != nil {
			nr.Metric = uint32(*r.Metric)
		}
		if r.Table != nil {
			nr.Table = uint32(*r.Table)
		}
		out.Routes = append(out.Routes, nr)
	}
	out.Gateway, _ = parseAddr(n.Gateway)
	return out
}

// EffectiveID is id, or where that is absent what name says; false where
// neither says it.
func (n Interface) EffectiveID() (int32, bool) {
	if n.ID != nil {
		return *n.ID, true
	}
	if !nameForm.MatchString(n.Name) {
		return 0, false
	}
	id, err := strconv.ParseInt(strings.TrimPrefix(n.Name, namePrefix), 10, 32)
	return int32(id), err == nil
}

// primary is the prefix that address and cidr say together.
func (n Interface) primary() (netip.Prefix, bool) {
	if n.CIDR == "" {
		return netip.Prefix{}, false
	}
	p, err := parsePrefix(n.CIDR)
	if err != nil {
		return netip.Prefix{}, false
	}
	if n.Address == "" {
		return p, true
	}
	a, err := parseAddr(n.Address)
	if err != nil || a.BitLen() != p.Addr().BitLen() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, p.Bits()), true
}

var errSpelling = errors.New("not an address")

// parseAddr takes what the API server's CEL function ip() takes: no zone, no
// IPv4 inside IPv6.
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
