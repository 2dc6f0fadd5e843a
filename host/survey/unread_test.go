package survey

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"multinicd/host"
	"multinicd/internal/hosttest"
	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// claimOf gives the claim to testLink as text.
func claimOf(t *testing.T, s *Survey) string {
	t.Helper()
	claims, err := s.Claims(t.Context(), []nic.Link{testLink}, ourFile)
	if err != nil {
		return "error: " + err.Error()
	}
	if c := claims[testLink.Index]; c != nil {
		return c.Owner + " " + c.Evidence
	}
	return ""
}

const foreignYAML = yamlHead + "    lan: {match: {macaddress: \"02:00:00:00:01:01\"}}\n"

// What cannot be read just now has not gone away: neither a file, nor what is in a folder.
func TestWhatCannotBeReadJustNowIsNotTakenForAbsent(t *testing.T) {
	log := &strings.Builder{}
	root := t.TempDir()
	s := New(&host.Host{Root: root}, nil, nil, slog.New(slog.NewTextHandler(log, nil)))
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(s.host.Path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.host.Path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(hasNetplan, "")
	put("/etc/netplan/50.yaml", foreignYAML)
	const claimed = `netplan /etc/netplan/50.yaml configures it as "lan" (by MAC 02:00:00:00:01:01): it names this MAC: somebody meant it`
	hosttest.WithoutFiles(t, func() {
		if got := claimOf(t, s); !strings.Contains(got, "too many open files") {
			t.Errorf("before it could be read, the claim is %q", got)
		}
	})
	if got := claimOf(t, s); got != claimed {
		t.Errorf("once it can be read, the claim is %q", got)
	}
	hosttest.WithoutFiles(t, func() {
		if got := claimOf(t, s); got != claimed && !strings.Contains(got, "too many open files") {
			t.Errorf("afterwards, the claim is %q", got)
		}
		if files, err := s.host.Glob("/etc/netplan/*.yaml"); err == nil {
			t.Errorf("a folder that cannot be listed has %v", files)
		}
	})
	if got := claimOf(t, s); got != claimed {
		t.Errorf("in the end, the claim is %q", got)
	}
}

func TestAFileThatCannotBeReadClaimsWhatItDidOrEveryLink(t *testing.T) {
	log := &strings.Builder{}
	s := New(&host.Host{Root: t.TempDir()}, nil, nil, slog.New(slog.NewTextHandler(log, nil)))
	hosttest.Files(t, s.host.Root, map[string]string{hasNetplan: ""})
	file := s.host.Path("/etc/netplan/50.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	// A link that leads to itself cannot be read by anybody, not even root: ELOOP.
	loop := func() {
		t.Helper()
		_ = os.Remove(file)
		if err := os.Symlink("50.yaml", file); err != nil {
			t.Fatal(err)
		}
	}
	write := func(text string) {
		t.Helper()
		_ = os.Remove(file)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name string
		do   func()
		want string // in the claim; "": none
	}{
		{"never read", loop, "unknown /etc/netplan/50.yaml cannot be read, and may configure it"},
		{"still not", func() {}, "unknown /etc/netplan/50.yaml cannot be read, and may configure it"},
		{"read, and for another link", func() { write(strings.ReplaceAll(foreignYAML, "01:01", "01:02")) }, ""},
		{"unreadable, and what it said counts", loop, ""},
		{"read, and for this link", func() { write(foreignYAML) }, `configures it as "lan"`},
		{"unreadable, and what it said counts again", loop, `configures it as "lan"`},
		{"gone", func() { _ = os.Remove(file) }, ""},
		{"hidden by a link to /dev/null", func() { _ = os.Symlink("/dev/null", file) }, ""},
		{"a folder", func() { _ = os.Remove(file); _ = os.Mkdir(file, 0o755) }, ""},
	} {
		step.do()
		for range 2 {
			if got := claimOf(t, s); !strings.Contains(got, step.want) || step.want == "" && got != "" {
				t.Errorf("%s: the claim is %q, want %q", step.name, got, step.want)
			}
			// Nor is the renderer that it may name anybody's guess.
			target, _ := os.Readlink(file)
			if _, _, _, err := s.netplanFor(nic.Link{}); (err != nil) != (target == "50.yaml") {
				t.Errorf("%s: netplan's definitions: %v", step.name, err)
			}
		}
	}
	if n := strings.Count(log.String(), "cannot be read"); n != 3 {
		t.Errorf("logged %d times, want once each time that it became unreadable:\n%s", n, log)
	}
}

// Half of a file may be a good one that says less.
func TestAFileThatIsBeingWrittenIsNotBelieved(t *testing.T) {
	s := newSurvey(t)
	if err := os.WriteFile(s.host.Path("/x"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	at, err := s.stamp("/x")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.host.Path("/x"), []byte("half and half"), 0o600); err != nil {
		t.Fatal(err)
	}
	data, now, err := s.steady("/x", at)
	if err != nil || string(data) != "half and half" || now == at {
		t.Errorf("read %q, %v", data, err)
	}
	if err := os.Remove(s.host.Path("/x")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.steady("/x", now); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("gone meanwhile: %v", err)
	}
	if err := unix.Mkfifo(s.host.Path("/y"), 0o600); err != nil {
		t.Fatal(err)
	}
	if at, err = s.stamp("/y"); err != nil {
		t.Fatal(err)
	}
	if data, _, err := s.steady("/y", at); err != nil || len(data) != 0 {
		t.Errorf("a FIFO says %q, %v", data, err)
	}
}
