package migration

import (
	"fmt"
	"io"
	"sync"

	"multinicd/internal/legacy/migrate"
	"multinicd/internal/terminal"
)

// progress shows how far a migration is: one line on a terminal, a line for each node elsewhere.
type progress struct {
	out io.Writer
	far line // nil without a terminal

	mu   sync.Mutex
	done int
}

// line is a terminal.Progress.
type line interface {
	Set(done, total int, now string)
	Above(print func())
	End()
}

// newProgress shows it on out. What the migration is waiting for stands above the line.
func newProgress(out io.Writer, name string) *progress {
	p := &progress{out: out}
	if terminal.ScreenOf(out).Terminal {
		p.far = terminal.NewProgress(out, name)
	}
	return p
}

// say shows an event.
func (p *progress) say(e migrate.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	words := e.What
	if e.Node != "" {
		words = e.Node + ": " + words
	}
	if e.Message != "" {
		words += ": " + e.Message
	}
	print := func() { fmt.Fprintln(p.out, terminal.Line(words, 500)) }
	switch {
	case p.far == nil:
		print()
	case !e.Ended && e.Node == "":
		p.far.Above(print)
	case e.Ended:
		p.done++
		p.far.Set(p.done, max(e.Total, p.done), e.Node) // there may be more nodes than were thought of
	}
}

// end takes the line away: what became of the nodes is printed then.
func (p *progress) end() {
	if p.far != nil {
		p.far.End()
	}
}
