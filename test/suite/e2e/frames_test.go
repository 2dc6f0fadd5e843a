package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"multinicd/test/bed"
)

// frames records every echo request and reply, and every ARP reply, that hosts send into the switch: from outside one sees by
// which NIC an answer left.
type frames struct {
	t    *testing.T
	fd   int
	end  chan struct{}
	done sync.WaitGroup

	mu   sync.Mutex
	seen map[frame]int
}

// frame is one kind of packet between two NICs.
type frame struct {
	What     string // "request", "reply" or "arp"
	From, To netip.Addr
	FromMAC  string
	ToMAC    string // empty for arp
}

func (f frame) String() string {
	return fmt.Sprintf("%s %s (%s) > %s (%s)", f.What, f.From, f.FromMAC, f.To, f.ToMAC)
}

// watch begins to record.
func watch(t *testing.T, b *bed.Bed) *frames {
	t.Helper()
	f := &frames{t: t, end: make(chan struct{}), seen: map[frame]int{}}
	if err := b.World.Inside(func() (err error) {
		all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)) // htons
		f.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	timeout := unix.NsecToTimeval(int64(100 * time.Millisecond))
	if err := unix.SetsockoptTimeval(f.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	_ = unix.SetsockoptInt(f.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	f.done.Go(f.receive)
	t.Cleanup(func() {
		close(f.end)
		f.done.Wait()
		_ = unix.Close(f.fd)
	})
	return f
}

func (f *frames) receive() {
	packet := make([]byte, 2048)
	for {
		select {
		case <-f.end:
			return
		default:
		}
		n, from, err := unix.Recvfrom(f.fd, packet, 0)
		if err != nil {
			continue // the time is up: look whether the test is
		}
		if l, ok := from.(*unix.SockaddrLinklayer); !ok || l.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if one, ok := parseFrame(packet[:n]); ok {
			f.mu.Lock()
			f.seen[one]++
			f.mu.Unlock()
		}
	}
}

func parseFrame(b []byte) (frame, bool) {
	if len(b) < 42 {
		return frame{}, false
	}
	out := frame{ToMAC: net.HardwareAddr(b[:6]).String(), FromMAC: net.HardwareAddr(b[6:12]).String()}
	kind := byte(0)
	switch binary.BigEndian.Uint16(b[12:]) {
	case unix.ETH_P_ARP:
		out.What, out.ToMAC = "arp", ""
		out.From, out.To = netip.AddrFrom4([4]byte(b[28:32])), netip.AddrFrom4([4]byte(b[38:42]))
		return out, b[21] == 2
	case unix.ETH_P_IP:
		header := int(b[14]&15) * 4
		if b[23] != unix.IPPROTO_ICMP || len(b) < 14+header+1 {
			return out, false
		}
		kind = b[14+header]
		out.From, out.To = netip.AddrFrom4([4]byte(b[26:30])), netip.AddrFrom4([4]byte(b[30:34]))
	case unix.ETH_P_IPV6:
		if b[20] != unix.IPPROTO_ICMPV6 || len(b) < 55 {
			return out, false
		}
		kind = b[54]
		out.From, out.To = netip.AddrFrom16([16]byte(b[22:38])), netip.AddrFrom16([16]byte(b[38:54]))
	}
	switch kind {
	case 8, 128:
		out.What = "request"
	case 0, 129:
		out.What = "reply"
	}
	return out, out.What != ""
}

// take gives what was seen since the last call.
func (f *frames) take() map[frame]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.seen
	f.seen = map[frame]int{}
	return out
}
