package fault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"multinicd/test/bed"
)

// pings asks hosts for echoes from the switch, a hundred times a second each.
type pings struct {
	t    *testing.T
	conn net.PacketConn
	end  chan struct{}
	once sync.Once
	all  sync.WaitGroup

	mu   sync.Mutex
	sent map[netip.Addr]int
	got  map[netip.Addr]map[uint32]bool
}

func startPings(t *testing.T, b *bed.Bed, targets ...netip.Addr) *pings {
	t.Helper()
	p := &pings{t: t, end: make(chan struct{}), sent: map[netip.Addr]int{}, got: map[netip.Addr]map[uint32]bool{}}
	var conn *net.IPConn
	if err := b.World.Inside(func() (err error) {
		conn, err = net.ListenIP("ip4:icmp", &net.IPAddr{IP: net.IPv4zero})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	p.conn = conn
	// Echoes that find no room because this process had to wait for a processor are none that the host has lost.
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var refused error
	err = raw.Control(func(fd uintptr) { refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) })
	if err = errors.Join(err, refused); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.finish()
		_ = p.conn.Close() // ends the reader
	})
	go p.receive()
	for _, a := range targets {
		p.got[a] = map[uint32]bool{}
		p.all.Go(func() { p.send(a) })
	}
	return p
}

// send sends echo requests (RFC 792), each with a number of its own as data, since the sequence number is too short for a long test.
func (p *pings) send(to netip.Addr) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for seq := uint32(0); ; seq++ {
		m := binary.BigEndian.AppendUint32([]byte{8, 0, 0, 0, 0x4d, 0x4e, byte(seq >> 8), byte(seq)}, seq)
		binary.BigEndian.PutUint16(m[2:], checksum(m))
		if _, err := p.conn.WriteTo(m, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			p.t.Errorf("pinging %s: %v", to, err)
			return
		}
		p.mu.Lock()
		p.sent[to]++
		p.mu.Unlock()
		select {
		case <-tick.C:
		case <-p.end:
			return
		}
	}
}

func (p *pings) receive() {
	buffer := make([]byte, 1500)
	for {
		n, from, err := p.conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		a, err := netip.ParseAddr(from.String())
		if err != nil || n < 12 || buffer[0] != 0 || buffer[4] != 0x4d || buffer[5] != 0x4e {
			continue
		}
		p.mu.Lock()
		if got := p.got[a]; got != nil {
			got[binary.BigEndian.Uint32(buffer[8:])] = true
		}
		p.mu.Unlock()
	}
}

// stop ends it, waits for what is on its way, for ten seconds at most, and says for each target what was lost; "" where nothing was.
func (p *pings) stop() map[netip.Addr]string {
	p.finish()
	for deadline := time.Now().Add(10 * time.Second); !p.answered() && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond) // and looks again
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[netip.Addr]string{}
	for a, sent := range p.sent {
		out[a] = ""
		if lost := sent - len(p.got[a]); lost != 0 || sent == 0 {
			out[a] = fmt.Sprintf("%d of %d lost", lost, sent)
		}
		p.t.Logf("ping of %s: %d sent, %d answered", a, sent, len(p.got[a]))
	}
	return out
}

// answered says whether all that was sent has come back.
func (p *pings) answered() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a, sent := range p.sent {
		if len(p.got[a]) < sent {
			return false
		}
	}
	return true
}

func (p *pings) finish() {
	p.once.Do(func() { close(p.end) })
	p.all.Wait()
}

func checksum(m []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(m); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(m[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func keys(m map[int]bool) iter.Seq[int] { return maps.Keys(m) }
