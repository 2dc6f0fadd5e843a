package terminal

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"multinicd/internal/terminal/layout"
)

// Watch shows what look gives, and shows it anew when it has changed, until ctx ends. On a terminal
// the lines that have changed are written anew in their places, and the last text stays when Watch
// returns. In a pipe the first text is followed by the lines that are new, each with the time.
//
// There is at most one look each Every. Nothing is written when nothing has changed.
type Watch struct {
	Every time.Duration
	// Wake says that a look is worth it. nil: each time. The channel is never closed.
	Wake <-chan struct{}
	// Stale is after how long a look is worth it without Wake, since ages are in the text.
	Stale time.Duration
	Look  func(Screen) string
	now   func() time.Time
}

// Sequences of ECMA-48 and xterm: another screen that is left as it was, the cursor, the rest of a
// line and of the screen.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// Run returns the error of writing, or nil at the end of ctx.
func (o Watch) Run(ctx context.Context, w io.Writer) error {
	if o.now == nil {
		o.now = time.Now
	}
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	var p picture
	screen := ScreenOf(w)
	if screen.Terminal {
		if _, err := io.WriteString(raw(w), enterScreen); err != nil {
			return err
		}
		defer func() { _ = p.leave(w) }()
	}
	looked, woken := time.Time{}, true
	for {
		now := o.now()
		if is := ScreenOf(w); is != screen {
			screen, woken, p.lines = is, true, nil
			p.whole = true
		}
		if o.Wake == nil || woken || o.Stale > 0 && now.Sub(looked) >= o.Stale {
			looked, woken = now, false
			if err := p.show(w, screen, o.Look(screen), now); err != nil {
				return err
			}
		}
		// After a look the next one waits for the tick, however often it is woken.
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if ctx.Err() != nil { // both were ready
				return nil
			}
		}
		select {
		case <-o.Wake: // never, where it is nil
			woken = true
		default:
		}
	}
}

// raw is the writer behind a Writer: sequences go there, texts never.
func raw(w io.Writer) io.Writer {
	if own, ok := w.(*writer); ok {
		return own.to
	}
	return w
}

// picture is what was shown last.
type picture struct {
	text  string
	lines []string
	whole bool // nothing of what is on the screen counts
	shown bool
}

func (p *picture) show(w io.Writer, s Screen, text string, now time.Time) error {
	if p.shown && text == p.text && !p.whole {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	before, first := p.lines, !p.shown
	p.text, p.lines, p.shown = text, lines, true
	if !s.Terminal {
		if first {
			return Print(w, text)
		}
		return Print(w, news(before, lines, now))
	}
	return p.redraw(w, s, before)
}

// redraw writes the lines that have changed, all at once.
func (p *picture) redraw(w io.Writer, s Screen, before []string) error {
	var b strings.Builder
	lines := p.lines
	if room := s.Height - 1; len(lines) > room && room > 0 {
		rest := fmt.Sprintf("... and %d lines more", len(lines)-room+1)
		lines = append(append([]string(nil), lines[:room-1]...), rest)
	}
	p.lines = lines
	if p.whole {
		b.WriteString("\x1b[H" + clearBelow)
		before, p.whole = nil, false
	}
	for i, line := range lines {
		if i < len(before) && before[i] == line {
			continue
		}
		line = layout.Cut(line, s.Width)
		fmt.Fprintf(&b, "\x1b[%d;1H%s%s", i+1, s.paint(line), clearLine)
	}
	if len(before) > len(lines) {
		fmt.Fprintf(&b, "\x1b[%d;1H%s", len(lines)+1, clearBelow)
	}
	_, err := io.WriteString(raw(w), b.String())
	return err
}

// leave gives the terminal back, with the last text on it.
func (p *picture) leave(w io.Writer) error {
	if _, err := io.WriteString(raw(w), leaveScreen); err != nil {
		return err
	}
	return Print(w, p.text)
}

func (s Screen) paint(line string) string {
	if !s.Colour {
		return escaped(layout.Unmarked(line), "\t")
	}
	return painted(line)
}

// news are the lines that were not there before, each with the time. Empty lines are none.
func news(before, lines []string, now time.Time) string {
	had := map[string]int{}
	for _, l := range before {
		had[l]++
	}
	var b strings.Builder
	for _, l := range lines {
		if had[l]--; had[l] < 0 && l != "" {
			b.WriteString(now.UTC().Format("15:04:05Z") + " " + l + "\n")
		}
	}
	return b.String()
}
