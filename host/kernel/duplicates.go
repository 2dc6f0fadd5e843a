package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"multinicd/host/kernel/socket"

	"golang.org/x/sys/unix"
)

// Duplicates notes, until stop is called, the IPv6 addresses of a link that the kernel's duplicate
// address detection finds in use. found lists them in the order in which they were found, each
// once. An address stays in the list when somebody takes it from the link afterwards, as
// NetworkManager 1.42 does at once. found never waits, and one goroutine at a time calls it. What
// was found before the call of Duplicates is not in the list.
//
// Duplicates listens in the network namespace of the calling thread.
func (k *Kernel) Duplicates(index int) (found func() []netip.Addr, stop func(), err error) {
	s, err := socket.Open(unix.SOCK_NONBLOCK, 1<<(unix.RTNLGRP_IPV6_IFADDR-1), 4<<10)
	if err != nil {
		return nil, nil, fmt.Errorf("listening for duplicate addresses: %w", err)
	}
	// Other links may get hundreds of addresses before found is called. Without CAP_NET_ADMIN the
	// default counts; an event that is lost then leaves what the link itself shows.
	_ = unix.SetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, duplicatesBuffer)
	var out []netip.Addr
	found = func() []netip.Addr {
		for {
			messages, err := s.Receive()
			if err != nil && !errors.Is(err, unix.ENOBUFS) { // there is no more now
				return out
			}
			for _, a := range duplicates(messages, index) {
				if !slices.Contains(out, a) {
					out = append(out, a)
				}
			}
		}
	}
	return found, s.Close, nil
}

// duplicatesBuffer is in bytes of kernel memory, used only while events wait.
const duplicatesBuffer = 1 << 20

// duplicates lists the addresses of a link that events say to be in use. The kernel announces an
// address that stays as new, and one that it deletes itself as deleted.
func duplicates(messages []syscall.NetlinkMessage, index int) (out []netip.Addr) {
	for _, m := range messages {
		if m.Header.Type != unix.RTM_NEWADDR && m.Header.Type != unix.RTM_DELADDR {
			continue
		}
		if i, a, ok := parseAddress(m.Data); ok && i == index && a.Duplicate {
			out = append(out, a.Prefix.Addr())
		}
	}
	return out
}
