package fleet

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/terminal"
	"multinicd/internal/terminal/layout"
	"multinicd/internal/web"
)

// mostEvents is how many of the last events are shown.
const mostEvents = 8

// PrintNode writes what is known of one node, as table, json or yaml.
func PrintNode(w io.Writer, output string, d web.Detail, missing []string, now time.Time) error {
	if output == "json" || output == "yaml" {
		return Encode(w, output, d)
	}
	return terminal.Print(w, NodeScreen(terminal.Plain(d), missing, terminal.ScreenOf(w).Page(false), now))
}

// NodeScreen is one node for a person: its NICs, those first that are not as wanted, its conditions,
// the last events, and the rest of what its page has.
func NodeScreen(d web.Detail, missing []string, p layout.Page, now time.Time) string {
	var b strings.Builder
	head := d.Node + ": " + marked(d.State, cmp.Or(d.State, noState))
	if d.NICs != "" {
		head += ", " + d.NICs + " NICs"
	}
	if d.Reason != "" && d.Ready != "True" {
		head += ", " + d.Reason
	}
	if d.Version != "" {
		head += ", multinicd " + d.Version
	}
	b.WriteString(p.Wrap("", "    ", head))
	if d.Message != "" {
		b.WriteString(p.Item(2, d.Message))
	}
	b.WriteString(nodeNICs(d.Interfaces, p, now) + nodeConditions(d.Conditions, d.Message, p, now) + nodeEvents(d.Events, p, now))
	facts := slices.Concat(d.Facts, d.Rollout, d.Token)
	if len(facts) > 0 {
		b.WriteString("\n")
	}
	for _, f := range facts {
		text := f.Text
		if f.At != 0 {
			text = strings.TrimPrefix(text+", "+ago(f.At, now), ", ")
		}
		b.WriteString(p.Item(0, layout.Faint(f.Name+":")+" "+text))
	}
	for _, m := range missing {
		b.WriteString(p.Item(0, layout.Doubt(m)))
	}
	return b.String()
}

func ago(at int64, now time.Time) string {
	t := time.Unix(at, 0)
	if t.After(now) {
		return t.UTC().Format(time.RFC3339)
	}
	return age(&t, now) + " ago"
}

func nodeNICs(nics []web.NIC, p layout.Page, now time.Time) string {
	if len(nics) == 0 {
		return ""
	}
	order := map[string]int{string(v1.StateFailed): 0, string(v1.StatePending): 1, string(v1.StateInProgress): 2, string(v1.StateConfigured): 4}
	sorted := slices.Clone(nics)
	slices.SortStableFunc(sorted, func(a, b web.NIC) int { return cmp.Compare(order[a.State], order[b.State]) })
	rows := [][]string{{"NIC", "MAC", "STATUS", "THERE"}}
	for _, n := range sorted {
		state := n.State
		if n.Reason != "" && n.Reason != n.State {
			state += " " + n.Reason
		}
		rows = append(rows, []string{dash(n.Name), n.MAC, marked(n.State, cmp.Or(state, noState)), strings.Join(n.There, " ")})
	}
	lines := layout.Table(rows)
	var b strings.Builder
	b.WriteString("\n" + layout.Faint(lines[0]) + "\n")
	for i, n := range sorted {
		b.WriteString(lines[i+1] + "\n")
		if r := n.Repair; r != nil && n.Reason != v1.ReasonDriftFighting {
			count := ""
			if r.Count > 1 {
				count = fmt.Sprintf(" (repair %d)", r.Count)
			}
			b.WriteString(p.Item(2, "put back "+ago(r.At, now)+count+": "+r.About))
		}
		if n.State == string(v1.StateConfigured) && !n.Drifts {
			continue
		}
		if n.Message != "" {
			b.WriteString(p.Item(2, n.Message))
		}
		if n.Wanted != nil {
			b.WriteString(p.Item(2, "wanted: "+cmp.Or(strings.Join(n.Wanted, ", "), "the link up, and no more")))
		} else {
			b.WriteString(p.Item(2, "the object does not name it"))
		}
		if n.Advice != "" {
			b.WriteString(p.Item(2, "-> "+n.Advice))
		}
	}
	return b.String()
}

func nodeConditions(conditions []web.Condition, ready string, p layout.Page, now time.Time) string {
	if len(conditions) == 0 {
		return ""
	}
	rows := [][]string{{"CONDITION", "STATUS", "REASON", "SINCE"}}
	for _, c := range conditions {
		rows = append(rows, []string{c.Type, c.Status, dash(c.Reason), ago(c.Since, now)})
	}
	lines := layout.Table(rows)
	var b strings.Builder
	b.WriteString("\n" + layout.Faint(lines[0]) + "\n")
	for i, c := range conditions {
		b.WriteString(lines[i+1] + "\n")
		if c.Message != "" && c.Message != ready && c.Type != v1.ConditionReady { // the head has it
			b.WriteString(p.Item(2, c.Message))
		}
	}
	return b.String()
}

func nodeEvents(events []web.Event, p layout.Page, now time.Time) string {
	if len(events) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n" + layout.Faint("LAST CHANGES") + "\n")
	for _, e := range events[:min(len(events), mostEvents)] {
		text := fmt.Sprintf("%s  %s: %s", ago(e.Last, now), e.Reason, e.Message)
		if e.Count > 1 {
			text += fmt.Sprintf(" (%d times)", e.Count)
		}
		if e.Type == "Warning" {
			text = layout.Doubt(text)
		}
		b.WriteString(p.Item(0, text))
	}
	return b.String()
}
