package legacy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
	"multinicd/internal/terminal"
)

// Kept is what becomes of an object that no entry is about: nothing.
const Kept publish.Action = "kept"

// Plan says what becomes of each node.
type Plan struct {
	// Nodes are sorted by name. Entries without a node come first.
	Nodes   []PlannedNode `json:"nodes"`
	Summary Summary       `json:"summary"`
	// Lost is what the older objects say and nothing takes over, a sentence each.
	Lost []string `json:"lost"`
}

// PlannedNode is what becomes of one node.
type PlannedNode struct {
	// Node is "" if the entry leads to none.
	Node string `json:"node"`
	// From is the entry, such as production[3]; "" for an object without an entry.
	From       string `json:"from,omitempty"`
	InstanceID string `json:"instanceId,omitempty"`
	// NICs in the entry; in the object, if there is no entry.
	NICs    int            `json:"nics"`
	Becomes publish.Action `json:"becomes"`
	Reason  publish.Reason `json:"reason,omitempty"`
	Message string         `json:"message,omitempty"`
	// Diff is what would change in the object.
	Diff []string `json:"diff,omitempty"`
	// Spec is that of the object afterwards; nil if nothing is written.
	Spec *v1.MultiNicNodeConfigSpec `json:"spec,omitempty"`
}

// Summary counts the lines of a Plan by what becomes of them.
type Summary struct {
	Created   int `json:"created"`
	Changed   int `json:"changed"`
	Unchanged int `json:"unchanged"`
	Refused   int `json:"refused"`
	Kept      int `json:"kept"`
}

// Plan is what the publisher would do now. It is a pure function. lost is what was left out when the
// world was read.
func (w World) Plan(lost []string) Plan {
	out := Plan{Nodes: []PlannedNode{}, Lost: append([]string{}, lost...)}
	entries := w.Judge()
	about := map[string]bool{}
	for _, e := range entries {
		about[e.Node] = true
		n := PlannedNode{Node: e.Node, From: fmt.Sprintf("%s[%d]", e.Old.Name, e.Index), InstanceID: e.InstanceID, NICs: len(e.Wish.NICs), Becomes: e.Action, Reason: e.Reason, Message: e.Message, Diff: e.Diff}
		if e.Action == publish.Created || e.Action == publish.Changed {
			n.Spec = &e.Object.Spec
		}
		out.Nodes = append(out.Nodes, n)
	}
	for _, o := range w.Objects {
		if about[o.Name] {
			continue
		}
		n := PlannedNode{Node: o.Name, InstanceID: o.Spec.InstanceID, NICs: len(o.Spec.Interfaces), Becomes: Kept, Message: "no entry is about the node; " + whose(o)}
		if _, errs := o.Validate(); len(errs) > 0 {
			n.Reason, n.Message = publish.Invalid, n.Message+"; a change of it is refused until this is corrected: "+errs[0].Error()
		}
		out.Nodes = append(out.Nodes, n)
	}
	slices.SortStableFunc(out.Nodes, func(a, b PlannedNode) int { return cmp.Compare(a.Node, b.Node) })
	for _, n := range out.Nodes {
		switch n.Becomes {
		case publish.Created:
			out.Summary.Created++
		case publish.Changed:
			out.Summary.Changed++
		case publish.Unchanged:
			out.Summary.Unchanged++
		case publish.Refused:
			out.Summary.Refused++
		case Kept:
			out.Summary.Kept++
		}
	}
	for _, o := range w.Old {
		if o.Spec.SpecHash != "" {
			out.Lost = append(out.Lost, fmt.Sprintf("%s: specHash %q is that of all nodes: no object of a node gets it", o.Name, o.Spec.SpecHash))
		}
	}
	return out
}

func whose(o *v1.MultiNicNodeConfig) string {
	if by := o.Labels[v1.PublisherLabel]; by != "" {
		return "the object belongs to " + by
	}
	return "the object belongs to nobody of ours"
}

// JSON writes the plan as JSON.
func (p Plan) JSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(terminal.Plain(p))
}

// Table writes the plan as a table, with a line for each node.
func (p Plan) Table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "NODE\tFROM\tNICS\tBECOMES\tWHY")
	for _, n := range p.Nodes {
		why := strings.TrimPrefix(fmt.Sprintf("%s: %s", n.Reason, n.Message), ": ")
		row := []string{n.Node, n.From, fmt.Sprint(n.NICs), string(n.Becomes), why}
		for i := range row {
			row[i] = cmp.Or(terminal.Line(row[i], 400), "-")
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(row, "\t"), " "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	s := p.Summary
	fmt.Fprintf(out, "\n%d created, %d changed, %d unchanged, %d refused, %d kept\n", s.Created, s.Changed, s.Unchanged, s.Refused, s.Kept)
	for _, l := range p.Lost {
		fmt.Fprintln(out, "lost: "+terminal.Line(l, 400))
	}
	return nil
}
