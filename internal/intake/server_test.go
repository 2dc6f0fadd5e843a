package intake

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// opened is a door behind a real listener, with times that are short.
func opened(t *testing.T, g guard) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Log: slog.New(slog.DiscardHandler), Listener: l, BodyTime: 200 * time.Millisecond, Time: time.Second}
	limited, err := o.listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor(&played{}, g, io.Discard)
	d.body, d.whole = o.BodyTime, o.Time
	s := o.server(d)
	done := make(chan error, 1)
	go func() { done <- s.Serve(limited) }()
	t.Cleanup(func() {
		_ = s.Close() // the connections may be closed already
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// dial connects from an address of this machine. What hangs ends the test after a minute.
func dial(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the door may have closed it
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

const head = "POST " + configsPath + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Provider-Id: provider-a\r\n"

// answers are the codes of what comes until the connection ends.
func answers(t *testing.T, conn net.Conn) string {
	t.Helper()
	var out []string
	for r := bufio.NewReader(conn); ; {
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || strings.Contains(err.Error(), "reset by peer") {
				return strings.Join(out, " ")
			}
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(response.StatusCode))
	}
}

// Whoever sends nothing more is let go, whether or not the door has an answer already.
func TestNobodyHoldsAConnection(t *testing.T) {
	t.Parallel()
	nobody := letIn{who1: unauthorized("no")}
	for _, row := range []struct {
		name string
		g    guard
		sent string
		want string
	}{
		{"half a header", letIn{}, head, ""},
		{"half a body", letIn{}, head + "Content-Length: 1000\r\n\r\n[", "408"},
		{"no body", letIn{}, head + "Content-Length: 1000\r\n\r\n", "408"},
		{"half a chunk", letIn{}, head + "Transfer-Encoding: chunked\r\n\r\nff\r\n[", "408"},
		{"no body, of somebody unknown", nobody, head + "Content-Length: 1000\r\n\r\n", "401"},
		{"half a chunk, of somebody unknown", nobody, head + "Transfer-Encoding: chunked\r\n\r\nff\r\n[", "401"},
		{"no body, where there is nothing", letIn{}, strings.Replace(head, "node-configs", "x", 1) + "Content-Length: 1000\r\n\r\n", "404"},
		{"no body, to see its health", letIn{}, "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", "200"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, "127.0.0.1", opened(t, row.g))
			if _, err := io.WriteString(conn, row.sent); err != nil {
				t.Fatal(err)
			}
			if got := answers(t, conn); got != row.want {
				t.Errorf("the answers are %q, want %q", got, row.want)
			}
		})
	}
}

// A proxy in front of the door that counts the length, where the door counts chunks, has let one request pass. There is no second one in it.
func TestARequestHasNoOtherInIt(t *testing.T) {
	t.Parallel()
	chunks := "2\r\n[]\r\n0\r\n\r\n"
	second := head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(oneNode), oneNode)
	for _, row := range []struct {
		name, sent, want string
	}{
		{"a length and chunks", head + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n%s%s", len(chunks)+len(second), chunks, second), "400"},
		{"chunks alone", head + "Transfer-Encoding: chunked\r\n\r\n" + chunks + second, "400"},
		{"two lengths", head + "Content-Length: 2\r\nContent-Length: 900\r\n\r\n[]" + second, "400"},
		{"another coding", head + "Transfer-Encoding: identity, chunked\r\n\r\n" + chunks + second, "501"},
		{"a space before the colon", strings.TrimSuffix(head, "\r\n") + "\r\nContent-Length : 2\r\n\r\n[]" + second, "400"},
		{"one after the other, of one client", second + second, "200 200"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, "127.0.0.1", opened(t, letIn{}))
			if _, err := io.WriteString(conn, row.sent); err != nil {
				t.Fatal(err)
			}
			if tcp, ok := conn.(*net.TCPConn); ok {
				if err := tcp.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			if got := answers(t, conn); got != row.want {
				t.Errorf("the answers are %q, want %q", got, row.want)
			}
		})
	}
}

func TestOneAddressTakesNotAllConnections(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // it may be closed already
	limited, err := Options{Listener: l}.listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	const many = connectionsEach + 20
	accepted := make(chan net.Conn, many)
	go func() {
		for {
			conn, err := limited.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	var kept []net.Conn
	for range connectionsEach {
		dial(t, "127.0.0.1", l.Addr().String())
		kept = append(kept, <-accepted)
	}
	for range many - connectionsEach {
		if _, err := dial(t, "127.0.0.1", l.Addr().String()).Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("one connection more is kept: %v", err)
		}
	}
	other := dial(t, "127.0.0.2", l.Addr().String())
	if conn := <-accepted; conn.RemoteAddr().String() != other.LocalAddr().String() {
		t.Errorf("%s was accepted, want the other one", conn.RemoteAddr())
	}
	for range 2 { // a connection that is closed twice leaves one place
		if err := kept[0].Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	again := dial(t, "127.0.0.1", l.Addr().String())
	if conn := <-accepted; conn.RemoteAddr().String() != again.LocalAddr().String() {
		t.Errorf("%s was accepted, want the first address again", conn.RemoteAddr())
	}
	if _, err := dial(t, "127.0.0.1", l.Addr().String()).Read(make([]byte, 1)); err == nil {
		t.Error("there were two places")
	}
}

// A request may have many NICs, and not so many that they take all memory.
func TestTheNICsOfARequestAreCounted(t *testing.T) {
	t.Parallel()
	nics := strings.TrimSuffix(strings.Repeat("{},", 64), ",")
	of := func(nodes int) []byte {
		return []byte("[" + strings.TrimSuffix(strings.Repeat(`{"nodeName":"n","interfaces":[`+nics+`]},`, nodes), ",") + "]")
	}
	if err := new(request).parse(of(maxNICs/64), 4000); err != nil {
		t.Error(err)
	}
	var why *refusal
	if err := new(request).parse(of(maxNICs/64+1), 4000); !errors.As(err, &why) || why.code != "TooMany" {
		t.Errorf("one more: %v", err)
	}
}
