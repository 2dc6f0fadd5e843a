package host

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// solicit asks by IPv6 neighbour discovery (RFC 4861) until the neighbour answers. The kernel puts in source address and checksum.
func solicit(ctx context.Context, index int, mac nic.MAC, target netip.Addr, every time.Duration) error {
	const solicitation, advertisement = 135, 136 // ICMPv6 types
	s, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMPV6)
	if err != nil {
		return fmt.Errorf("opening an ICMPv6 socket: %w", err)
	}
	f := os.NewFile(uintptr(s), "icmpv6")
	defer func() { _ = f.Close() }()
	// A receiver drops what may have come through a router: the hop limit has to be the highest.
	for _, o := range [][2]int{{unix.IPV6_MULTICAST_HOPS, 255}, {unix.IPV6_UNICAST_HOPS, 255}, {unix.IPV6_MULTICAST_IF, index}} {
		if err := unix.SetsockoptInt(s, unix.IPPROTO_IPV6, o[0], o[1]); err != nil {
			return fmt.Errorf("setting up an ICMPv6 socket: %w", err)
		}
	}
	question := append([]byte{solicitation, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...)
	question = append(append(question, 1, 1), mac[:]...) // option 1: source link-layer address, one unit of 8 bytes
	t := target.As16()
	group := &unix.SockaddrInet6{ZoneId: uint32(index), Addr: [16]byte{0xff, 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]}}
	send := func() error { return unix.Sendto(s, question, 0, group) }
	return exchange(ctx, f, every, send, func(b []byte) bool {
		return len(b) >= 24 && b[0] == advertisement && netip.AddrFrom16([16]byte(b[8:24])) == target.WithZone("")
	})
}
