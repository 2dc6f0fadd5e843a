package neighbour

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// A machine that is too busy to read an answer in time has been answered all the same: to take the
// address for free would be wrong.
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

// FuzzClaimsAddress: nothing that comes from the segment crashes the readers, no frame of our own says that somebody has the address, and one
// that says so has its MAC and the address in it.
func FuzzClaimsAddress(f *testing.F) {
	f.Add(arpPacket(nic.MAC{2}, netip.IPv4Unspecified(), netip.MustParseAddr("192.0.2.1")))
	f.Add(solicitationFrame(nic.MAC{2}, netip.MustParseAddr("2001:db8::1")))
	f.Fuzz(func(t *testing.T, packet []byte) {
		a, us := netip.MustParseAddr("192.0.2.1"), nic.MAC{2, 9}
		for _, claims := range []func([]byte, nic.MAC, netip.Addr) (nic.MAC, bool){claimsAddress, claimsAddress6} {
			if holder, yes := claims(packet, us, a); yes && (holder == us || !bytes.Contains(packet, holder[:]) || !bytes.Contains(packet, a.AsSlice())) {
				t.Errorf("%x claims %s for %s", packet, a, holder)
			}
			a = netip.MustParseAddr("2001:db8::1")
		}
	})
}
