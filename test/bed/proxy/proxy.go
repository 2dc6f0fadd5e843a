// Package proxy is the way of hosts to an API server outside of their network, where it can be made to fail.
//
// In goes a listener in the hosts' network, and the API server's address on this machine; out come connections that
// hang, are cut, or have somebody else speak for the API server, for one host at a time.
//
// It must not know how hosts are made: a host is the address that it calls from.
//
// Start reading at New and API.Cut.
package proxy

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// Host is who calls the API server.
type Host interface {
	// Addr is the address that the host calls from.
	Addr() netip.Addr
}

// API is the way to an API server. What lies between one host and the API server can be made to fail there, while the
// other hosts go on. For a network that is down altogether, pull the cable of the primary NIC.
type API struct {
	// Identity is needed for Between alone, and set before it.
	Identity Identity

	target   string
	listener net.Listener
	running  sync.WaitGroup

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

// New forwards what comes to listener to target, host:port on this machine, until Close.
func New(listener net.Listener, target string) *API {
	p := &API{listener: listener, target: target, state: map[netip.Addr]wire{}, conns: map[net.Conn]netip.Addr{}, between: map[netip.Addr]*between{}}
	p.cond = sync.NewCond(&p.mu)
	p.running.Go(p.accept)
	return p
}

// Close ends all connections, and takes no more.
func (p *API) Close() {
	p.listener.Close()
	p.set(netip.Addr{}, cut)
	p.running.Wait()
	for _, b := range p.between {
		b.close()
	}
}

// URL is how hosts call the API server.
func (p *API) URL() string {
	return "https://" + p.listener.Addr().String()
}

// Hang lets nothing through between the host and the API server, in either direction, and closes nothing, as a
// firewall that drops or a peer that died. Connections can still be made. What is on its way comes after Heal.
func (p *API) Hang(h Host) { p.set(h.Addr(), hanging) }

// Cut resets the host's connections to the API server, and new ones at once.
func (p *API) Cut(h Host) { p.set(h.Addr(), cut) }

// Heal undoes Hang and Cut.
func (p *API) Heal(h Host) { p.set(h.Addr(), whole) }

// set is for one host, or for all of them and for good with the zero address.
func (p *API) set(host netip.Addr, state wire) {
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
func (p *API) pass(host netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.wire(host) == hanging {
		p.cond.Wait()
	}
	return p.wire(host) == whole
}

func (p *API) wire(host netip.Addr) wire {
	if p.state[netip.Addr{}] == cut {
		return cut
	}
	return p.state[host]
}

func (p *API) accept() {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p.running.Go(func() { p.serve(conn) })
	}
}

func (p *API) serve(conn net.Conn) {
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
func (p *API) copy(host netip.Addr, to, from net.Conn) {
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
