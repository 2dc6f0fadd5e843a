package kernel

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"multinicd/host"
	"multinicd/host/neighbour"
	"multinicd/nic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// pair is a link and its peer, which is in a namespace of its own: two machines.
func pair(t *testing.T) (n *namespace, l nic.Link, other *namespace, peer nic.Link) {
	t.Helper()
	n = newNamespace(t)
	l = n.veth("eth1", testMAC)
	n.quick("eth1")
	other = newNamespace(t)
	other.in(func() {
		ns, err := os.Open("/proc/thread-self/ns/net")
		other.ok(err)
		other.ok(n.LinkSetNsFd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: n.link("eth1p").Index}}, int(ns.Fd())))
		other.ok(ns.Close())
	})
	other.quick("eth1p")
	peer = other.link("eth1p")
	other.change(nic.Change{Index: peer.Index, MAC: peer.MAC, Up: true, Add: prefixes("192.0.2.1/24", "2001:db8::1/64")})
	return n, l, other, peer
}

func TestProbeAddress(t *testing.T) {
	n, l, other, p := pair(t)
	probe := func(a string, wait time.Duration) (holder nic.MAC, inUse bool, err error) {
		n.in(func() { holder, inUse, err = n.ProbeAddress(t.Context(), l.Index, netip.MustParseAddr(a), wait) })
		return holder, inUse, err
	}
	if _, _, err := probe("192.0.2.1", time.Second); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("a link that is down: got %v, want ENETDOWN", err)
	}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true})
	if holder, inUse, err := probe("192.0.2.1", 10*time.Second); !inUse || holder != p.MAC || err != nil {
		t.Errorf("an address in use: got %v, %s, %v", inUse, holder, err)
	}
	// A link that was just set up has its carrier in a while: who was asked before would be asked in vain.
	other.sysctl("net/ipv6/conf/eth1p/keep_addr_on_down", "1")
	for _, a := range []string{"192.0.2.1", "2001:db8::1"} {
		other.ok(other.LinkSetDown(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: p.Index}}))
		plugged := make(chan error)
		go func() {
			time.Sleep(500 * time.Millisecond) // nothing tells when it has begun to wait
			plugged <- other.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: p.Index}})
		}()
		holder, inUse, err := probe(a, 200*time.Millisecond)
		other.ok(<-plugged)
		if !inUse || holder != p.MAC || err != nil {
			t.Errorf("%s, with a carrier that comes late: got %v, %s, %v", a, inUse, holder, err)
		}
	}
	begin := time.Now()
	if holder, inUse, err := probe("192.0.2.2", 200*time.Millisecond); inUse || err != nil {
		t.Errorf("a free address: got %v, %s, %v", inUse, holder, err)
	}
	if took := time.Since(begin); took < 200*time.Millisecond || took > 5*time.Second {
		t.Errorf("it waited for %s", took)
	}
	if holder, inUse, err := probe("2001:db8::1", 10*time.Second); !inUse || holder != p.MAC || err != nil {
		t.Errorf("an IPv6 address in use: got %v, %s, %v", inUse, holder, err)
	}
	if holder, inUse, err := probe("2001:db8::2", 200*time.Millisecond); inUse || err != nil {
		t.Errorf("a free IPv6 address: got %v, %s, %v", inUse, holder, err)
	}
}

func TestNeighbour(t *testing.T) {
	n, l, _, _ := pair(t)
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24", "2001:db8::10/64")})
	for _, test := range []struct {
		address string
		want    error
	}{
		{"192.0.2.1", nil}, {"192.0.2.2", neighbour.ErrSilent}, {"2001:db8::1", nil}, {"2001:db8::2", neighbour.ErrSilent},
	} {
		wait := 10 * time.Second
		if test.want != nil {
			wait = 300 * time.Millisecond
		}
		var err error
		for {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			n.in(func() { err = n.Neighbour(ctx, l.Index, netip.MustParseAddr(test.address)) })
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, neighbour.ErrSilent) {
				break
			}
			wait *= 2 // the machine was too busy to ask at all
		}
		if !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.address, err, test.want)
		}
	}
}

// What the kernel would never send must not crash the readers either.
func FuzzMessages(f *testing.F) {
	f.Add(make([]byte, 32))
	f.Fuzz(func(_ *testing.T, m []byte) {
		k := &Kernel{host: &host.Host{Root: "/nonexistent"}}
		k.parseLink(m)
		parseAddress(m)
		parseRule(m)
		parseRoute(m, func(int, nic.Route) {})
		if len(m) >= unix.SizeofRtMsg {
			routeAgain(m)
		}
		for _, kind := range []uint16{unix.RTM_NEWLINK, unix.RTM_NEWADDR, unix.RTM_DELROUTE, unix.RTM_NEWRULE} {
			concerns(kind, m, func(int, bool) bool { return false })
		}
		handled(m, 3, "multinic1")
	})
}

// A claim in another VLAN on the same cable is about another network. The kernel takes the tag off
// the frame before a socket for ARP, or for IPv6, has the frame.
func TestWhoClaimsAnAddressInAnotherVLANIsNoNeighbour(t *testing.T) {
	n, l, other, p := pair(t)
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true})
	all := []byte{0x33, 0x33, 0, 0, 0, 1}
	for _, a := range []netip.Addr{netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("2001:db8::77")} {
		protocol, claim := []byte{8, 6}, slices.Concat([]byte{0, 1, 8, 0, 6, 4, 0, 2}, p.MAC[:], a.AsSlice(), make([]byte, 6), a.AsSlice())
		if a.Is6() {
			protocol = []byte{0x86, 0xdd}
			claim = slices.Concat([]byte{0x60, 0, 0, 0, 0, 24, unix.IPPROTO_ICMPV6, 255}, a.AsSlice(), netip.IPv6LinkLocalAllNodes().AsSlice(), []byte{136, 0, 0, 0, 0x20, 0, 0, 0}, a.AsSlice())
		}
		for tag, want := range map[string]bool{"": true, "\x81\x00\x00\x64": false, "\x88\xa8\x00\x05\x81\x00\x00\x06": false} {
			stop := other.repeat(p.Index, slices.Concat(all, p.MAC[:], []byte(tag), protocol, claim))
			n.in(func() {
				if holder, inUse, err := n.ProbeAddress(t.Context(), l.Index, a, time.Second); inUse != want || err != nil || inUse && holder != p.MAC {
					t.Errorf("%s claimed with the tags %x: got %v by %s, %v, want %v", a, tag, inUse, holder, err, want)
				}
			})
			stop()
		}
	}
}

// repeat sends a frame by a link every few milliseconds, until stop.
func (n *namespace) repeat(index int, frame []byte) (stop func()) {
	n.t.Helper()
	var socket int
	var err error
	n.in(func() { socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) })
	n.ok(err)
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			_ = unix.Sendto(socket, frame, 0, &unix.SockaddrLinklayer{Ifindex: index, Halen: 6})
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}()
	return func() { close(end); <-done; n.ok(unix.Close(socket)) }
}
