package migrate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"multinicd/internal/terminal"
)

// maxWhy bounds what is said of a node in a table, in bytes.
const maxWhy = 400

// table prints rows under a head.
func table(out io.Writer, head string, rows [][]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, head)
	for _, row := range rows {
		for i := range row {
			row[i] = cmp.Or(terminal.Line(row[i], maxWhy), "-")
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// JSON prints what became of nodes, or what was found, as JSON.
func JSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(terminal.Plain(v))
}

// Table prints what becomes of nodes, and how many of each.
func Table(out io.Writer, all []Outcome) error {
	var rows [][]string
	for _, o := range all {
		rows = append(rows, []string{o.Node, o.From, string(o.Action), said(o)})
	}
	if err := table(out, "NODE\tFROM\tACTION\tWHY", rows); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "\n"+Sum(all))
	return err
}

// Left prints those of whom somebody has to see to, a line each.
func Left(out io.Writer, all []Outcome) {
	for _, o := range all {
		if o.Left {
			fmt.Fprintf(out, "left: %s: %s\n", terminal.Line(cmp.Or(o.Node, o.From), 100), terminal.Line(said(o), maxWhy))
		}
	}
}

// Sum counts what became of nodes: "3 handed over, 1 skipped".
func Sum(all []Outcome) string {
	var words []string
	for _, a := range []Action{Write, Hand, Handed, Done, Kept, GiveBack, Make, Same, Skipped} {
		n := 0
		for _, o := range all {
			if o.Action == a {
				n++
			}
		}
		if n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, a))
		}
	}
	if len(words) == 0 {
		return "there is nothing to do"
	}
	return strings.Join(words, ", ")
}

// VerifiedTable prints what was found about nodes.
func VerifiedTable(out io.Writer, all []Verified) error {
	var rows [][]string
	good := 0
	for _, v := range all {
		object, status := "none", ""
		if v.Generation > 0 {
			object, status = fmt.Sprintf("%d", v.Generation), fmt.Sprintf("%s (%d)", cmp.Or(string(v.State), "none"), v.Observed)
		}
		if v.OK {
			good++
		}
		rows = append(rows, []string{cmp.Or(v.Node, v.From), v.Owner, object, status, v.Kernel, strings.Join(v.Wrong, "; ")})
	}
	if err := table(out, "NODE\tOWNER\tGENERATION\tSTATUS (OF)\tKERNEL\tWRONG", rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%d of %d nodes are as they shall be\n", good, len(all))
	return err
}
