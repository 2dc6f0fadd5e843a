package wire

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"multinicd/nic"
)

const (
	ip6Size = 40

	routerAdvertisement, neighbourSolicitation, neighbourAdvertisement = 134, 135, 136 // types of ICMPv6
	sourceOption, targetOption, prefixOption, mtuOption                = 1, 2, 3, 5
	nonceOption, routeOption, serversOption                            = 14, 24, 25
)

// lifetime is that of all that an advertisement tells, in seconds.
const lifetime = 1800

var allNodes = netip.MustParseAddr("ff02::1")

// Advertisement is a neighbour advertisement to all, which nobody has asked for: who has sent it says that the address is its own, whatever
// others know of it (RFC 4861, 4.4).
func Advertisement(from nic.MAC, address netip.Addr) []byte {
	const override = 0x20
	m := append([]byte{neighbourAdvertisement, 0, 0, 0, override, 0, 0, 0}, address.AsSlice()...)
	m = append(append(m, targetOption, 1), from[:]...)
	return icmp(from, nic.MAC{0x33, 0x33, 5: 1}, address, allNodes, m)
}

// Solicitation asks whether anybody has an address, as who wants to have it itself (RFC 4862, 5.4).
func Solicitation(from nic.MAC, address netip.Addr) []byte {
	a := address.As16()
	group := netip.AddrFrom16([16]byte{0xff, 2, 11: 1, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]})
	m := append([]byte{neighbourSolicitation, 0, 0, 0, 0, 0, 0, 0}, address.AsSlice()...)
	return icmp(from, nic.MAC{0x33, 0x33, 0xff, a[13], a[14], a[15]}, netip.IPv6Unspecified(), group, m)
}

// Router is what a router tells of itself and of its segment (RFC 4861, 4.2). What is zero is not told, except that it is a default router.
type Router struct {
	MAC    nic.MAC
	Prefix netip.Prefix // on the link, and for addresses of the hosts' own making
	MTU    uint32
	Server netip.Addr   // for names (RFC 8106)
	Route  netip.Prefix // it leads to (RFC 4191)
}

// Message is the ICMPv6 message without its checksum, which a kernel fills in.
func (r Router) Message() []byte {
	m := make([]byte, 16)
	m[0], m[4] = routerAdvertisement, 64 // with a hop limit for the hosts
	binary.BigEndian.PutUint16(m[6:], lifetime)
	if r.Prefix.IsValid() {
		m = append(m, prefixOption, 4, byte(r.Prefix.Bits()), 0xc0)
		m = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(m, lifetime), lifetime)
		m = append(append(m, 0, 0, 0, 0), r.Prefix.Masked().Addr().AsSlice()...)
	}
	if r.MTU > 0 {
		m = binary.BigEndian.AppendUint32(append(m, mtuOption, 1, 0, 0), r.MTU)
	}
	if r.Server.IsValid() {
		m = append(binary.BigEndian.AppendUint32(append(m, serversOption, 3, 0, 0), lifetime), r.Server.AsSlice()...)
	}
	if r.Route.IsValid() {
		const high = 1 << 3 // of the preferences
		m = binary.BigEndian.AppendUint32(append(m, routeOption, 3, byte(r.Route.Bits()), high), lifetime)
		m = append(m, r.Route.Masked().Addr().AsSlice()...)
	}
	return append(append(m, sourceOption, 1), r.MAC[:]...)
}

// Frame is the message to all, from a link-local address.
func (r Router) Frame(source netip.Addr) []byte {
	return icmp(r.MAC, nic.MAC{0x33, 0x33, 5: 1}, source, allNodes, r.Message())
}

// icmp is a frame with a message of ICMPv6 that no router can have forwarded.
func icmp(from, to nic.MAC, source, target netip.Addr, message []byte) []byte {
	m := append([]byte(nil), message...)
	binary.BigEndian.PutUint16(m[2:], checksum(source, target, m))
	b := append(ethernet(to, from, unix.ETH_P_IPV6), 0x60, 0, 0, 0, 0, byte(len(m)), unix.IPPROTO_ICMPV6, 255)
	return append(append(append(b, source.AsSlice()...), target.AsSlice()...), m...)
}

// checksum covers addresses, length and protocol too (RFC 8200, 8.1). Messages here have an even number of bytes.
func checksum(source, target netip.Addr, m []byte) uint16 {
	sum := uint32(len(m)) + unix.IPPROTO_ICMPV6
	for _, part := range [][]byte{source.AsSlice(), target.AsSlice(), m} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
