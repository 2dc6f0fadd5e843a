package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"go.yaml.in/yaml/v3"

	"multinicd/internal/terminal"
)

// Print writes the nodes as table, wide, json or yaml. On a terminal the table is a screen.
func Print(w io.Writer, output string, nodes []Node, now time.Time) error {
	if output == "json" || output == "yaml" {
		return Encode(w, output, nodes)
	}
	if s := terminal.ScreenOf(w); s.Terminal && output == "table" {
		return terminal.Print(w, Screen(nodes, s.Page(false), now))
	}
	return table(w, nodes, output == "wide", now)
}

// Encode writes v as json or yaml.
func Encode[T any](w io.Writer, output string, v T) error {
	if output == "yaml" {
		return writeYAML(w, terminal.Plain(v))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeYAML writes v by its names in JSON. A text is never folded: the rest of a folded text would
// stand in a line of its own, and might look like a field.
func writeYAML(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	var fields any
	if err == nil {
		err = yaml.Unmarshal(data, &fields) // every JSON is a YAML
	}
	if err != nil {
		return fmt.Errorf("encoding the fleet: %w", err)
	}
	enc := yaml.NewEncoder(w) // version 3 folds nothing
	enc.SetIndent(2)
	return errors.Join(enc.Encode(fields), enc.Close())
}

func table(out io.Writer, nodes []Node, wide bool, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	header := []string{"NODE", "STATE", "READY", "REASON", "INTERFACES", "REPORTED", "DRIFT", "VERSION", "CREDENTIAL"}
	if wide {
		header = append(header, "LEASE", "GENERATION", "EXECUTOR", "DEGRADED", "LAST RUN", "MESSAGE")
	}
	fmt.Fprintln(w, strings.Join(header, "\t"))
	for _, n := range nodes {
		row := []string{n.Node, n.stateText(), n.Ready, n.Reason, n.nicsText(), age(n.Changed, now), n.driftText(now), n.Version, age(n.Credential, now)}
		if wide {
			generation := fmt.Sprint(n.Generation)
			if n.Observed != n.Generation {
				generation = fmt.Sprintf("%d (at %d)", n.Generation, n.Observed)
			}
			row = append(row, age(n.Seen, now), generation, n.Executor, n.Degraded, n.LastJob, n.Message)
		}
		for i := range row {
			row[i] = dash(terminal.Line(row[i], 200))
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// age is a span as kubectl prints it, in at most two units, the greatest ones. It is "" if there is
// no time.
func age(since *time.Time, now time.Time) string {
	if since == nil {
		return ""
	}
	d := max(now.Sub(*since), 0)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 3*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
