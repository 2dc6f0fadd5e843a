package terminal

import (
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"multinicd/internal/terminal/layout"
)

// Screen is what a writer leads to.
type Screen struct {
	Terminal      bool // somebody looks at it; otherwise it is a pipe or a file
	Width, Height int  // in columns and lines; 0: no terminal
	Colour        bool
}

// Page is how a text is laid out for the screen.
func (s Screen) Page(verbose bool) layout.Page { return layout.Page{Width: s.Width, Verbose: verbose} }

// usual is the size of a terminal that does not tell its own, such as a serial line.
var usual = unix.Winsize{Row: 24, Col: 80}

// ScreenOf looks what w leads to now: a window may be made wider. w may be a Writer. NO_COLOR
// (no-color.org) and TERM=dumb leave the colours out.
func ScreenOf(w io.Writer) Screen {
	if own, ok := w.(*writer); ok {
		w = own.to
	}
	f, ok := w.(interface{ Fd() uintptr })
	if !ok {
		return Screen{}
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return Screen{}
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 || size.Row == 0 {
		size = &usual
	}
	colour := os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return Screen{Terminal: true, Width: int(size.Col), Height: int(size.Row), Colour: colour}
}

// Print writes a text with marks of package layout. On a terminal they become colours, elsewhere
// nothing. Everything else is written as by w. Only a text that was made of plain texts (Plain) may
// be printed, since the marks of others would count, too.
func Print(w io.Writer, text string) error {
	own, ok := w.(*writer)
	if !ok || !ScreenOf(w).Colour {
		_, err := io.WriteString(w, layout.Unmarked(text))
		return err
	}
	_, err := io.WriteString(own.to, painted(text))
	return err
}

// colours are the sequences of ECMA-48 for the marks. They are of the sixteen colours that every
// terminal has, and that its user has chosen.
var colours = map[rune]string{
	layout.MarkBad: "\x1b[31m", layout.MarkDoubt: "\x1b[33m", layout.MarkGood: "\x1b[32m", layout.MarkFaint: "\x1b[2m", layout.MarkEnd: "\x1b[0m",
}

// painted has colours in place of the marks, and escapes in place of what cannot be printed.
func painted(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		i := strings.IndexFunc(text, layout.IsMark)
		if i < 0 {
			i = len(text)
		}
		b.WriteString(escaped(text[:i], "\n\t"))
		if text = text[i:]; text != "" {
			b.WriteString(colours[rune(text[0])])
			text = text[1:]
		}
	}
	return b.String()
}
