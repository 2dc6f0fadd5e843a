package host

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"multinicd/internal/terminal/hostile"
)

// A line break would begin an assignment of its own: MAINPID=1, say.
func TestTheStatusForSystemdIsOneLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	t.Setenv("NOTIFY_SOCKET", path)
	for _, text := range []string{hostile.Text + "\nMAINPID=1", strings.Repeat(hostile.Text, 1000)} {
		Notify{}.Status(text)
		b := make([]byte, 1<<20)
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		got := string(b[:n])
		hostile.Check(t, got)
		if !strings.HasPrefix(got, "STATUS=x") || strings.Contains(got, "\n") || n > 4096 {
			t.Errorf("systemd is told %d bytes: %q", n, got)
		}
	}
}
