package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"multinicd/internal/apply"
	"multinicd/internal/terminal/layout"
	"multinicd/plan"
)

// Given is one NIC that a cleanup gave back, or tried to.
type Given struct {
	Name    string        `json:"name"`
	MAC     string        `json:"macAddress"`
	Outcome apply.Outcome `json:"outcome"`
	Reason  string        `json:"reason,omitempty"`  // where it failed
	Message string        `json:"message,omitempty"` // where it failed, or the link was not touched
	Link    string        `json:"link,omitempty"`    // its name before
	Change  []string      `json:"change,omitempty"`  // what was changed on it, a line each
	Files   []string      `json:"files,omitempty"`   // that were removed
}

// GivenBack says what became of each NIC that was given back.
func GivenBack(results []apply.Result) []Given {
	var out []Given
	for _, r := range results {
		if r.Action.Kind != plan.Remove {
			continue
		}
		c := r.Action.Change
		g := Given{Name: r.Action.NIC.Name, MAC: r.Action.NIC.MAC.String(), Outcome: r.Outcome, Message: r.Message, Files: r.Files}
		if undone(r) {
			g.Reason = string(r.Reason)
		} else if !c.Empty() {
			g.Link, g.Change = c.Had, strings.Split(strings.TrimSpace(c.String()), "\n")
		}
		out = append(out, g)
	}
	return out
}

// undone says that a NIC could not be given back.
func undone(r apply.Result) bool {
	return r.Action.Kind == plan.Remove && r.Outcome != apply.Done && r.Outcome != apply.Unchanged
}

// GivenText is for a person: what could not be given back comes first.
func GivenText(list []Given, p layout.Page) string {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Given) int { return cmp.Compare(b.Reason, a.Reason) })
	if len(list) == 0 {
		return "nothing here is ours: there is nothing to give back\n"
	}
	var b strings.Builder
	for _, g := range list {
		if g.Reason != "" {
			b.WriteString(p.Item(0, fmt.Sprintf("%s (%s): %s: %s", g.Name, g.MAC, layout.Bad(fmt.Sprintf("%s, %s", g.Outcome, g.Reason)), g.Message)))
			continue
		}
		if g.Message != "" {
			b.WriteString(p.Item(0, fmt.Sprintf("%s (%s): forgotten, and the link is not touched: %s", g.Name, g.MAC, g.Message)))
		} else {
			fmt.Fprintf(&b, "%s (%s): given back\n", g.Name, g.MAC)
		}
		if g.Link != "" {
			fmt.Fprintf(&b, "  link %s\n", g.Link)
		}
		for _, c := range g.Change {
			fmt.Fprintf(&b, "    %s\n", c)
		}
		for _, f := range g.Files {
			fmt.Fprintf(&b, "  file %s\n", f)
		}
	}
	return b.String()
}
