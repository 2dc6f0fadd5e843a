// Package monitor records what happens on a host, from outside: what its kernel announces, what is called on its
// system bus, and which echoes it does not send back.
//
// In goes a way into the host's network namespace, or the host's bus; out come events and calls, in order.
//
// It must not know hosts or networks: testhost makes the monitors, and ends them with the host's world. A monitor
// changes nothing on the host, and starts no process there.
//
// Start reading at NewKernel, NewBus and NewPings.
package monitor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Event is a change that the kernel announced, of a link, an address, a route or a rule.
type Event struct {
	Time time.Time
	// What is "link", "address", "route" or "rule"; Gone tells whether it was removed.
	What string
	Gone bool
	// Link is the name it had by then, empty for rules and for routes without a link.
	Link string
	// Text is the rest, in the words of ip(8), for comparing and for reading.
	Text string
}

func (e Event) String() string {
	verb := "+"
	if e.Gone {
		verb = "-"
	}
	return strings.TrimSpace(verb + e.What + " " + strings.TrimSpace(e.Link+" "+e.Text))
}

// Kernel records what the kernel announces on a host, until that goes off or Stop.
type Kernel struct {
	fd      int
	stop    chan struct{}
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	names  map[int32]string
	events []Event
	err    error
}

// monitorBuffer is large enough for whatever a test does between two looks.
const monitorBuffer = 32 << 20

// NewKernel starts to record. What happens after it has returned is not missed. A function that is given to inside is
// called with its thread in the host's network namespace.
func NewKernel(inside func(func() error) error) (*Kernel, error) {
	m := &Kernel{fd: -1, stop: make(chan struct{}), names: map[int32]string{}}
	err := inside(func() (err error) {
		m.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(m.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, monitorBuffer); err != nil {
			return err
		}
		var groups uint32
		for _, group := range []uint32{
			unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
			unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
		} {
			groups |= 1 << (group - 1)
		}
		return unix.Bind(m.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
	})
	if err != nil {
		return nil, fmt.Errorf("monitoring the kernel: %w", err)
	}
	if err := inside(m.nameLinks); err != nil {
		m.close()
		return nil, fmt.Errorf("monitoring the kernel: %w", err)
	}
	m.running.Go(m.read)
	return m, nil
}

// Events is all that happened up to now, or since Reset, in order.
func (m *Kernel) Events() ([]Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drain()
	return append([]Event(nil), m.events...), m.err
}

// Reset forgets what happened up to now.
func (m *Kernel) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drain()
	m.events = nil
}

// Stop ends the recording; what was recorded stays. It may be called again.
func (m *Kernel) Stop() {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.drain()
	m.closed = true
	close(m.stop)
	m.mu.Unlock()
	m.running.Wait()
	m.close()
}

func (m *Kernel) close() {
	_ = unix.Close(m.fd) // of a socket that only listens
}

// read takes events as they come, so that they carry their time.
func (m *Kernel) read() {
	for {
		select {
		case <-m.stop:
			return
		default:
		}
		// The time-out is for Stop alone.
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(m.fd), Events: unix.POLLIN}}, 50); err != nil || n == 0 {
			continue
		}
		m.mu.Lock()
		m.drain()
		m.mu.Unlock()
	}
}

// drain takes what the socket has. The caller holds the lock.
func (m *Kernel) drain() {
	buffer := make([]byte, 64<<10)
	for !m.closed {
		n, _, err := unix.Recvfrom(m.fd, buffer, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			// ENOBUFS: the record has a hole, so it proves nothing.
			m.err = fmt.Errorf("monitoring the kernel: %w", err)
			return
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			m.err = fmt.Errorf("monitoring the kernel: %w", err)
			return
		}
		for _, message := range messages {
			if event, ok := m.event(message); ok {
				event.Time = time.Now()
				m.events = append(m.events, event)
			}
		}
	}
}

// nameLinks learns the names of the links that are there, for events that have an index only.
func (m *Kernel) nameLinks() error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("opening netlink: %w", err)
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return fmt.Errorf("listing links: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, link := range links {
		m.names[int32(link.Attrs().Index)] = link.Attrs().Name
	}
	return nil
}

func (m *Kernel) event(message syscall.NetlinkMessage) (Event, bool) {
	switch message.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return m.linkEvent(message)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return m.addressEvent(message)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return m.routeEvent(message)
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		return ruleEvent(message)
	}
	return Event{}, false
}

func (m *Kernel) linkEvent(message syscall.NetlinkMessage) (Event, bool) {
	header := unix.NlMsghdr{Len: message.Header.Len, Type: message.Header.Type, Flags: message.Header.Flags, Seq: message.Header.Seq, Pid: message.Header.Pid}
	link, err := netlink.LinkDeserialize(&header, message.Data)
	if err != nil {
		return Event{}, false
	}
	a := link.Attrs()
	text := fmt.Sprintf("mtu %d state %s flags %s", a.MTU, a.OperState, a.Flags)
	if old := m.names[int32(a.Index)]; old != "" && old != a.Name {
		text += " renamed from " + old
	}
	m.names[int32(a.Index)] = a.Name
	return Event{What: "link", Gone: message.Header.Type == unix.RTM_DELLINK, Link: a.Name, Text: text}, true
}

// addressEvent reads a struct ifaddrmsg, see rtnetlink(7): family, prefix length, flags, scope, index.
func (m *Kernel) addressEvent(message syscall.NetlinkMessage) (Event, bool) {
	attrs, ok := attributes(message.Data, unix.SizeofIfAddrmsg)
	if !ok {
		return Event{}, false
	}
	index := int32(binary.NativeEndian.Uint32(message.Data[4:]))
	value := attrs[unix.IFA_LOCAL]
	if value == nil {
		value = attrs[unix.IFA_ADDRESS]
	}
	return Event{What: "address", Gone: message.Header.Type == unix.RTM_DELADDR, Link: m.names[index], Text: prefix(value, message.Data[1])}, true
}

// routeEvent reads a struct rtmsg: family, length of destination and source, tos, table, protocol, scope, type,
// flags.
func (m *Kernel) routeEvent(message syscall.NetlinkMessage) (Event, bool) {
	attrs, ok := attributes(message.Data, unix.SizeofRtMsg)
	if !ok || binary.NativeEndian.Uint32(message.Data[8:])&unix.RTM_F_CLONED != 0 {
		return Event{}, false
	}
	text := "default"
	if attrs[unix.RTA_DST] != nil {
		text = prefix(attrs[unix.RTA_DST], message.Data[1])
	}
	if via, ok := netip.AddrFromSlice(attrs[unix.RTA_GATEWAY]); ok {
		text += " via " + via.String()
	}
	text += fmt.Sprintf(" table %d", number(attrs[unix.RTA_TABLE]))
	if metric := attrs[unix.RTA_PRIORITY]; metric != nil {
		text += fmt.Sprintf(" metric %d", number(metric))
	}
	return Event{What: "route", Gone: message.Header.Type == unix.RTM_DELROUTE, Link: m.names[int32(number(attrs[unix.RTA_OIF]))], Text: text}, true
}

// ruleEvent reads a struct fib_rule_hdr, which begins as rtmsg does.
func ruleEvent(message syscall.NetlinkMessage) (Event, bool) {
	attrs, ok := attributes(message.Data, unix.SizeofRtMsg)
	if !ok {
		return Event{}, false
	}
	from := "all"
	if attrs[unix.FRA_SRC] != nil {
		from = prefix(attrs[unix.FRA_SRC], message.Data[2])
	}
	text := fmt.Sprintf("priority %d from %s", number(attrs[unix.FRA_PRIORITY]), from)
	if attrs[unix.FRA_DST] != nil {
		text += " to " + prefix(attrs[unix.FRA_DST], message.Data[1])
	}
	text += fmt.Sprintf(" lookup %d", number(attrs[unix.FRA_TABLE]))
	return Event{What: "rule", Gone: message.Header.Type == unix.RTM_DELRULE, Text: text}, true
}

// attributes are those after a header of that size.
func attributes(data []byte, header int) (map[uint16][]byte, bool) {
	if len(data) < header {
		return nil, false
	}
	attrs := map[uint16][]byte{}
	for rest := data[header:]; len(rest) >= unix.SizeofRtAttr; {
		length := int(binary.NativeEndian.Uint16(rest))
		if length < unix.SizeofRtAttr || length > len(rest) {
			return nil, false
		}
		attrs[binary.NativeEndian.Uint16(rest[2:])&^unix.NLA_F_NESTED] = rest[unix.SizeofRtAttr:length]
		rest = rest[min((length+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1), len(rest)):]
	}
	return attrs, true
}

func prefix(address []byte, bits byte) string {
	addr, ok := netip.AddrFromSlice(address)
	if !ok {
		return fmt.Sprintf("%x/%d", address, bits)
	}
	return netip.PrefixFrom(addr, int(bits)).String()
}

// number is a 32-bit attribute, 0 if there is none.
func number(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(value)
}
