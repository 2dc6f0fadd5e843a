package host

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/google/go-cmp/cmp"
)

type entry struct {
	Message  string
	Priority journal.Priority
	Fields   map[string]string
}

func TestJournalEntriesCarryFields(t *testing.T) {
	for _, c := range []struct {
		name string
		log  func(*slog.Logger)
		want []entry
	}{
		{"an attribute is a field, and in the message", func(l *slog.Logger) { l.Info("changed a NIC", "nic", "multinic1", "generation", 3) },
			[]entry{{"changed a NIC nic=multinic1 generation=3", journal.PriInfo, map[string]string{"NIC": "multinic1", "GENERATION": "3"}}}},
		{"an entry without attributes is its message", func(l *slog.Logger) { l.Warn("stopping") },
			[]entry{{"stopping", journal.PriWarning, map[string]string{}}}},
		{"what the logger carries comes with each entry", func(l *slog.Logger) { l = l.With("node", "n1"); l.Error("one", "mac", "m"); l.Error("two") },
			[]entry{{"one node=n1 mac=m", journal.PriErr, map[string]string{"NODE": "n1", "MAC": "m"}}, {"two node=n1", journal.PriErr, map[string]string{"NODE": "n1"}}}},
		{"an error of several lines is one line in the message and whole in its field", func(l *slog.Logger) { l.Error("failed", "err", errors.New("a\nb")) },
			[]entry{{`failed err="a\nb"`, journal.PriErr, map[string]string{"ERR": "a\nb"}}}},
		{"what a terminal would act on is escaped", func(l *slog.Logger) { l.Info("m", "nic", "a\x1b[2J\u009b\u202e") },
			[]entry{{`m nic="a\x1b[2J\u009b\u202e"`, journal.PriInfo, map[string]string{"NIC": `a\u001b[2J\u009b\u202e`}}}},
		{"a DEL, which slog lets through, is escaped too", func(l *slog.Logger) { l.Info("m", "nic", "a\x7f") },
			[]entry{{`m nic=a\u007f`, journal.PriInfo, map[string]string{"NIC": `a\u007f`}}}},
		{"what says nothing is left out", func(l *slog.Logger) { l.With("named", "").Info("m", "reason", "", "err", error(nil), "count", 0) },
			[]entry{{"m count=0", journal.PriInfo, map[string]string{"COUNT": "0"}}}},
		{"groups are prefixes", func(l *slog.Logger) {
			l.WithGroup("change").With("step", 2).Info("did", slog.Group("file", "name", "x"), "took", time.Second)
		},
			[]entry{{"did change.step=2 change.file.name=x change.took=1s", journal.PriInfo, map[string]string{"CHANGE_STEP": "2", "CHANGE_FILE_NAME": "x", "CHANGE_TOOK": "1s"}}}},
		{"a name that journald keeps for itself is in the message only", func(l *slog.Logger) { l.Info("m", "priority", 0, "_pid", 1, "syslog_facility", 2, "9", 3) },
			[]entry{{"m priority=0 _pid=1 syslog_facility=2 9=3", journal.PriInfo, map[string]string{"PID": "1"}}}},
		{"what is below the level is not sent", func(l *slog.Logger) { l.Debug("noise") }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []entry
			send := func(message string, p journal.Priority, fields map[string]string) error {
				got = append(got, entry{message, p, fields})
				return nil
			}
			c.log(slog.New(newJournalHandler(send, slog.DiscardHandler, slog.LevelInfo)))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("entries differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnEntryThatJournaldRefusesGoesToStandardError(t *testing.T) {
	var stderr bytes.Buffer
	refuse := func(string, journal.Priority, map[string]string) error { return errors.New("no socket") }
	log := slog.New(newJournalHandler(refuse, slog.NewTextHandler(&stderr, nil), slog.LevelInfo))
	log.With("node", "n1").Info("changed a NIC", "nic", "multinic1")
	if got := stderr.String(); !strings.Contains(got, `msg="changed a NIC" node=n1 nic=multinic1`) {
		t.Errorf("got %q on standard error, want the entry with its attributes", got)
	}
}

func TestOutsideOfAServiceLogsAreText(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "")
	var stderr bytes.Buffer
	slog.New(LogHandler(&stderr, slog.LevelInfo)).Info("starting", "node", "n1")
	if got := stderr.String(); !strings.Contains(got, "msg=starting node=n1") {
		t.Errorf("got %q, want a line of text", got)
	}
}
