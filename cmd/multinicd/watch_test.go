package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"multinicd/cmd/line"
	"multinicd/internal/daemon"
	"multinicd/internal/daemon/status"
)

// In a pipe a watched status says what is new, also while the daemon is away, and ends with ctrl-c.
func TestAWatchedStatusSaysWhatIsNew(t *testing.T) {
	dir := t.TempDir()
	socket, file := filepath.Join(dir, "sock"), filepath.Join(dir, "multinicd.toml")
	if err := os.WriteFile(file, []byte("[status]\nsocket = '"+socket+"'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for n := int64(1); ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(conn).ReadString('\n')
			_ = json.NewEncoder(conn).Encode(daemon.Reply{Status: status.Node{Node: "n1", State: "Configured", Generation: n, Backend: "netplan"}})
			conn.Close()
			if n == 2 {
				listener.Close()
			}
		}
	}()
	out := &lines{}
	app := newApp()
	app.Writer = out
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out.when("is it running?", cancel)
	if err := line.Run(ctx, app, []string{"multinicd", "--config", file, "status", "--watch"}); err != nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("it ends with %v: %v", err, ctx.Err())
	}
	got := strings.Split(out.String(), "\n")
	if len(got) != 6 || got[0] != "n1: generation 1 Configured, 0/0 NICs ready" || !strings.HasSuffix(got[3], "Z n1: generation 2 Configured, 0/0 NICs ready") || !strings.Contains(got[4], "is it running?") {
		t.Errorf("it says\n%s", out)
	}
}

// lines is what was printed.
type lines struct {
	mu   sync.Mutex
	b    bytes.Buffer
	word string
	do   func()
}

// when does something as soon as a word was printed.
func (l *lines) when(word string, do func()) { l.word, l.do = word, do }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Write(p)
	if strings.Contains(l.b.String(), l.word) {
		l.do()
	}
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
