package host

import (
	"bytes"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/coreos/go-systemd/v22/journal"

	"multinicd/internal/hosttest"
	"multinicd/internal/terminal/hostile"
)

// FuzzText: the readers of other people's files give trimmed lines, each once and in order, and an
// error of the caller ends the walk.
func FuzzText(f *testing.F) {
	f.Add([]byte("[Network]\nDHCP=yes\n# x\n; y\n[a]b]\n=\n key = a=b \n"))
	f.Add([]byte("ExecStart=kubelet \\\n# between\n  --node-ip=192.0.2.1 \\\n"))
	f.Add([]byte("[\n]\n[]\n\\\n\\\\\n\x00\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var lines []string
		if err := Lines(data, func(line string) error { lines = append(lines, line); return nil }); err != nil && len(data) < maxFile {
			t.Error(err)
		}
		for _, line := range lines {
			if line == "" || line != strings.TrimSpace(line) || line[0] == '#' || line[0] == ';' || strings.Contains(line, "\n") || !strings.Contains(string(data), line) {
				t.Errorf("a line is %q", line)
			}
		}
		enough, calls := errors.New("enough"), 0
		err := Ini(data, func(section, key, value string) error {
			if calls++; strings.Contains(section+key+value, "\n") || strings.Contains(key, "=") || key != strings.TrimSpace(key) || value != strings.TrimSpace(value) {
				t.Errorf("[%s] %q = %q", section, key, value)
			}
			return enough
		})
		if calls > 1 || (calls == 1) != errors.Is(err, enough) {
			t.Errorf("after an error there are %d calls, and %v", calls, err)
		}
		if joined := Joined(data); len(joined) > strings.Count(string(data), "\n")+1 || slices.ContainsFunc(joined, func(l string) bool { return strings.Contains(l, "\n") }) {
			t.Errorf("joined: %q", joined)
		}
	})
}

// FuzzProcess: whatever a process calls itself, and whatever networkd has written, there is no
// panic, and no name is without its number.
func FuzzProcess(f *testing.F) {
	f.Add([]byte("ip\n"), []byte("Name:\tip\nUid:\t0\t0\t0\t0\nNSpid:\t264\n"), []byte("264 (ip) a) R 1 264 264 0 -1 4194308 80 0"), []byte("0000 0 264 0\n"), []byte("ADMIN_STATE=configured\nNETWORK_FILE=/etc/x\n"))
	f.Add([]byte(") (\x1b[2J"), []byte("Uid:\nNSpid:\t4711\t264\nNSpid:"), []byte("264 (ip"), []byte("\n 0"), []byte("="))
	f.Fuzz(func(t *testing.T, comm, status, stat, sockets, link []byte) {
		h := &Host{Root: t.TempDir()}
		hosttest.Files(t, h.Root, map[string]string{"/proc/264/comm": string(comm), "/proc/264/status": string(status), "/proc/264/stat": string(stat),
			"/proc/thread-self/net/netlink": string(sockets), "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\n", NetworkdLinks + "/3": string(link)})
		if name, _ := h.RouteSocketOwner(264); name != "" && !strings.Contains(name, "process 264") {
			t.Errorf("the owner is %q", name)
		}
		state, file, err := h.NetworkdLink(3)
		if err != nil || strings.Contains(string(state)+file, "\n") {
			t.Errorf("the link is %q by %q, %v", state, file, err)
		}
	})
}

// FuzzLogEntry: whatever key and value an entry has, its fields have names that journald takes and
// that mean nothing to it, and nothing in the entry acts on a terminal.
func FuzzLogEntry(f *testing.F) {
	f.Add("nic", "multinic1", "change")
	f.Add("MESSAGE", hostile.Text, "_pid")
	f.Add("priority\nx", "a\nPRIORITY=0", "")
	f.Add("", "\xff\x00", "code")
	f.Add("nic", "\x7f", "\x7f")
	name := regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)
	f.Fuzz(func(t *testing.T, key, value, group string) {
		send := func(message string, _ journal.Priority, fields map[string]string) error {
			for k, v := range fields {
				if !name.MatchString(k) || slices.Contains([]string{"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "CODE_FILE"}, k) {
					t.Errorf("a field is called %q", k)
				}
				if strings.ContainsFunc(v, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }) {
					t.Errorf("%s is %q", k, v)
				}
			}
			if strings.ContainsFunc(message, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("the message is %q", message)
			}
			return nil
		}
		log := slog.New(newJournalHandler(send, slog.DiscardHandler, slog.LevelDebug))
		log.Info("something happened", key, value)
		log.With("err", errors.New(value)).WithGroup(group).Error("it failed", key, slog.GroupValue(slog.String(value, key)))
		var stderr bytes.Buffer
		slog.New(LogHandler(&stderr, slog.LevelDebug)).Info("something happened", key, value)
		if line, whole := strings.CutSuffix(stderr.String(), "\n"); !whole || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("on standard error it is %q", stderr.String())
		}
	})
}
