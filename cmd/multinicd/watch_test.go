package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
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

// Somebody who is not root has asked: that the daemon runs is no question then.
func TestWhoMayNotAskIsToldToBeRoot(t *testing.T) {
	dial := func(errno syscall.Errno) error {
		return fmt.Errorf("asking the daemon: %w", &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", errno)})
	}
	for errno, want := range map[syscall.Errno]string{
		syscall.EACCES: "permission denied; only root may ask it: try again with sudo",
		syscall.ENOENT: "no such file or directory; is it running? See: systemctl status multinicd",
	} {
		if got := unanswered(dial(errno)).Error(); !strings.HasSuffix(got, want) {
			t.Errorf("got %q, want %q at its end", got, want)
		}
	}
}
