package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/terminal/layout"
	"multinicd/plan"
)

// Table is the status for a person: what is wrong first, then a line for each NIC, with what differs
// below the line. Why something is said is there only on a verbose page.
func (s Node) Table(p layout.Page) string {
	var b strings.Builder
	b.WriteString(p.Wrap("", "    ", s.Node+": "+s.colour()(s.line())))
	if s.Message != "" && s.State != "Waiting" && !strings.HasPrefix(s.line(), s.Message) {
		b.WriteString(p.Item(2, s.Message))
	}
	for _, problem := range s.problems() {
		b.WriteString(p.Item(2, layout.Bad(problem)))
	}
	for _, n := range s.Notes {
		b.WriteString(p.Item(2, "note: "+n))
	}
	b.WriteString(s.nics(p))
	if about := s.about(p); about != "" {
		b.WriteString("\n" + about)
	}
	return b.String()
}

// colour is how the state of the whole is marked.
func (s Node) colour() func(string) string {
	switch {
	case s.State == string(v1.StateFailed):
		return layout.Bad
	case s.State == string(v1.StateConfigured) && !s.Held && s.Source.Error == "":
		return layout.Good
	}
	return layout.Doubt
}

// problems are those of the node that no NIC has.
func (s Node) problems() []string {
	out := s.Credential.Problems()
	for _, p := range s.Down {
		out = append(out, p.String())
	}
	if s.NodeDoubt != "" {
		out = append(out, "the name: "+s.NodeDoubt)
	}
	if c := s.Credential; c != nil && c.Trouble != "" {
		out = append(out, "the credential cannot be renewed: "+c.Trouble)
	}
	return out
}

// about is what is known of the node beside its NICs.
func (s Node) about(p layout.Page) string {
	var b strings.Builder
	if !p.Verbose {
		short := "backend " + cmp.Or(s.Backend, "none") + "; status -v says why, and more"
		return layout.Faint(strings.TrimSuffix(p.Item(0, short), "\n")) + "\n"
	}
	if s.NodeEvidence != "" {
		b.WriteString(p.Item(0, fmt.Sprintf("node %s (%s)", s.Node, s.NodeEvidence)))
	}
	b.WriteString(p.Item(0, fmt.Sprintf("backend %s (seen at the start of the service: %s)", cmp.Or(s.Backend, "none"), strings.Join(s.Evidence, "; "))))
	if s.Credential != nil {
		b.WriteString(p.Item(0, s.Credential.String()))
	}
	b.WriteString(p.Item(0, "multinicd "+s.Version))
	return b.String()
}

// gravity is the order of the NICs: what is wrong comes first.
var gravity = map[v1.State]int{v1.StateFailed: 0, v1.StatePending: 1, v1.StateInProgress: 2, v1.StateConfigured: 3}

func (s Node) nics(p layout.Page) string {
	if len(s.NICs) == 0 {
		return ""
	}
	sorted := slices.Clone(s.NICs)
	slices.SortStableFunc(sorted, func(a, b NIC) int { return cmp.Compare(gravity[a.Status], gravity[b.Status]) })
	rows := [][]string{{"NIC", "MAC", "STATUS", "THERE"}}
	for _, n := range sorted {
		rows = append(rows, []string{n.Name, n.MAC, n.stateText(), ""})
	}
	lines := layout.Table(rows)
	// What there is has the rest of the line. The column begins behind the longest of the others.
	begin := 0
	for _, l := range lines[1:] {
		begin = max(begin, layout.Columns(l)+2)
	}
	begin = max(begin, layout.Columns(strings.TrimSuffix(lines[0], "THERE")))
	var b strings.Builder
	b.WriteString("\n" + layout.Faint(lines[0]) + "\n")
	for i, n := range sorted {
		line := lines[i+1]
		if there := p.Fit(p.Width-begin, n.Have.words(n.Name)); there != "" {
			line += strings.Repeat(" ", begin-layout.Columns(line)) + there
		}
		b.WriteString(line + "\n" + n.details(p, s.Backend))
	}
	return b.String()
}

// stateText is the status, and the reason if that says more.
func (n NIC) stateText() string {
	if n.Status == v1.StateConfigured && n.Reason == string(plan.Configured) {
		return layout.Good(n.Reason)
	}
	text := string(n.Status)
	if n.Reason != "" && n.Reason != text {
		text += " " + n.Reason
	}
	switch n.Status {
	case v1.StateFailed:
		return layout.Bad(text)
	case v1.StateConfigured:
		return layout.Good(text)
	}
	return layout.Doubt(text)
}

// details are what the line of a NIC has no place for; usual is the backend of which nothing needs
// to be said.
func (n NIC) details(p layout.Page, usual string) string {
	var b strings.Builder
	say := func(format string, args ...any) { b.WriteString(p.Item(2, fmt.Sprintf(format, args...))) }
	message := n.Message
	if len(n.Difference) > 0 && message == n.Difference[0] {
		message = "" // it follows
	}
	if message != "" && message != configuredMessage {
		say("%s", message)
	}
	for _, diff := range n.Difference {
		if !strings.Contains(message, diff) {
			say("%s", layout.Doubt(diff))
		}
	}
	if !n.NextTry.IsZero() {
		say("tried again at %s, or when the object changes", n.NextTry.UTC().Format(time.RFC3339))
	}
	if r := n.LastRepair; r != nil && n.Reason != v1.ReasonDriftFighting { // which says so already
		times := ""
		if r.Count > 1 {
			times = fmt.Sprintf(" (repair %d)", r.Count)
		}
		say("put back at %s%s: %s", r.At.UTC().Format(time.RFC3339), times, r.About)
	}
	if n.Have != nil && n.Have.Link != n.Name && message == "" {
		say("called %s now", n.Have.Link)
	}
	if !p.Verbose {
		return b.String()
	}
	if n.Want.Link != "" {
		say("wanted: %s", &n.Want)
	}
	if n.Have != nil {
		say("there: %s", n.Have)
	}
	if !n.LastConfigured.IsZero() {
		say("configured at %s", n.LastConfigured.UTC().Format(time.RFC3339))
	}
	for _, why := range []string{plan.FoundThen(n.From), n.Claimed} {
		if why != "" {
			say("%s", why)
		}
	}
	if n.Backend != "" && (n.Backend != usual || len(n.Evidence) > 0) {
		say("backend %s (seen when it was chosen: %s)", n.Backend, strings.Join(n.Evidence, "; "))
	}
	return b.String()
}
