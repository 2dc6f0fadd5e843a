package migration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"multinicd/internal/legacy/migrate"
)

func TestProgressIsOneLineOnATerminalAndManyElsewhere(t *testing.T) {
	events := []migrate.Event{
		{What: "waiting", Message: "the lock is held"},
		{Node: "worker-1", What: "written", Message: "waiting until the node has settled", Total: 2},
		{Node: "worker-\x1b[31m2", What: "skipped", Message: "MACTwice: m", Ended: true, Total: 2},
		{Node: "worker-1", What: "handed over", Ended: true, Total: 2},
	}
	var out strings.Builder
	lines := newProgress(&out, "run")
	for _, e := range events {
		lines.say(e)
	}
	lines.end()
	const want = "waiting: the lock is held\nworker-1: written: waiting until the node has settled\nworker-\\u001b[31m2: skipped: MACTwice: m\nworker-1: handed over\n"
	if out.String() != want {
		t.Errorf("without a terminal:\n%q, want\n%q", out.String(), want)
	}
	out.Reset()
	far := &recorded{}
	shown := &progress{out: &out, far: far}
	for _, e := range events {
		shown.say(e)
	}
	shown.end()
	if got := out.String(); got != "waiting: the lock is held\n" || far.above != 1 {
		t.Errorf("above the line: %q, printed above it %d times", got, far.above)
	}
	if want := []string{"1/2 worker-\x1b[31m2", "2/2 worker-1"}; !slices.Equal(far.set, want) || !far.ended {
		t.Errorf("the line was set to %q, want %q; ended: %t", far.set, want, far.ended)
	}
}

// recorded stands for the line on a terminal, which makes plain what it is told (internal/terminal).
type recorded struct {
	set   []string
	above int
	ended bool
}

func (r *recorded) Set(done, total int, now string) {
	r.set = append(r.set, fmt.Sprintf("%d/%d %s", done, total, now))
}
func (r *recorded) Above(print func()) { r.above++; print() }
func (r *recorded) End()               { r.ended = true }
