package kernel

import (
	"context"
	"errors"
	"net/netip"
	"os"
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
	})
}
