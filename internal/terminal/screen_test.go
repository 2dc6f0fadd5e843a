package terminal

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"multinicd/internal/terminal/layout"
)

// pty is a pseudo-terminal: what a program writes into its file, and what its user is shown.
type pty struct {
	*os.File // the program's side
	mu       sync.Mutex
	shown    bytes.Buffer
	writes   int
}

func newPTY(t *testing.T, columns, lines uint16) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("opening a pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	p := &pty{File: slave}
	p.size(t, columns, lines)
	go func() {
		buffer := make([]byte, 1<<16)
		for {
			n, err := master.Read(buffer)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.shown.Write(bytes.ReplaceAll(buffer[:n], []byte("\r\n"), []byte("\n")))
			p.writes++
			p.mu.Unlock()
		}
	}()
	return p
}

func (p *pty) size(t *testing.T, columns, lines uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(p.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: lines, Col: columns}); err != nil {
		t.Fatal(err)
	}
}

// take gives what was shown since the last call: all that was written before the call, since a
// pseudo-terminal keeps the order.
func (p *pty) take(t *testing.T) string {
	t.Helper()
	const mark = "\x1b]nothing more\x07"
	if _, err := p.WriteString(mark); err != nil {
		t.Fatal(err)
	}
	var out string
	until(t, "all is shown", func() (is bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if out, _, is = strings.Cut(p.shown.String(), mark); is {
			p.shown.Reset()
		}
		return is
	})
	return out
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for late := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("it never came true that %s", what)
		}
	}
}

func TestColoursAreForTerminals(t *testing.T) {
	text := layout.Bad("Failed") + "\n"
	for _, row := range []struct {
		name, term, noColor, want string
	}{
		{"a terminal", "xterm", "", "\x1b[31mFailed\x1b[0m\n"},
		{"NO_COLOR", "xterm", "1", "Failed\n"},
		{"a dumb one", "dumb", "", "Failed\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("TERM", row.term)
			t.Setenv("NO_COLOR", row.noColor)
			p := newPTY(t, 80, 24)
			if err := Print(Writer(p.File), text); err != nil {
				t.Fatal(err)
			}
			if got := p.take(t); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
	t.Run("a pipe", func(t *testing.T) {
		var out bytes.Buffer
		if err := Print(Writer(&out), text); err != nil || out.String() != "Failed\n" {
			t.Errorf("got %q (%v)", out.String(), err)
		}
		if s := ScreenOf(Writer(&out)); s != (Screen{}) {
			t.Errorf("it is taken for a terminal: %+v", s)
		}
	})
	t.Run("marks of others are none", func(t *testing.T) {
		p := newPTY(t, 80, 24)
		t.Setenv("TERM", "xterm")
		said := Plain(layout.Bad("x"))
		if err := Print(Writer(p.File), said); err != nil {
			t.Fatal(err)
		}
		if got := p.take(t); got != `\u0001x\u0005` {
			t.Errorf("got %q", got)
		}
	})
}

// watched runs a Watch of what is in text, until the test ends it.
func watched(t *testing.T, w *pty, set func(*Watch)) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	o := Watch{Every: 10 * time.Millisecond, now: func() time.Time { return time.Unix(0, 0) }}
	set(&o)
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx, Writer(w.File)) }()
	return func() error { cancel(); return <-done }
}

func TestATerminalIsShownWhatChanges(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	p := newPTY(t, 20, 5)
	var mu sync.Mutex
	text := "one\ntwo\nthree\n"
	looks := 0
	stop := watched(t, p, func(o *Watch) { o.Look = func(Screen) string { mu.Lock(); defer mu.Unlock(); looks++; return text } })
	// The first look from now on may belong to the former size. With the third, what the second has found is written.
	after := func(change func()) {
		t.Helper()
		mu.Lock()
		change()
		from := looks
		mu.Unlock()
		until(t, "it looks again", func() bool { mu.Lock(); defer mu.Unlock(); return looks >= from+3 })
	}
	for _, row := range []struct{ name, text, want string }{
		{"at first all", text, enterScreen + "\x1b[1;1Hone\x1b[K\x1b[2;1Htwo\x1b[K\x1b[3;1Hthree\x1b[K"},
		{"nothing, when nothing changes", text, ""},
		{"the line that changed", "one\n2\nthree\n", "\x1b[2;1H2\x1b[K"},
		{"that lines went", "one\n", "\x1b[2;1H\x1b[J"},
		{"what fits, and how much does not", "1\n2\n3\n4\n5\n6\n", "\x1b[1;1H1\x1b[K\x1b[2;1H2\x1b[K\x1b[3;1H3\x1b[K\x1b[4;1H... and 3 lines more\x1b[K"},
		{"no more of a line than fits", "0123456789012345678901\n2\n3\n", "\x1b[1;1H01234567890123456...\x1b[K\x1b[4;1H\x1b[J"},
	} {
		after(func() { text = row.text })
		if diff := cmp.Diff(row.want, p.take(t)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", row.name, diff)
		}
	}
	p.size(t, 30, 5)
	after(func() {})
	if got := p.take(t); !strings.HasPrefix(got, "\x1b[H\x1b[J\x1b[1;1H0123456789012345678901\x1b[K") {
		t.Errorf("after the window was made wider: %q", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got, want := p.take(t), leaveScreen+"0123456789012345678901\n2\n3\n"; got != want {
		t.Errorf("at the end: %q, want %q", got, want)
	}
}

func TestAPipeIsToldWhatIsNew(t *testing.T) {
	var out bytes.Buffer
	looks := 0
	ctx, cancel := context.WithCancel(t.Context())
	texts := []string{"a\nb\n", "a\nb\n", "a\nc\n\nc\n", "c\na\n", layout.Bad("d") + "\n"}
	o := Watch{Every: time.Millisecond, now: func() time.Time { return time.Unix(3661, 0) }, Look: func(s Screen) string {
		if looks++; looks == len(texts) {
			cancel()
		}
		return texts[looks-1]
	}}
	if err := o.Run(ctx, Writer(&out)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("a\nb\n01:01:01Z c\n01:01:01Z c\n01:01:01Z d\n", out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestAWatchThatIsWokenLooksNoMoreOftenThanItMay(t *testing.T) {
	looks := func(t *testing.T, every, during time.Duration, wake <-chan struct{}) int {
		t.Helper()
		n := 0
		ctx, cancel := context.WithTimeout(t.Context(), during)
		defer cancel()
		o := Watch{Every: every, Wake: wake, Look: func(Screen) string { n++; return "" }}
		if err := o.Run(ctx, Writer(&bytes.Buffer{})); err != nil {
			t.Error(err)
		}
		return n
	}
	synctest.Test(t, func(t *testing.T) {
		wake, done := make(chan struct{}, 1), make(chan struct{})
		go func() {
			for {
				select {
				case wake <- struct{}{}:
				case <-done:
					return
				}
			}
		}()
		if n := looks(t, 50*time.Millisecond, 220*time.Millisecond, wake); n != 5 {
			t.Errorf("woken all the time it looked %d times in 220 ms, want 5", n)
		}
		close(done)
	})
	synctest.Test(t, func(t *testing.T) {
		if n := looks(t, 10*time.Millisecond, 100*time.Millisecond, make(chan struct{})); n != 1 {
			t.Errorf("nobody woke it, and it looked %d times", n)
		}
	})
}

func TestProgress(t *testing.T) {
	p := &Progress{what: "trigger", done: 3, total: 10, now: "worker-3"}
	for width, want := range map[int]string{
		80: "trigger  [======>             ] 3/10  12s  worker-3",
		30: "trigger  [======>         ...",
	} {
		if got := p.line(width, 12300*time.Millisecond); got != want {
			t.Errorf("%d columns: %q, want %q", width, got, want)
		}
	}
	if got := (&Progress{what: "join"}).line(80, 3*time.Second); got != "join  3s" {
		t.Errorf("%q", got)
	}
	p.done = 10
	if got := p.line(80, 0); !strings.Contains(got, "[====================] 10/10") {
		t.Errorf("%q", got)
	}
}

func TestProgressIsTakenAwayAgain(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	screen := newPTY(t, 80, 24)
	p := &Progress{w: Writer(screen.File), what: "join", began: time.Now(), stop: make(chan struct{}), ended: make(chan struct{})}
	go p.draw(10*time.Millisecond, time.Hour)
	until(t, "the line is there", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.drawn })
	p.Above(func() { fmt.Fprintln(screen, "a line") })
	p.End()
	p.End()
	if got, want := screen.take(t), "\rjoin  0s\x1b[K\r\x1b[Ka line\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var out bytes.Buffer
	quiet := NewProgress(Writer(&out), "join")
	quiet.Set(1, 2, "x")
	quiet.Above(func() { fmt.Fprintln(&out, "a line") })
	quiet.End()
	if out.String() != "a line\n" {
		t.Errorf("a pipe got %q", out.String())
	}
}
