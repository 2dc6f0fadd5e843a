package main

import (
	"fmt"
	"strings"

	"multinicd/test/bed/measure"
)

// with gives the weights of nodes with so many NICs, in the order of how many nodes there were.
func (r scale) with(nics int) (out []weight) {
	for _, w := range r.Weights {
		if w.NICs == nics {
			out = append(out, w)
		}
	}
	return out
}

func (r scale) page() measure.Result {
	x := measure.Result{Page: scalePage, Data: r, Text: r.text(), Anywhere: true, Files: map[string]string{scalePage + ".svg": r.plot().SVG()}}
	for _, nics := range scaleNICs {
		all := r.with(nics)
		last := all[len(all)-1]
		x.Figures = append(x.Figures, measure.Figure{Name: fmt.Sprintf("a node in etcd, NICs: %d", nics), Value: last.all(), Unit: "bytes"},
			measure.Figure{Name: fmt.Sprintf("a change on the wire, NICs: %d", nics), Value: last.Change.all(), Unit: "bytes"})
	}
	return x
}

func (r scale) text() string {
	bytes := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	stored := [][]string{{"nodes", "NICs", "object with status", "report", "Lease", "identity", "**all**", "to ten nodes", "Events, for an hour"}}
	wire := [][]string{{"nodes", "what", "the node sends", "gets", "the bridge sends", "gets", "**all**"}}
	way := func(nodes int, what string, t traffic) {
		wire = append(wire, []string{fmt.Sprint(nodes), what, bytes(t.NodeSends), bytes(t.NodeGets), bytes(t.BridgeSends), bytes(t.BridgeGets), bytes(t.all())})
	}
	for _, j := range r.Joins {
		way(j.Nodes, "becomes known, joins, reports one NIC", j.Join)
		way(j.Nodes, "renews its Lease", j.Renewal)
	}
	for _, nics := range scaleNICs {
		all := r.with(nics)
		for _, w := range all {
			stored = append(stored, []string{fmt.Sprint(w.Nodes), fmt.Sprint(nics), bytes(w.Object), bytes(w.Report), bytes(w.Lease), bytes(w.Identity), bytes(w.all()),
				fmt.Sprintf("%.2f", w.all()/all[0].all()), bytes(w.Events)})
			way(w.Nodes, fmt.Sprintf("NICs: %d, all of them changed", nics), w.Change)
		}
	}
	walls := [][]string{{"NICs", "nodes in one MultiNicBizConfig, at most", "its bytes then, as JSON", "one more is refused", "a node's own object, share of that"}}
	for _, w := range r.Walls {
		all := r.with(w.NICs)
		walls = append(walls, []string{fmt.Sprint(w.NICs), fmt.Sprint(w.Fits), fmt.Sprint(w.Bytes), "`" + w.Refused + "`", fmt.Sprintf("%.2f %%", all[len(all)-1].Object*100/float64(w.Bytes))})
	}
	return strings.Join([]string{
		fmt.Sprintf("%s.", r.Stamp),
		"### In etcd, bytes per node\n\n" + measure.Table(stored),
		fmt.Sprintf("![Bytes in etcd by how many nodes there are](%s.svg)", scalePage),
		"### On the wire, bytes per node\n\n" + measure.Table(wire),
		"### The older object\n\n" + measure.Table(walls),
	}, "\n\n") + "\n"
}

func (r scale) plot() measure.Plot {
	p := measure.Plot{Title: "What is in etcd for many nodes", Subtitle: "MB of all nodes together, beside one MultiNicBizConfig with 5 NICs a node up to where it is full",
		X: measure.Axis{Log: true, Name: "nodes"}, Y: measure.Axis{Log: true, Name: "MB"}}
	for i, nics := range scaleNICs {
		l := measure.Line{Name: fmt.Sprintf("objects of their own, NICs: %d", nics), Colour: measure.Colours[i]}
		for _, w := range r.with(nics) {
			l.X, l.Y = append(l.X, float64(w.Nodes)), append(l.Y, w.all()*float64(w.Nodes)/1e6)
		}
		p.Lines = append(p.Lines, l)
	}
	for _, w := range r.Walls {
		if w.NICs == 5 {
			p.Lines = append(p.Lines, measure.Line{Name: "one MultiNicBizConfig", Colour: measure.Purple, Dashed: true, X: []float64{few, float64(w.Fits)},
				Y: []float64{float64(w.Bytes) * few / float64(w.Fits) / 1e6, float64(w.Bytes) / 1e6}})
			p.Marks = append(p.Marks, measure.Mark{Name: fmt.Sprintf("full with %d nodes", w.Fits), At: float64(w.Fits)})
		}
	}
	return p
}
