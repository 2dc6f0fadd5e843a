package proxy_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"multinicd/test/bed/proxy"
	"multinicd/test/bed/sandbox"
)

func TestACounterCountsBothWays(t *testing.T) {
	box, err := sandbox.New(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = box.Close() }()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.ReadAll(conn) // until the other side has said all
		_, _ = io.WriteString(conn, "answer")
	}()
	c, err := proxy.NewCounter(box, server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.URL, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, strings.Repeat("x", 100_000)); err != nil {
		t.Fatal(err)
	}
	if tcp, ok := conn.(*net.TCPConn); !ok || tcp.CloseWrite() != nil {
		t.Fatal("the connection cannot be closed for writing")
	}
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "answer" {
		t.Fatalf("%q, %v", got, err)
	}
	if up, down := c.Up.Load(), c.Down.Load(); up != 100_000 || down != 6 {
		t.Errorf("%d up and %d down, want 100000 and 6", up, down)
	}
}
