package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"multinicd/host/kernel/socket"
	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// groups are the rtnetlink multicast groups that concern us, each as its bit in a sockaddr_nl
// (netlink(7)). Of the values of nic.Conf the kernel announces only rp_filter, in
// RTNLGRP_IPV4_NETCONF.
const groups = 1<<(unix.RTNLGRP_LINK-1) |
	1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_IFADDR-1) |
	1<<(unix.RTNLGRP_IPV4_ROUTE-1) | 1<<(unix.RTNLGRP_IPV6_ROUTE-1) |
	1<<(unix.RTNLGRP_IPV4_RULE-1) | 1<<(unix.RTNLGRP_IPV6_RULE-1) |
	1<<(unix.RTNLGRP_IPV4_NETCONF-1)

const (
	// Room for the events of some thousand routes that come at once. It is in bytes of kernel
	// memory, used only while events wait.
	eventBuffer = 4 << 20
	// How long to wait until a broken subscription is made anew.
	resubscribe = time.Second
)

// Relevant says whether an event about the link with this ifindex concerns the caller. link says
// that the event is about the link itself (new, gone, renamed, up, carrier) and not about its
// addresses or routes. index is 0 for a rule, and for a route through no link. Relevant is called
// for each event of the whole namespace, so it must be quick.
type Relevant func(index int, link bool) bool

// Events wakes the caller whenever something relevant has changed in the kernel, until ctx is done.
// It wakes by a send on wake that never blocks; wake should have a capacity of 1. Events carry
// nothing: the caller reads everything again.
//
// ready is called once, when the first subscription works. No change after that is missed, so the
// caller's first read must come later. Events subscribes in the network namespace of the calling
// thread. If events were lost, or the socket broke, it subscribes anew and wakes the caller. It
// returns an error if the first subscription fails. After that only ctx ends it, with nil.
func (k *Kernel) Events(ctx context.Context, relevant Relevant, wake chan<- struct{}, ready func()) error {
	s, err := k.subscribe()
	if err != nil {
		return err
	}
	ready()
	for {
		err := k.follow(ctx, s, relevant, wake)
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, unix.ENOBUFS) {
			k.log.Warn("kernel events were cut off", "err", err)
		}
		for {
			if s, err = k.subscribe(); err == nil {
				break
			}
			k.log.Warn("kernel events cannot be had", "err", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(resubscribe):
			}
		}
		nudge(wake)
	}
}

func (k *Kernel) subscribe() (*socket.Socket, error) {
	s, err := socket.Open(unix.SOCK_NONBLOCK, groups, socket.Longest)
	if err != nil {
		return nil, fmt.Errorf("subscribing to kernel events: %w", err)
	}
	// With CAP_NET_ADMIN this may exceed the limit. Without it, net.core.rmem_max counts.
	if unix.SetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBuffer) != nil {
		_ = unix.SetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_RCVBUF, eventBuffer)
	}
	return s, nil
}

// follow reads one subscription until it breaks or ctx is done, and closes it.
func (k *Kernel) follow(ctx context.Context, s *socket.Socket, relevant Relevant, wake chan<- struct{}) error {
	f := os.NewFile(uintptr(s.FD), "kernel events") // which no thread waits for
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	defer func() {
		if stop() {
			_ = f.Close()
		}
	}()
	conn, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("reading kernel events: %w", err)
	}
	var messages []syscall.NetlinkMessage
	var received error
	receive := func(uintptr) (done bool) {
		messages, received = s.Receive()
		return !errors.Is(received, unix.EAGAIN)
	}
	for {
		if err := errors.Join(conn.Read(receive), received); err != nil {
			return err
		}
		concern := false
		for _, m := range messages {
			if concerns(m.Header.Type, m.Data, relevant) {
				k.noteAuthor(m.Header.Type, m.Data, m.Header.Pid)
				concern = true
			}
		}
		if concern {
			nudge(wake)
		}
	}
}

// concerns asks relevant about the links of an event. A multipath route has several.
func concerns(kind uint16, m []byte, relevant Relevant) bool {
	switch kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if len(m) < unix.SizeofIfAddrmsg {
			return false
		}
		// Both structs have the index in the same place.
		return relevant(int(int32(binary.NativeEndian.Uint32(m[4:]))), kind == unix.RTM_NEWLINK || kind == unix.RTM_DELLINK)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		yes := false
		parseRoute(m, func(index int, _ nic.Route) { yes = yes || relevant(index, false) })
		return yes
	case unix.RTM_NEWNETCONF:
		if len(m) < 4 {
			return false
		}
		for kind, v := range attributes(m[4:]) { // struct netconfmsg is one byte, padded
			if kind == netconfIfindex {
				index := int(int32(number(v)))
				return index > 0 && relevant(index, false)
			}
		}
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		return relevant(0, false)
	}
	return false
}

// NETCONFA_IFINDEX, linux/netconf.h; negative numbers mean all links, and the default
const netconfIfindex = 1

func nudge(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
