package preflight

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"multinicd/internal/terminal"
)

// shown is how many objects of a finding the table names.
const shown = 3

// JSON writes the report as JSON.
func (r Report) JSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(terminal.Plain(r))
}

// Table writes the report as a table, with a line for each finding.
func (r Report) Table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "FIRST\tFINDING\tOBJECT\tWHAT, AND WHAT TO DO")
	for _, f := range r.Findings {
		first := "-"
		if f.First {
			first = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", first, f.ID, terminal.Line(brief(f.Objects), 110), terminal.Line(f.What+". "+f.Do, 1000))
	}
	for _, u := range r.Unseen {
		fmt.Fprintf(w, "yes\tnot-seen\t-\t%s\n", terminal.Line("could not be looked at: "+u, 1000))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%d found, %d to be done first. What runs on hosts without a Pod, no cluster shows: `multinicd doctor` says it there.\n", len(r.Findings)+len(r.Unseen), r.First())
	return err
}

func brief(objects []string) string {
	if more := len(objects) - shown; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(objects[:shown], ", "), more)
	}
	return strings.Join(objects, ", ")
}
