package testhost

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// Proxy is the way from a world to an API server outside of it: it listens at Gateway or Behind, port APIPort. What lies
// between one host and the API server can be made to fail there, while the other hosts go on. For a network
// that is down altogether, pull the cable of the primary NIC.
type Proxy struct {
	// Identity is needed for Between alone, and set before it.
	Identity Identity

	at       netip.AddrPort // where it listens
	target   string
	listener net.Listener

	mu    sync.Mutex
	cond  *sync.Cond
	state map[netip.Addr]wire
	conns map[net.Conn]netip.Addr
	// between is what speaks for the API server, by host; see Between.
	between map[netip.Addr]*between
}

// wire is how a host's way to the API server is.
type wire int

const (
	whole wire = iota
	hanging
	cut
)

// ServeAPI forwards Gateway:APIPort to target, host:port on this machine, until the sandbox is closed.
func (w *World) ServeAPI(target string) (*Proxy, error) {
	return w.serve(target, netip.AddrPortFrom(Gateway, APIPort))
}

// ServeAPIBehind forwards Behind:APIPort to target likewise: no subnet of a host leads there, only default routes do, of each segment whose router the
// switch is.
func (w *World) ServeAPIBehind(target string) (*Proxy, error) {
	if err := w.AddAddress(managementSegment, netip.PrefixFrom(Behind, Behind.BitLen())); err != nil {
		return nil, err
	}
	return w.serve(target, netip.AddrPortFrom(Behind, APIPort))
}

// Service is the address of the API server's Service, by which Pods call it.
var Service = netip.MustParseAddrPort("10.96.0.1:443")

// ServePods lets Pods call the API server by its Service. It is for a world whose hosts are nodes; see AddRoute.
func (w *World) ServePods(target string) (*Proxy, error) {
	if err := w.AddAddress(managementSegment, netip.PrefixFrom(Service.Addr(), Service.Addr().BitLen())); err != nil {
		return nil, err
	}
	return w.serve(target, Service)
}

func (w *World) serve(target string, at netip.AddrPort) (*Proxy, error) {
	p := &Proxy{at: at, target: target, state: map[netip.Addr]wire{}, conns: map[net.Conn]netip.Addr{}, between: map[netip.Addr]*between{}}
	p.cond = sync.NewCond(&p.mu)
	err := w.Inside(func() (err error) {
		p.listener, err = net.Listen("tcp", at.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listening for the API server: %w", err)
	}
	var running sync.WaitGroup
	running.Go(func() { p.accept(&running) })
	w.box.OnClose(func() {
		p.listener.Close()
		p.set(netip.Addr{}, cut)
		running.Wait()
		for _, b := range p.between {
			b.close()
		}
	})
	return p, nil
}

// URL is how hosts call the API server.
func (p *Proxy) URL() string {
	return "https://" + p.at.String()
}

// Hang lets nothing through between the host and the API server, in either direction, and closes nothing, as a
// firewall that drops or a peer that died. Connections can still be made. What is on its way comes after Heal.
func (p *Proxy) Hang(h *Host) { p.set(h.Address.Addr(), hanging) }

// Cut resets the host's connections to the API server, and new ones at once.
func (p *Proxy) Cut(h *Host) { p.set(h.Address.Addr(), cut) }

// Heal undoes Hang and Cut.
func (p *Proxy) Heal(h *Host) { p.set(h.Address.Addr(), whole) }

// Connections is how many connections the host has open.
func (p *Proxy) Connections(h *Host) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, from := range p.conns {
		if from == h.Address.Addr() {
			n++
		}
	}
	return n
}

// set is for one host, or for all of them and for good with the zero address.
func (p *Proxy) set(host netip.Addr, state wire) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state[host] = state
	if state == cut {
		for conn, from := range p.conns {
			if from == host || !host.IsValid() {
				reset(conn)
			}
		}
	}
	p.cond.Broadcast()
}

// pass waits until bytes of that host may go on, and tells whether they may.
func (p *Proxy) pass(host netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.wire(host) == hanging {
		p.cond.Wait()
	}
	return p.wire(host) == whole
}

func (p *Proxy) wire(host netip.Addr) wire {
	if p.state[netip.Addr{}] == cut {
		return cut
	}
	return p.state[host]
}

func (p *Proxy) accept(running *sync.WaitGroup) {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		running.Go(func() { p.serve(conn) })
	}
}

func (p *Proxy) serve(conn net.Conn) {
	defer conn.Close()
	remote, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return
	}
	from := remote.Addr().Unmap()
	p.mu.Lock()
	p.conns[conn] = from
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, conn)
		p.mu.Unlock()
	}()
	if !p.pass(from) {
		reset(conn)
		return
	}
	p.mu.Lock()
	other := p.between[from]
	p.mu.Unlock()
	if other != nil {
		other.serve(conn)
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		reset(conn)
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() { p.copy(from, server, conn) })
	both.Go(func() { p.copy(from, conn, server) })
	both.Wait()
}

// copy forwards one direction to its end, and then ends the other: TLS does not use half a connection.
func (p *Proxy) copy(host netip.Addr, to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !p.pass(host) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		// The end of a connection is told no more than its bytes are.
		if err != nil {
			p.pass(host)
			return
		}
	}
}

// reset closes a connection so that the other end sees a reset.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // else it is closed in the ordinary way
	}
	conn.Close()
}
