package neighbour

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"time"

	"multinicd/nic"

	"golang.org/x/sys/unix"
)

const (
	icmpSolicitation, icmpAdvertisement = 135, 136 // ICMPv6 types
	etherSize, ip6Size                  = 14, 40   // headers
)

// groupOf is the solicited-node group of an address. groupMAC is the MAC of a group.
func groupOf(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0xff, 2, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

func groupMAC(group netip.Addr) nic.MAC {
	b := group.As16()
	return nic.MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// solicitation asks as the kernel's own duplicate address detection does: from no address, at
// intervals of every, until somebody answers or asks the same question for himself (RFC 4862, 5.4).
// The kernel would put a source address into our question, so we send the frame.
func solicitation(ctx context.Context, l nic.Link, target netip.Addr, every time.Duration) (nic.MAC, error) {
	f, s, err := packetSocket(unix.SOCK_RAW, unix.ETH_P_IPV6, l.Index, []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: etherSize + 6}, // next header
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_ICMPV6, Jf: 4},
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: etherSize + ip6Size},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: icmpSolicitation, Jt: 1},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: icmpAdvertisement, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1500},
		{Code: unix.BPF_RET | unix.BPF_K},
	}...)
	if err != nil {
		return nic.MAC{}, err
	}
	defer func() { _ = f.Close() }()
	// Answers go to all nodes, and the questions of others go to the group. The card has to let
	// both through.
	group := groupOf(target)
	for _, g := range []netip.Addr{group, netip.IPv6LinkLocalAllNodes()} {
		mac := groupMAC(g)
		m := unix.PacketMreq{Ifindex: int32(l.Index), Type: unix.PACKET_MR_MULTICAST, Alen: uint16(len(mac))}
		copy(m.Address[:], mac[:])
		if err := unix.SetsockoptPacketMreq(s, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
			return nic.MAC{}, fmt.Errorf("joining %s: %w", g, err)
		}
	}
	to := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IPV6), Ifindex: l.Index, Halen: 6}
	question := solicitationFrame(l.MAC, target)
	var holder nic.MAC
	err = exchange(ctx, f, every, func() error { return unix.Sendto(s, question, 0, to) }, func(frame []byte) bool {
		var yes bool
		holder, yes = claimsAddress6(frame, l.MAC, target)
		return yes
	})
	return holder, err
}

// solicitationFrame is an Ethernet frame with a neighbour solicitation for an address, from no
// address.
func solicitationFrame(from nic.MAC, target netip.Addr) []byte {
	group := groupOf(target)
	mac := groupMAC(group)
	message := append([]byte{icmpSolicitation, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...)
	// The checksum also covers a pseudo header (RFC 8200, 8.1): addresses, length, and the
	// protocol.
	sum := uint32(len(message)) + unix.IPPROTO_ICMPV6
	for _, part := range [][]byte{group.AsSlice(), message} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(message[2:], ^uint16(sum>>16+sum))
	frame := append(append(mac[:], from[:]...), 0x86, 0xdd)
	frame = append(frame, 0x60, 0, 0, 0, 0, byte(len(message)), unix.IPPROTO_ICMPV6, 255)
	frame = append(append(frame, make([]byte, 16)...), group.AsSlice()...)
	return append(frame, message...)
}

// claimsAddress6 says whether a frame of IPv6 shows that somebody with another MAC has the address,
// or is about to take it.
func claimsAddress6(b []byte, mac nic.MAC, a netip.Addr) (nic.MAC, bool) {
	const target = etherSize + ip6Size + 8
	if len(b) < target+16 || b[etherSize+6] != unix.IPPROTO_ICMPV6 || b[etherSize+7] != 255 || netip.AddrFrom16([16]byte(b[target:])) != a {
		return nic.MAC{}, false
	}
	sender, source, kind := nic.MAC(b[6:12]), netip.AddrFrom16([16]byte(b[etherSize+8:])), b[etherSize+ip6Size]
	return sender, sender != mac && (kind == icmpAdvertisement || kind == icmpSolicitation && source.IsUnspecified())
}

// solicit asks by IPv6 neighbour discovery (RFC 4861) until the neighbour answers. The kernel adds
// the source address and the checksum.
func solicit(ctx context.Context, index int, mac nic.MAC, target netip.Addr, every time.Duration) error {
	s, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMPV6)
	if err != nil {
		return fmt.Errorf("opening an ICMPv6 socket: %w", err)
	}
	f := os.NewFile(uintptr(s), "icmpv6")
	defer func() { _ = f.Close() }()
	// A receiver drops a question that may have come through a router. So the hop limit has to be
	// the highest.
	for _, o := range [][2]int{{unix.IPV6_MULTICAST_HOPS, 255}, {unix.IPV6_UNICAST_HOPS, 255}, {unix.IPV6_MULTICAST_IF, index}} {
		if err := unix.SetsockoptInt(s, unix.IPPROTO_IPV6, o[0], o[1]); err != nil {
			return fmt.Errorf("setting up an ICMPv6 socket: %w", err)
		}
	}
	question := append([]byte{icmpSolicitation, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...)
	// option 1: source link-layer address, one unit of 8 bytes
	question = append(append(question, 1, 1), mac[:]...)
	group := &unix.SockaddrInet6{ZoneId: uint32(index), Addr: groupOf(target).As16()}
	send := func() error { return unix.Sendto(s, question, 0, group) }
	return exchange(ctx, f, every, send, func(b []byte) bool {
		return len(b) >= 24 && b[0] == icmpAdvertisement && netip.AddrFrom16([16]byte(b[8:24])) == target.WithZone("")
	})
}
