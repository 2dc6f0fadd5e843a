package testhost

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"multinicd/test/bed/wire"
)

// RouterAddress is the link-local address of the router that Advertise makes, on whatever segment.
var RouterAddress = netip.MustParseAddr("fe80::bad")

// advertising is the pause between two advertisements. A router in the field takes minutes, and answers who asks.
const advertising = 100 * time.Millisecond

// Advertise puts an IPv6 router on a segment, until the world ends: it advertises itself as the default router, and a /64 that is on the link
// and for addresses of the hosts' own making (SLAAC), ten times a second, to all. The advertisements are those of RFC 4861, section 4.2, without
// any other program: radvd would take a package, and a process to look after.
func (w *World) Advertise(segment string, prefix netip.Prefix) error {
	if prefix.Bits() != 64 {
		return fmt.Errorf("advertising %s: hosts make addresses in a /64 only", prefix)
	}
	if err := w.AddAddress(segment, netip.PrefixFrom(RouterAddress, 64)); err != nil {
		return err
	}
	bridge, err := w.segment(segment)
	if err != nil {
		return err
	}
	fd := -1
	err = w.Inside(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		return err
	})
	if err != nil {
		return fmt.Errorf("opening a socket for a router on segment %s: %w", segment, err)
	}
	index := bridge.Attrs().Index
	// A host takes no advertisement that a router may have forwarded: it has to come with a hop limit of 255, from a link-local address.
	for option, value := range map[int]int{unix.IPV6_MULTICAST_HOPS: 255, unix.IPV6_MULTICAST_IF: index} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, option, value); err != nil {
			_ = unix.Close(fd)
			return fmt.Errorf("making a router on segment %s: %w", segment, err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: RouterAddress.As16(), ZoneId: uint32(index)}); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("giving a router its address on segment %s: %w", segment, err)
	}
	message := wire.Router{MAC: [6]byte(bridge.Attrs().HardwareAddr), Prefix: prefix}.Message()
	all := &unix.SockaddrInet6{Addr: netip.MustParseAddr("ff02::1").As16(), ZoneId: uint32(index)}
	if err := unix.Sendto(fd, message, 0, all); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("advertising %s on segment %s: %w", prefix, segment, err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	w.box.OnClose(func() { close(stop); <-done })
	go func() {
		defer close(done)
		defer func() { _ = unix.Close(fd) }()
		tick := time.NewTicker(advertising)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				// An error is that of a segment without a port, or that is going: the next one may go out.
				_ = unix.Sendto(fd, message, 0, all)
			}
		}
	}()
	return nil
}
