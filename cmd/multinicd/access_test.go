package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"multinicd/host"
)

func TestTheStatusSocketIsItsOwnersAlone(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0)) // as in a unit without UMask=
	path := filepath.Join(t.TempDir(), "folder", "socket")
	l, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("its mode is %v: %v", info.Mode(), err)
	}
}

func TestAJoinFileThatOthersMayReadIsNamed(t *testing.T) {
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true, 0o620: true} {
		path := filepath.Join(t.TempDir(), "join")
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		h, err := host.New(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		w := &wired{host: h, log: slog.New(slog.NewTextHandler(&log, nil))}
		if _, err := w.joining(joinOptions{server: "https://x", tokenFile: path}); err == nil {
			t.Error("that is no join file")
		}
		if got := strings.Contains(log.String(), "others than its owner may read the join file"); got != want {
			t.Errorf("of mode %o it says %q", mode, log.String())
		}
	}
}
