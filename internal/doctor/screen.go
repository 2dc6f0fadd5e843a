package doctor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"multinicd/internal/terminal/layout"
)

// Text is for a person: how many findings need something done, then each of them with its evidence
// and its advice, then a line each for how it is. On a verbose page these have their evidence too.
func Text(list []Finding, p layout.Page) string {
	var b strings.Builder
	b.WriteString(p.Item(0, summary(list)))
	for _, f := range list {
		subject := f.Subject
		if subject != "" {
			subject = " " + subject
		}
		head := fmt.Sprintf("%-8s", f.Severity)
		switch f.Severity {
		case Problem:
			head = layout.Bad(head)
		case Warning:
			head = layout.Doubt(head)
		case Info:
			head = layout.Faint(head)
		}
		head += " " + f.ID + subject
		said := f.Evidence
		if !p.Verbose {
			said = f.short()
		}
		if f.Severity == Info && !p.Verbose {
			b.WriteString(p.Wrap("", indent+"  ", head+": "+said))
		} else {
			b.WriteString(head + "\n" + p.Wrap(indent, indent+"  ", said))
		}
		if f.Advice != "" {
			b.WriteString(p.Wrap(indent+"-> ", indent+"     ", f.Advice))
		}
	}
	return b.String()
}

// whoSays are the findings whose evidence says who does something, and then why we think so. The why
// begins at one of becauses.
var (
	whoSays  = []string{"backend", "link-owner", "claimed-too", "node-name"}
	becauses = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`: |; | \(|, taken over`) })
)

// short is the evidence without the why.
func (f Finding) short() string {
	if at := becauses().FindStringIndex(f.Evidence); at != nil && slices.Contains(whoSays, f.ID) && f.Severity == Info {
		return f.Evidence[:at[0]]
	}
	return f.Evidence
}

// indent is as wide as a severity and a space.
const indent = "         "

func summary(list []Finding) string {
	n := map[Severity]int{}
	for _, f := range list {
		n[f.Severity]++
	}
	var parts []string
	for _, s := range []struct {
		Severity
		mark func(string) string
	}{{Problem, layout.Bad}, {Warning, layout.Doubt}} {
		switch {
		case n[s.Severity] == 1:
			parts = append(parts, s.mark("1 "+string(s.Severity)))
		case n[s.Severity] > 1:
			parts = append(parts, s.mark(fmt.Sprintf("%d %ss", n[s.Severity], s.Severity)))
		}
	}
	if parts == nil {
		return layout.Good("nothing to be done")
	}
	return strings.Join(parts, ", ")
}
