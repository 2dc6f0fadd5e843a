package terminal

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"multinicd/internal/terminal/layout"
)

// Progress shows on a terminal how far something has come that takes longer than two seconds, in one
// line that is written anew in its place. Where there is no terminal it writes nothing.
//
// Its methods may be called from several goroutines.
type Progress struct {
	w     io.Writer
	what  string
	began time.Time
	stop  chan struct{}
	ended chan struct{}

	mu          sync.Mutex
	done, total int
	now         string
	drawn       bool
}

// patience is how long nothing is shown: what ends sooner needs no line.
const patience = 2 * time.Second

// NewProgress begins. w is the standard error, so that what is piped on has none of it. End must be
// called.
func NewProgress(w io.Writer, what string) *Progress {
	p := &Progress{w: w, what: what, began: time.Now(), stop: make(chan struct{}), ended: make(chan struct{})}
	if !ScreenOf(w).Terminal {
		close(p.ended)
		return p
	}
	go p.draw(patience, time.Second)
	return p
}

// Set says how far it has come, and what is at work now. A total of 0 is not known.
func (p *Progress) Set(done, total int, now string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.total, p.now = done, total, Line(now, 200)
}

// Above runs print, which writes lines to the same terminal, without the line of the progress in
// between.
func (p *Progress) Above(print func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	print()
}

// End takes the line away.
func (p *Progress) End() {
	select {
	case <-p.stop:
		return
	default:
	}
	close(p.stop)
	<-p.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

func (p *Progress) draw(wait, every time.Duration) {
	defer close(p.ended)
	begin := time.NewTimer(wait)
	defer begin.Stop()
	select {
	case <-p.stop:
		return
	case <-begin.C:
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		p.mu.Lock()
		s := ScreenOf(p.w)
		_, _ = io.WriteString(raw(p.w), "\r"+s.paint(p.line(s.Width, time.Since(p.began)))+clearLine) // it is only a line to look at
		p.drawn = true
		p.mu.Unlock()
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
	}
}

func (p *Progress) erase() {
	if p.drawn {
		_, _ = io.WriteString(raw(p.w), "\r"+clearLine)
		p.drawn = false
	}
}

// bar is how wide a bar is, in columns.
const bar = 20

// line is such as "trigger  [=====>              ] 3/10  12s  worker-3", no wider than the terminal.
func (p *Progress) line(width int, since time.Duration) string {
	parts := []string{p.what}
	if p.total > 0 {
		full := min(p.done, p.total) * bar / p.total
		shape := strings.Repeat("=", full)
		if full < bar {
			shape += ">" + strings.Repeat(" ", bar-full-1)
		}
		parts = append(parts, fmt.Sprintf("[%s] %d/%d", shape, p.done, p.total))
	}
	parts = append(parts, since.Truncate(time.Second).String())
	if p.now != "" {
		parts = append(parts, p.now)
	}
	return layout.Cut(strings.Join(parts, "  "), max(width-1, 10))
}
