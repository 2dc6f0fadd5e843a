package monitor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// lostAfter is how long Pings.Stop waits for an echo that has not come back. A host answers in its kernel, within a millisecond.
const lostAfter = 10 * time.Second

// Pings asks hosts for echoes from the switch, a hundred times a second each.
type Pings struct {
	conn *net.IPConn
	end  chan struct{}
	once sync.Once
	all  sync.WaitGroup

	mu   sync.Mutex
	sent map[netip.Addr]int
	got  map[netip.Addr]map[uint32]bool
	back chan struct{} // capacity 1: an echo has come
	err  error         // of sending
}

// NewPings begins to ask the targets, IPv4 addresses, until Stop or Close. A function that is given to inside is called
// with its thread in the switch's network namespace.
func NewPings(inside func(func() error) error, targets ...netip.Addr) (*Pings, error) {
	p := &Pings{end: make(chan struct{}), sent: map[netip.Addr]int{}, got: map[netip.Addr]map[uint32]bool{}, back: make(chan struct{}, 1)}
	err := inside(func() (err error) {
		p.conn, err = net.ListenIP("ip4:icmp", &net.IPAddr{IP: net.IPv4zero})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pinging hosts: %w", err)
	}
	if err := p.makeRoom(); err != nil {
		_ = p.conn.Close() // it has asked nobody
		return nil, fmt.Errorf("pinging hosts: %w", err)
	}
	for _, a := range targets {
		p.got[a] = map[uint32]bool{}
	}
	go p.receive()
	for _, a := range targets {
		p.all.Go(func() { p.send(a) })
	}
	return p, nil
}

// makeRoom is for echoes that come while this process waits for a processor: they are none that the host has lost.
func (p *Pings) makeRoom() error {
	raw, err := p.conn.SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	err = raw.Control(func(fd uintptr) { refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) })
	return errors.Join(err, refused)
}

// send sends echo requests (RFC 792), each with a number of its own as data, since the sequence number is too short for a long test.
func (p *Pings) send(to netip.Addr) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for seq := uint32(0); ; seq++ {
		m := binary.BigEndian.AppendUint32([]byte{8, 0, 0, 0, 0x4d, 0x4e, byte(seq >> 8), byte(seq)}, seq)
		binary.BigEndian.PutUint16(m[2:], checksum(m))
		_, err := p.conn.WriteTo(m, &net.IPAddr{IP: to.AsSlice()})
		p.mu.Lock()
		if err != nil {
			p.err = errors.Join(p.err, fmt.Errorf("pinging %s: %w", to, err))
			p.mu.Unlock()
			return
		}
		p.sent[to]++
		p.mu.Unlock()
		select {
		case <-tick.C:
		case <-p.end:
			return
		}
	}
}

func (p *Pings) receive() {
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
		select {
		case p.back <- struct{}{}:
		default:
		}
	}
}

// Stop ends it, waits until each echo is back or lost, and says for each target how many were sent, and how many of them were lost.
func (p *Pings) Stop() (sent, lost map[netip.Addr]int, err error) {
	p.finish()
	sent, lost = p.count()
	for timeout := time.After(lostAfter); ; sent, lost = p.count() {
		missing := 0
		for _, n := range lost {
			missing += n
		}
		if missing == 0 {
			break
		}
		select {
		case <-p.back:
			continue
		case <-timeout:
		}
		break
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return sent, lost, p.err
}

func (p *Pings) count() (sent, lost map[netip.Addr]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sent, lost = map[netip.Addr]int{}, map[netip.Addr]int{}
	for a, n := range p.sent {
		sent[a], lost[a] = n, n-len(p.got[a])
	}
	return sent, lost
}

// Close ends it, and asks for nothing any more.
func (p *Pings) Close() {
	p.finish()
	_ = p.conn.Close() // ends the reader
}

func (p *Pings) finish() {
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
