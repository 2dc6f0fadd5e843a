package kernel

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"multinicd/host"
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
		{"192.0.2.1", nil}, {"192.0.2.2", ErrSilent}, {"2001:db8::1", nil}, {"2001:db8::2", ErrSilent},
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
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrSilent) {
				break
			}
			wait *= 2 // the machine was too busy to ask at all
		}
		if !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.address, err, test.want)
		}
	}
}

// A machine that is too busy to read an answer in time has been answered all the same: to take the address for free would be wrong.
func TestAnAnswerThatHasComeInTimeCounts(t *testing.T) {
	s, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(s[0]), "ours"), os.NewFile(uintptr(s[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	over, end := context.WithCancel(t.Context())
	end()
	for name, test := range map[string]struct {
		come []string
		want error
	}{
		"nothing has come":                      {nil, ErrSilent},
		"something else has come":               {[]string{"else"}, ErrSilent},
		"the answer has come behind other ones": {[]string{"else", "else", "answer"}, nil},
	} {
		for _, packet := range test.come {
			if _, err := theirs.WriteString(packet); err != nil {
				t.Fatal(err)
			}
		}
		err := exchange(over, ours, time.Second, func() error { return nil }, func(packet []byte) bool { return string(packet) == "answer" })
		if !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

func TestClaimsAddress(t *testing.T) {
	a, us, other := netip.MustParseAddr("192.0.2.10"), nic.MAC{2, 1}, nic.MAC{2, 2}
	none := netip.IPv4Unspecified()
	answer := arpPacket(other, a, none)
	answer[7] = 2
	for name, test := range map[string]struct {
		packet []byte
		want   bool
	}{
		"an answer":                  {answer, true},
		"an announcement":            {arpPacket(other, a, a), true},
		"a probe of another machine": {arpPacket(other, none, a), true},
		"our own probe":              {arpPacket(us, none, a), false},
		"a question for it":          {arpPacket(other, netip.MustParseAddr("192.0.2.1"), a), false},
		"something short":            {answer[:20], false},
		"another protocol":           {append([]byte{0, 1, 0x86, 0xdd}, answer[4:]...), false},
	} {
		if holder, got := claimsAddress(test.packet, us, a); got != test.want || got && holder != other {
			t.Errorf("%s: got %v by %s, want %v", name, got, holder, test.want)
		}
	}
}

func TestClaimsAddress6(t *testing.T) {
	a, us, other := netip.MustParseAddr("2001:db8::10"), nic.MAC{2, 1}, nic.MAC{2, 2}
	const kind, hops, source = etherSize + ip6Size, etherSize + 7, etherSize + 8
	edit := func(change func(b []byte)) []byte {
		b := solicitationFrame(other, a)
		change(b)
		return b
	}
	for name, test := range map[string]struct {
		frame []byte
		want  bool
	}{
		"an answer":                       {edit(func(b []byte) { b[kind] = icmpAdvertisement; b[source] = 0xfe }), true},
		"another machine asks for itself": {edit(func([]byte) {}), true},
		"our own question":                {solicitationFrame(us, a), false},
		"another machine looks for it":    {edit(func(b []byte) { b[source] = 0xfe }), false},
		"an answer about another address": {solicitationFrame(other, netip.MustParseAddr("2001:db8::11")), false},
		"an answer that came by a router": {edit(func(b []byte) { b[kind] = icmpAdvertisement; b[hops] = 254 }), false},
		"another message of ICMPv6":       {edit(func(b []byte) { b[kind] = 134 }), false},
		"something short":                 {solicitationFrame(other, a)[:60], false},
		"another protocol than ICMPv6":    {edit(func(b []byte) { b[etherSize+6] = 17 }), false},
	} {
		if holder, got := claimsAddress6(test.frame, us, a); got != test.want || got && holder != other {
			t.Errorf("%s: got %v by %s, want %v", name, got, holder, test.want)
		}
	}
}

func FuzzClaimsAddress(f *testing.F) {
	f.Add(arpPacket(nic.MAC{2}, netip.IPv4Unspecified(), netip.MustParseAddr("192.0.2.1")))
	f.Add(solicitationFrame(nic.MAC{2}, netip.MustParseAddr("2001:db8::1")))
	f.Fuzz(func(_ *testing.T, packet []byte) {
		claimsAddress(packet, nic.MAC{}, netip.MustParseAddr("192.0.2.1"))
		claimsAddress6(packet, nic.MAC{}, netip.MustParseAddr("2001:db8::1"))
	})
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
