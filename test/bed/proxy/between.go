package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
)

// Identity is by what an API speaks for the API server.
type Identity struct {
	Certificate tls.Certificate // the API server's own
	Roots       *x509.CertPool  // that sign it
}

// Between puts a handler on the way of one host to the API server: f is given the way on, and gives what the host speaks with instead. The
// host's connections are reset, also when f is nil, which takes the handler out again. It needs an Identity.
func (p *API) Between(h Host, f func(server http.Handler) http.Handler) {
	var next *between
	if f != nil {
		server := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "https", Host: p.target})
		server.FlushInterval = -1 // a watch
		server.Transport = &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: p.Identity.Roots}}
		server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of hosts that have been cut off
		next = newBetween(f(server), p.Identity.Certificate)
	}
	from := h.Addr()
	p.mu.Lock()
	last := p.between[from]
	p.between[from] = next
	for conn, host := range p.conns {
		if host == from {
			reset(conn)
		}
	}
	p.mu.Unlock()
	last.close()
}

// between is an HTTP server for connections that it is given.
type between struct {
	server *http.Server
	conns  chan net.Conn
	closed chan struct{}
	done   chan struct{}
	once   sync.Once
}

func newBetween(h http.Handler, c tls.Certificate) *between {
	b := &between{conns: make(chan net.Conn), closed: make(chan struct{}), done: make(chan struct{})}
	b.server = &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{c}}, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() {
		defer close(b.done)
		_ = b.server.ServeTLS(b, "", "") // until it is closed
	}()
	return b
}

// serve has the connection served, to its end.
func (b *between) serve(conn net.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	select {
	case b.conns <- &told{Conn: conn, closed: cancel}:
		<-ctx.Done()
	case <-b.closed:
		cancel()
		reset(conn)
	}
}

func (b *between) close() {
	if b == nil {
		return
	}
	_ = b.server.Close()
	<-b.done
}

// Accept is for http.Server, as are Close and Addr.
func (b *between) Accept() (net.Conn, error) {
	select {
	case c := <-b.conns:
		return c, nil
	case <-b.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (b *between) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// Addr is nobody's.
func (b *between) Addr() net.Addr { return &net.TCPAddr{} }

// told is a connection that tells when it is closed.
type told struct {
	net.Conn
	closed func()
}

// Close closes it.
func (t *told) Close() error {
	defer t.closed()
	return t.Conn.Close()
}
