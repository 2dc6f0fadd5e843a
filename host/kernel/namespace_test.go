package kernel

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"multinicd/host"
	"multinicd/internal/hosttest"
	"multinicd/nic"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace of the test's own, with a Kernel in it that has the files of a temporary folder.
type namespace struct {
	*Kernel
	*netlink.Handle
	t       testing.TB
	run     chan func()
	monitor *nl.NetlinkSocket
}

// newNamespace makes one; it is gone when the test ends.
func newNamespace(t testing.TB) *namespace {
	t.Helper()
	hosttest.NeedRoot(t, "to make a network namespace")
	n := &namespace{t: t, run: make(chan func())}
	fail := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread, and its namespace, end with this goroutine
		fail <- n.enter(t.TempDir())
		for f := range n.run {
			f()
		}
	}()
	if err := <-fail; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(n.run)
		n.Kernel.Close()
		n.Handle.Close()
		n.monitor.Close()
	})
	return n
}

func (n *namespace) enter(root string) (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if n.Kernel, err = New(&host.Host{Root: root}, slog.New(slog.NewTextHandler(n.t.Output(), nil))); err != nil {
		return err
	}
	if n.Handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	var all []uint
	for g := range uint(32) {
		if groups&(1<<g) != 0 {
			all = append(all, g+1)
		}
	}
	n.monitor, err = nl.Subscribe(unix.NETLINK_ROUTE, all...)
	return err
}

// in runs f on a thread inside of the namespace.
func (n *namespace) in(f func()) {
	done := make(chan struct{})
	n.run <- func() { f(); close(done) }
	<-done
}

// sysctl sets a value under /proc/sys of the namespace.
func (n *namespace) sysctl(key, value string) {
	n.t.Helper()
	var err error
	n.in(func() { err = os.WriteFile("/proc/sys/"+key, []byte(value), 0o644) })
	n.ok(err)
}

// veth adds a pair, the peer named name+"p" and up, and gives the first link.
func (n *namespace) veth(name, mac string) nic.Link {
	n.t.Helper()
	hw, err := net.ParseMAC(mac)
	n.ok(err)
	n.ok(n.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, HardwareAddr: hw}, PeerName: name + "p"}))
	peer := n.link(name + "p")
	n.ok(n.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: peer.Index}}))
	return n.link(name)
}

// link reads a link by name.
func (n *namespace) link(name string) nic.Link {
	n.t.Helper()
	links, err := n.Links(n.t.Context())
	n.ok(err)
	i := slices.IndexFunc(links, func(l nic.Link) bool { return l.Name == name })
	if i < 0 {
		n.t.Fatalf("there is no link %s in %v", name, links)
	}
	return links[i]
}

// quick makes a link whose IPv6 addresses need no duplicate address detection.
func (n *namespace) quick(name string) { n.sysctl("net/ipv6/conf/"+name+"/accept_dad", "0") }

func (n *namespace) ok(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// change makes a change that the guard allows.
func (n *namespace) change(c nic.Change) {
	n.t.Helper()
	n.ok(n.Writer(func(nic.Link, []nic.Link) error { return nil }).Change(n.t.Context(), c))
}

// undo takes a change back, the name last, as the steps of plan.Live are undone: kernels before 6.2
// rename no link that is up.
func (n *namespace) undo(c nic.Change) {
	n.t.Helper()
	back := c.Inverse()
	name := nic.Change{Index: c.Index, MAC: c.MAC, Had: back.Had, Name: back.Name}
	back.Name = ""
	n.change(back)
	n.change(name)
}

// route adds somebody else's route.
func (n *namespace) route(index int, to, via string, table, protocol int) {
	n.t.Helper()
	p := netip.MustParsePrefix(to)
	r := &netlink.Route{LinkIndex: index, Table: table, Protocol: netlink.RouteProtocol(protocol),
		Dst: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if via != "" {
		r.Gw = net.ParseIP(via)
	} else {
		r.Scope = netlink.SCOPE_LINK
	}
	n.ok(n.RouteAdd(r))
}

// events gives what the kernel has announced since the last call, without what comes on its own (neighbours).
func (n *namespace) events() []string {
	n.t.Helper()
	// An event of the test's own marks the end: what happened before is announced before it.
	mark := netip.MustParseAddr("127.9.9.9")
	ip := &net.IPNet{IP: mark.AsSlice(), Mask: net.CIDRMask(32, 32)}
	n.ok(n.AddrAdd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}}, &netlink.Addr{IPNet: ip}))
	n.ok(n.AddrDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}}, &netlink.Addr{IPNet: ip}))
	tv := unix.NsecToTimeval(int64(10 * time.Second))
	n.ok(n.monitor.SetReceiveTimeout(&tv))
	var out []string
	for {
		messages, _, err := n.monitor.Receive()
		n.ok(err)
		for _, m := range messages {
			s := describe(m.Header.Type, m.Data)
			if strings.Contains(s, mark.String()) {
				if m.Header.Type == unix.RTM_DELADDR {
					return out
				}
				continue
			}
			out = append(out, s)
		}
	}
}

// quiet waits until the kernel has said all that it has to say of what was done before: carrier and IPv6 come later.
func (n *namespace) quiet() {
	n.t.Helper()
	still := 0
	eventually(n.t, "silence", func() bool {
		if still++; len(n.events()) > 0 {
			still = 0
		}
		return still == 20
	})
}

func describe(kind uint16, m []byte) string {
	index := func() uint32 { return binary.NativeEndian.Uint32(m[4:]) }
	switch kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return fmt.Sprintf("link %d %s", index(), sign(kind == unix.RTM_NEWLINK))
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		_, a, _ := parseAddress(m)
		return fmt.Sprintf("address %d %s%s", index(), sign(kind == unix.RTM_NEWADDR), a.Prefix)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		for kind, v := range attributes(m[unix.SizeofRtMsg:]) {
			if kind == unix.RTA_DST {
				a, _ := netip.AddrFromSlice(v)
				return fmt.Sprintf("route %s/%d", a, m[1])
			}
		}
		return "route default"
	}
	if r, ok := parseRule(m); ok && (kind == unix.RTM_NEWRULE || kind == unix.RTM_DELRULE) {
		return fmt.Sprintf("rule %s%d", sign(kind == unix.RTM_NEWRULE), r.Priority)
	}
	return fmt.Sprintf("event %d", kind)
}

func sign(add bool) string {
	if add {
		return "+"
	}
	return "-"
}

// eventually looks until the condition holds, 10 s at most.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s did not come", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func prefixes(ss ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// addresses gives the prefixes that a link has, without IPv6 link-local ones, sorted.
func addresses(l nic.Link) []string {
	var out []string
	for _, a := range l.Addresses {
		if !a.Prefix.Addr().IsLinkLocalUnicast() {
			out = append(out, a.Prefix.String())
		}
	}
	slices.Sort(out)
	return out
}

// routes gives the routes that a link has, but the kernel's own, sorted.
func routes(l nic.Link) []string {
	var out []string
	for _, r := range l.Routes {
		if r.Protocol != unix.RTPROT_KERNEL {
			out = append(out, fmt.Sprintf("%s proto %d", r, r.Protocol))
		}
	}
	slices.Sort(out)
	return out
}
