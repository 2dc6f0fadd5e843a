package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"multinicd/test/bed/sandbox"
)

// Counter is a way to a server that counts the bytes on it, TLS and all.
type Counter struct {
	URL string
	// Up are bytes to the server, Down from it.
	Up, Down atomic.Int64
}

// NewCounter listens on loopback until the sandbox is closed. target is an address with a port.
func NewCounter(box *sandbox.Sandbox, target string) (*Counter, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for a counter of bytes: %w", err)
	}
	box.OnClose(func() { _ = l.Close() })
	c := &Counter{URL: "https://" + l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go c.pass(conn, target)
			}
		}
	}()
	return c, nil
}

// pass carries one connection to its end.
func (c *Counter) pass(conn net.Conn, target string) {
	defer conn.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(counting{server, &c.Up}, conn)
		if s, ok := server.(*net.TCPConn); ok {
			_ = s.CloseWrite()
		}
	}()
	_, _ = io.Copy(counting{conn, &c.Down}, server) // until either end is gone
}

type counting struct {
	net.Conn
	n *atomic.Int64
}

func (c counting) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// ReadFrom would go around Write.
func (c counting) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c}, r)
}
