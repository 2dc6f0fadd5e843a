package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
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
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return nil, nil, fmt.Errorf("listening for duplicate addresses: %w", err)
	}
	// Other links may get hundreds of addresses before found is called. Without CAP_NET_ADMIN the
	// default counts; an event that is lost then leaves what the link itself shows.
	_ = s.SetReceiveBufferSize(duplicatesBuffer, true)
	room := make([]byte, 4<<10) // an announcement of an address has some hundred bytes
	var out []netip.Addr
	found = func() []netip.Addr {
		for {
			n, from, err := unix.Recvfrom(s.GetFd(), room, unix.MSG_DONTWAIT)
			if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EINTR) {
				continue
			} else if err != nil { // there is no more now
				return out
			}
			if a, ok := from.(*unix.SockaddrNetlink); !ok || a.Pid != nl.PidKernel {
				continue
			}
			for _, a := range duplicates(room[:n], index) {
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

// duplicates lists the addresses of a link that a datagram of events says to be in use. The kernel
// announces an address that stays as new, and one that it deletes itself as deleted.
func duplicates(datagram []byte, index int) (out []netip.Addr) {
	messages, err := syscall.ParseNetlinkMessage(datagram)
	if err != nil {
		return nil
	}
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
