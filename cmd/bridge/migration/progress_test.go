package migration

import (
	"strings"
	"testing"

	"multinicd/internal/legacy/migrate"
)

func TestProgressIsABarOnATerminalAndLinesElsewhere(t *testing.T) {
	events := []migrate.Event{
		{What: "waiting", Message: "the lock is held"},
		{Node: "worker-1", What: "written", Message: "waiting until the node has settled", Total: 2},
		{Node: "worker-\x1b[31m2", What: "skipped", Message: "MACTwice: m", Ended: true, Total: 2},
		{Node: "worker-1", What: "handed over", Ended: true, Total: 2},
	}
	var out, tty strings.Builder
	lines := newProgress(&out, nil, "run")
	for _, e := range events {
		lines.say(e)
	}
	lines.end()
	const want = "waiting: the lock is held\nworker-1: written: waiting until the node has settled\nworker-\\u001b[31m2: skipped: MACTwice: m\nworker-1: handed over\n"
	if out.String() != want {
		t.Errorf("without a terminal:\n%q, want\n%q", out.String(), want)
	}
	out.Reset()
	bar := newProgress(&out, &tty, "run")
	for _, e := range events {
		bar.say(e)
	}
	bar.end()
	if got := out.String(); got != "waiting: the lock is held\n\n" {
		t.Errorf("beside the bar: %q", got)
	}
	if got := tty.String(); !strings.Contains(got, "run  50%") || !strings.Contains(got, "run 100%") || !strings.Contains(got, "2/2") || strings.Contains(got, "worker") {
		t.Errorf("the bar is %q", got)
	}
}
