package intake

import (
	"net"
	"sync"
)

// fairly is a listener that bounds the open connections of each client's address. One more is closed
// at once, so that nobody can take all of them.
type fairly struct {
	net.Listener
	places *places
}

// Accept waits for a connection that is kept.
func (l *fairly) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		leave := l.places.take(address(conn.RemoteAddr().String()))
		if leave == nil {
			_ = conn.Close() // nothing was written
			continue
		}
		return &placed{Conn: conn, leave: sync.OnceFunc(leave)}, nil
	}
}

// placed is a connection that leaves its place when it is closed.
type placed struct {
	net.Conn
	leave func()
}

func (c *placed) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
