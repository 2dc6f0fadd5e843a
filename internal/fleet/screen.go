package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/terminal"
	"multinicd/internal/terminal/layout"
)

// Screen is the fleet for a person at a terminal: how many nodes there are in each state, then a line
// for each node, those that are not ready first, and below these what they say. Columns that a narrow
// terminal has no room for are left out.
func Screen(nodes []Node, p layout.Page, now time.Time) string {
	sorted := slices.Clone(nodes)
	slices.SortStableFunc(sorted, func(a, b Node) int { return cmp.Compare(a.gravity(), b.gravity()) })
	var b strings.Builder
	b.WriteString(p.Item(0, summary(sorted)))
	if len(sorted) == 0 {
		return b.String()
	}
	lines := fitting(sorted, p.Width, now)
	b.WriteString("\n" + layout.Faint(lines[0]) + "\n")
	for i, n := range sorted {
		b.WriteString(lines[i+1] + "\n")
		if n.gravity() < ready && n.Message != "" && !n.NoObject {
			b.WriteString(p.Item(2, terminal.Line(n.Message, 500)))
		}
	}
	return b.String()
}

// The order of nodes on a screen.
const (
	failed = iota
	unsettled
	objectless
	ready
)

func (n Node) gravity() int {
	switch {
	case n.NoObject:
		return objectless
	case n.State == v1.StateFailed:
		return failed
	case n.Ready != "True":
		return unsettled
	}
	return ready
}

// summary is such as "5 nodes: 1 Failed, 1 Pending, 3 Configured".
func summary(nodes []Node) string {
	count := map[string]int{}
	for _, n := range nodes {
		count[n.shownState()]++
	}
	noun := "nodes"
	if len(nodes) == 1 {
		noun = "node"
	}
	var parts []string
	for _, state := range []string{string(v1.StateFailed), string(v1.StatePending), string(v1.StateInProgress), noState, string(v1.StateConfigured), "no object"} {
		if count[state] > 0 {
			parts = append(parts, marked(state, fmt.Sprintf("%d %s", count[state], state)))
			delete(count, state)
		}
	}
	for _, n := range count { // words of nobody whom we know
		parts = append(parts, fmt.Sprintf("%d in another state", n))
	}
	return strings.TrimSuffix(fmt.Sprintf("%d %s: %s", len(nodes), noun, strings.Join(parts, ", ")), ": ")
}

// noState is the state of a node of which nothing has been said yet.
const noState = "no state yet"

func (n Node) shownState() string { return cmp.Or(terminal.Line(n.stateText(), 40), noState) }

func marked(state, text string) string {
	switch state {
	case string(v1.StateFailed):
		return layout.Bad(text)
	case string(v1.StateConfigured):
		return layout.Good(text)
	case "no object":
		return text
	}
	return layout.Doubt(text)
}

// column is one of the screen's.
type column struct {
	head string
	of   func(n Node) string
	need int // columns of the greatest need are left out first; 0: never
}

// fitting are the lines of the table with as many columns as fit.
func fitting(nodes []Node, width int, now time.Time) []string {
	some := func(of func(n Node) string) int {
		if slices.ContainsFunc(nodes, func(n Node) bool { return of(n) != "" }) {
			return 2
		}
		return 9 // an empty column is the first to go
	}
	drift := func(n Node) string { return n.driftText(now) }
	columns := []column{
		{"NODE", func(n Node) string { return n.Node }, 0},
		{"STATE", func(n Node) string { return n.shownState() }, 0},
		{"READY", func(n Node) string { return n.Ready }, 4},
		{"REASON", func(n Node) string {
			if n.Ready == "True" {
				return ""
			}
			return n.Reason
		}, 1},
		{"NICS", func(n Node) string { return n.nicsText() }, 1},
		{"REPORTED", func(n Node) string { return age(n.Changed, now) }, 3},
		{"DRIFT", drift, some(drift)},
		{"VERSION", func(n Node) string { return n.Version }, 5},
		{"CREDENTIAL", func(n Node) string { return age(n.Credential, now) }, 6},
	}
	for {
		lines := tabled(nodes, columns)
		widest := 0
		for _, l := range lines {
			widest = max(widest, layout.Columns(l))
		}
		if width <= 0 || widest <= width {
			return lines
		}
		least := 0
		for i, c := range columns {
			if c.need > columns[least].need {
				least = i
			}
		}
		if columns[least].need <= 1 {
			return lines // names and reasons are not left out, however narrow it is
		}
		columns = slices.Delete(columns, least, least+1)
	}
}

func tabled(nodes []Node, columns []column) []string {
	rows := make([][]string, 0, len(nodes)+1)
	head := make([]string, len(columns))
	for i, c := range columns {
		head[i] = c.head
	}
	rows = append(rows, head)
	for _, n := range nodes {
		row := make([]string, len(columns))
		for i, c := range columns {
			row[i] = dash(terminal.Line(c.of(n), 200))
			if c.head == "STATE" {
				row[i] = marked(row[i], row[i])
			}
		}
		rows = append(rows, row)
	}
	return layout.Table(rows)
}

// Lines are a line for each node without what changes by itself, for who watches in a pipe.
func Lines(nodes []Node) string {
	var b strings.Builder
	for _, n := range nodes {
		cells := []string{n.Node, n.shownState(), n.Ready, n.Reason, n.nicsText(), strings.Join(n.Drift, ","), n.Version}
		for i := range cells {
			cells[i] = dash(terminal.Line(cells[i], 200))
		}
		if n.gravity() < ready {
			cells = append(cells, terminal.Line(n.Message, 500))
		}
		b.WriteString(strings.TrimRight(strings.Join(cells, "  "), " ") + "\n")
	}
	return b.String()
}
