package hosttest

import (
	"strings"
	"testing"

	"multinicd/internal/terminal/layout"
)

// Screens gives a text as terminals of 80 and of 120 columns show it, with the evidence and without,
// and as a pipe has it, as files for Golden. No line that was wrapped is wider than its terminal,
// except for a word that is, and lines that begin with one of those in asIs.
func Screens(t *testing.T, name string, got map[string]string, text func(layout.Page) string, asIs ...string) {
	t.Helper()
	for file, page := range map[string]layout.Page{"80": {Width: 80}, "120": {Width: 120}, "80-v": {Width: 80, Verbose: true}, "pipe": {}} {
		screen := layout.Unmarked(text(page))
		got[name+"."+file+".txt"] = screen
		for line := range strings.Lines(screen) {
			line = strings.TrimSuffix(line, "\n")
			exact := !strings.Contains(strings.TrimLeft(line, " "), " ")
			for _, begin := range asIs {
				exact = exact || strings.HasPrefix(line, begin)
			}
			if page.Width > 0 && !exact && layout.Columns(line) > page.Width {
				t.Errorf("%s: a line has %d columns: %s", name, layout.Columns(line), line)
			}
		}
	}
}
