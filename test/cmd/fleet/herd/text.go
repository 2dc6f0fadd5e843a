package herd

import (
	"fmt"
	"strings"

	"multinicd/test/bed/measure"
)

// Text is the part of the page that is written by make bench.
func (r Results) Text() string {
	return strings.Join([]string{
		fmt.Sprintf("%s. %d nodes, on %d cores that everything shares.", r.Stamp, r.Nodes, r.Cores),
		"### Watches\n\n" + r.watches(),
		"### Requests and load\n\n" + r.load(),
		"Requests of everybody in each ten seconds, from when it answered again:\n\n" + r.series(),
		"### In step or not\n\n" + r.steps(),
		"### The bridge starts, and another takes over\n\n" + r.starts(),
		"### All objects change at once\n\n" + r.mass(),
	}, "\n\n") + "\n"
}

func seconds(s float64) string {
	if s < 0 {
		return "not while it was watched"
	}
	return fmt.Sprintf("%.1f", s)
}

func (r Results) watches() string {
	rows := [][]string{{"the API server", "for s", "watches kept", "cut", "open again, first s", "p50", "p99", "last", "never", "most in a second", "nodes that tried twice", "that listed anew"}}
	for _, in := range r.Incidents {
		rows = append(rows, []string{in.What, seconds(in.Lasts), fmt.Sprint(in.Kept), fmt.Sprint(in.Cut), seconds(in.First), seconds(in.P50), seconds(in.P99), seconds(in.Last),
			fmt.Sprint(in.Never), fmt.Sprint(in.Peak), fmt.Sprint(in.Again), fmt.Sprint(in.Anew)})
	}
	return measure.Table(rows)
}

func (r Results) load() string {
	rows := [][]string{{"the API server", "requests, most in a second", "429", "401, 403", "5xx", "nodes that saw an error", "errors", "most of one node", "back at rest after s", "its CPU s until the end"}}
	for _, in := range r.Incidents {
		errors := fmt.Sprint(in.Troubles.Errors)
		if words := in.Troubles.words(); words != "" {
			errors += " (" + words + ")"
		}
		rows = append(rows, []string{in.What, fmt.Sprint(in.PeakSecond), fmt.Sprint(in.Throttled), fmt.Sprint(in.Refused), fmt.Sprint(in.Failed), fmt.Sprint(in.Troubles.Nodes), errors,
			fmt.Sprint(in.Troubles.Most), seconds(in.Back), fmt.Sprintf("%.1f", in.Used)})
	}
	return measure.Table(rows) + fmt.Sprintf("\n\nAt rest: %.0f requests in ten seconds, and %.2f s of a core in the busiest ten.", r.Requests, r.Rest)
}

func (r Results) series() string {
	rows := [][]string{{"the API server"}}
	for _, in := range r.Incidents {
		for i := len(rows[0]) - 1; i < len(in.PerTen); i++ {
			rows[0] = append(rows[0], fmt.Sprint(i*ten))
		}
	}
	for _, in := range r.Incidents {
		row := []string{in.What}
		for i := range len(rows[0]) - 1 {
			cell := ""
			if i < len(in.PerTen) {
				cell = fmt.Sprint(in.PerTen[i])
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	return measure.Table(rows)
}

func (r Results) steps() string {
	rows := [][]string{{"Leases renewed", "in ten seconds, mean", "variation", "by chance alone", "most to mean"}}
	row := func(what string, s Step) {
		rows = append(rows, []string{what, fmt.Sprintf("%.1f", s.Mean), fmt.Sprintf("%.2f", s.Variation), fmt.Sprintf("%.2f", s.chance()), fmt.Sprintf("%.2f", s.Peak)})
	}
	row("before, while nothing happened", r.Held)
	for _, in := range r.Incidents {
		row("after it "+in.past(), in.Leases)
	}
	return measure.Table(rows)
}

// past is what happened, as of later.
func (in Incident) past() string {
	for is, was := range map[string]string{"is ": "was ", "runs ": "ran "} {
		if rest, ok := strings.CutPrefix(in.What, is); ok {
			return was + rest
		}
	}
	return in.What
}

// per is what each 1,000 nodes add to something, where it grows with them.
func (r Results) per(v float64) string { return fmt.Sprintf("%.2f", v*1000/float64(r.Nodes)) }

func (r Results) starts() string {
	rows := [][]string{{"bridge for", "caches full after s", "leads after s", "has seen all nodes after s", "per 1,000 nodes", "its CPU s until then", "per 1,000", "memory at most, MiB", "per 1,000", "requests"}}
	for _, s := range r.Starts {
		rows = append(rows, []string{s.Duty, seconds(s.Ready), seconds(s.Leads), seconds(s.Swept), r.per(s.Swept), fmt.Sprintf("%.2f", s.CPU), r.per(s.CPU), fmt.Sprintf("%.0f", s.MostMiB), r.per(s.MostMiB), fmt.Sprint(s.Requests)})
	}
	return measure.Table(rows) + fmt.Sprintf("\n\nBoth leaders are killed, while others wait: a change of one object is a status %.1f s later, and a new Node has its identity %.1f s later.", r.Leader.Status, r.Leader.Identity)
}

func (r Results) mass() string {
	m := r.Mass
	each := func(v float64) string { return fmt.Sprintf("%.2f", v*1000/float64(m.Things)) }
	rows := [][]string{{fmt.Sprintf("%d objects", m.Things), "first s", "p50", "p99", "last", "per 1,000 nodes"},
		{"changed", "", "", "", seconds(m.Written), each(m.Written)},
		{"Configured, since the first was changed", seconds(m.First), seconds(m.P50), seconds(m.P99), seconds(m.Last), each(m.Last)},
		{"Configured, each since it was changed itself", "", fmt.Sprintf("%.2f", m.Own50), fmt.Sprintf("%.2f", m.Own99), fmt.Sprintf("%.2f", m.OwnW), ""}}
	costs := [][]string{{"until the last is Configured", "all", "per 1,000 nodes"}}
	for _, c := range []struct {
		what string
		v    float64
	}{{"API server's CPU s", m.APIServer}, {"etcd's", m.Etcd}, {"the bridge's, both", m.Bridge}, {"requests of the bridge", float64(m.Requests)}, {"of them statuses", float64(m.Writes)}} {
		costs = append(costs, []string{c.what, measure.Number(c.v), each(c.v)})
	}
	probes := [][]string{{"a healthy node whose object changes every second", "changes", "Configured after ms, p50", "max"}}
	for _, p := range []struct {
		when string
		Probe
	}{{"while nothing else happens", m.Before}, {"while all others change", m.Probe}} {
		probes = append(probes, []string{p.when, fmt.Sprint(p.Changes), measure.Number(p.P50), measure.Number(p.Max)})
	}
	return strings.Join([]string{measure.Table(rows), measure.Table(costs), measure.Table(probes)}, "\n\n")
}

// Page is its name.
const Page = "herd"

// Figures are those that are kept from release to release. -1 of something that did not come about is none.
func (r Results) Figures() (out []measure.Figure) {
	add := func(name string, v float64, unit string) {
		if v >= 0 {
			out = append(out, measure.Figure{Name: name, Value: v, Unit: unit})
		}
	}
	for _, in := range r.Incidents {
		if in.Cut > 0 && in.Never == 0 {
			add(fmt.Sprintf("the API server %s: the last of %d watches is back", in.What, r.Nodes), in.Last, "s")
		}
		add(fmt.Sprintf("the API server %s: back at rest, %d nodes", in.What, r.Nodes), in.Back, "s")
	}
	for _, s := range r.Starts {
		add(fmt.Sprintf("the bridge for %s starts with %d nodes", s.Duty, r.Nodes), s.Swept, "s")
	}
	add("both leaders of the bridge are killed: a change is a status", r.Leader.Status, "s")
	add(fmt.Sprintf("%d objects change at once: all Configured", r.Mass.Things), r.Mass.Last, "s")
	add(fmt.Sprintf("%d objects change at once: another's change, p50", r.Mass.Things), r.Mass.Probe.P50, "ms")
	return out
}
