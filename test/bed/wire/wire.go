// Package wire has the Ethernet frames by which machines on a segment make themselves known: ARP, neighbour
// discovery, router advertisements, with and without VLAN tags, honest and forged.
//
// In go MACs and addresses; out come frames as they are on the wire. Question is the way back: what a frame asks
// for.
//
// The package is pure: it opens no socket and knows no host. Who sends is testhost's router, and the attacker.
//
// Start reading at ARP. icmp.go has what IPv6 needs.
package wire

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"multinicd/nic"
)

// Operations of ARP.
const (
	Request uint16 = 1
	Reply   uint16 = 2
)

// Tags of VLANs, as Tagged takes them.
const (
	VLAN    uint16 = unix.ETH_P_8021Q
	Service uint16 = unix.ETH_P_8021AD // the outer one of two
)

const etherSize = 14

var everyone = nic.MAC{255, 255, 255, 255, 255, 255}

// ARP is a frame to all: who has sent it says that source is its address.
func ARP(operation uint16, from nic.MAC, source, target netip.Addr) []byte {
	b := append(ethernet(everyone, from, unix.ETH_P_ARP), 0, 1, 8, 0, 6, 4)
	b = binary.BigEndian.AppendUint16(b, operation)
	b = append(append(b, from[:]...), source.AsSlice()...)
	return append(append(b, make([]byte, len(from))...), target.AsSlice()...)
}

// To is the frame, sent to one machine alone.
func To(mac nic.MAC, b []byte) []byte { return append(append([]byte(nil), mac[:]...), b[len(mac):]...) }

// Tagged is the frame with VLAN tags, the outer one first: pairs of a protocol and an id.
func Tagged(b []byte, tags ...uint16) []byte {
	const macs = 12
	out := append([]byte(nil), b[:macs]...)
	for _, part := range tags {
		out = binary.BigEndian.AppendUint16(out, part)
	}
	return append(out, b[macs:]...)
}

func ethernet(to, from nic.MAC, protocol uint16) []byte {
	return binary.BigEndian.AppendUint16(append(append([]byte(nil), to[:]...), from[:]...), protocol)
}

// Question is what a machine wants to know of its segment.
type Question struct {
	From   nic.MAC
	Target netip.Addr
	// Probe: whoever asks has no address yet, and wants to have this one.
	Probe bool
	// Kernel: the question has the number by which Linux knows its own duplicate address detection again (RFC 7527).
	Kernel bool
}

// Asked reads an ARP request or a neighbour solicitation. Anything else is none.
func Asked(b []byte) (Question, bool) {
	const arp, solicitation = etherSize + 28, etherSize + ip6Size + 24
	if len(b) < arp {
		return Question{}, false
	}
	q := Question{From: nic.MAC(b[6:12])}
	switch binary.BigEndian.Uint16(b[12:]) {
	case unix.ETH_P_ARP:
		p := b[etherSize:]
		q.Target, q.Probe = netip.AddrFrom4([4]byte(p[24:28])), netip.AddrFrom4([4]byte(p[14:18])).IsUnspecified()
		return q, binary.BigEndian.Uint16(p[6:]) == Request
	case unix.ETH_P_IPV6:
		p := b[etherSize:]
		if len(b) < solicitation || p[6] != unix.IPPROTO_ICMPV6 || p[ip6Size] != neighbourSolicitation {
			return Question{}, false
		}
		q.Target, q.Probe = netip.AddrFrom16([16]byte(p[ip6Size+8:])), netip.AddrFrom16([16]byte(p[8:])).IsUnspecified()
		q.Kernel = len(b) > solicitation && b[solicitation] == nonceOption
		return q, true
	}
	return Question{}, false
}
