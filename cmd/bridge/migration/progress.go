package migration

import (
	"fmt"
	"io"
	"sync"

	"github.com/schollz/progressbar/v3"

	"multinicd/internal/legacy/migrate"
	"multinicd/internal/terminal"
)

// progress shows how far a migration is: a bar on a terminal, a line for each node elsewhere.
type progress struct {
	mu   sync.Mutex
	out  io.Writer
	name string
	bar  *progressbar.ProgressBar // nil without a terminal, and until it is known how much there is
	tty  io.Writer                // nil without a terminal
}

// newProgress prints to out. The bar goes to the terminal itself: what it writes is none of what
// others have written, and out would show its control characters as text.
func newProgress(out, tty io.Writer, name string) *progress {
	return &progress{out: out, tty: tty, name: name}
}

// say shows an event.
func (p *progress) say(e migrate.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tty == nil || !e.Ended && e.Node == "" {
		line := e.What
		if e.Node != "" {
			line = e.Node + ": " + line
		}
		if e.Message != "" {
			line += ": " + e.Message
		}
		fmt.Fprintln(p.out, terminal.Line(line, 500))
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions(e.Total, progressbar.OptionSetWriter(p.tty), progressbar.OptionSetDescription(p.name),
			progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true))
	}
	p.bar.ChangeMax(max(e.Total, 1))
	if e.Ended {
		_ = p.bar.Add(1) // more nodes than were thought of: the bar stays full
	}
}

// end leaves the bar as it is, and begins a new line.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Exit()
		fmt.Fprintln(p.out)
	}
}
