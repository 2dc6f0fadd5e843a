package main

import (
	"fmt"
	"strings"

	"multinicd/test/bed/measure"
)

// results is all that was measured.
type results struct {
	measure.Stamp
	Machine machine  `json:"machine"`
	Changes int      `json:"changesPerSeries"`
	Series  []series `json:"series"`
	Idle    idleness `json:"idle"`
	Methods []method `json:"methods"`
}

// The aims of the first issue, for dad = "off". Sizes count in MB of 10^6 bytes, memory in MiB.
const (
	aimKernel       = 60
	aimConfigured   = 300
	aimConfigured99 = 1000
	aimRequests     = 6
	aimMemory       = 20
	aimSize         = 18
)

// What runs in the field, a Job per change, measured on this kind of machine.
const (
	fieldKernel     = 581
	fieldConfigured = 3000
	fieldRequests   = 60
)

// Files in the folder of the results.
const (
	dataFile    = "results.json"
	changesFile = "changes.csv"
	latencyPlot = "latency.svg"
	methodsPlot = "methods.svg"
)

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// of gives one figure of each change.
func of(changes []change, figure func(change) float64) []float64 {
	var out []float64
	for _, c := range changes {
		out = append(out, figure(c))
	}
	return out
}

func kernel(c change) float64     { return c.Kernel }
func configured(c change) float64 { return c.Configured }
func requests(c change) float64   { return float64(c.Daemon + c.Bridge) }
func foreign(c change) float64    { return float64(c.Foreign) }

// with gives the changes of all series with that detection.
func (r results) with(dad string) []change {
	var out []change
	for _, s := range r.Series {
		if s.DAD == dad {
			out = append(out, s.Changes...)
		}
	}
	return out
}

// where counts the changes of which something holds.
func where(changes []change, holds func(change) bool) int {
	n := 0
	for _, c := range changes {
		if holds(c) {
			n++
		}
	}
	return n
}

// page is what goes into the folder.
func (r results) page() measure.Result {
	return measure.Result{Page: "README", Data: r, Text: r.text(), Figures: r.figures(),
		Files: map[string]string{changesFile: r.csv(), latencyPlot: r.latency().SVG(), methodsPlot: r.comparison().SVG()}}
}

// figures are those that are kept from release to release.
func (r results) figures() []measure.Figure {
	off := r.with("off")
	return []measure.Figure{
		{Name: "change to the kernel, p50", Value: measure.Quantile(of(off, kernel), 50), Unit: "ms"},
		{Name: "change to Configured, p50", Value: measure.Quantile(of(off, configured), 50), Unit: "ms"},
		{Name: "change to Configured, p99", Value: measure.Quantile(of(off, configured), 99), Unit: "ms"},
		{Name: "requests per change", Value: mean(of(off, requests)), Unit: "requests"},
		{Name: "daemon at rest, RSS", Value: r.Idle.Daemon.RSS, Unit: "MiB"},
		{Name: "daemon at rest, anonymous memory", Value: r.Idle.Daemon.Anon, Unit: "MiB"},
		{Name: "multinicd, stripped", Value: float64(r.Idle.DaemonSize) / 1e6, Unit: "MB"},
	}
}

func (r results) latency() measure.Plot {
	p := measure.Shares("Accepted change to kernel, and to Configured", fmt.Sprintf("share of %d changes of an address done after a time", r.Changes))
	p.Marks = []measure.Mark{{Name: "aim for kernel, p50", At: aimKernel}, {Name: "aim for Configured, p50", At: aimConfigured}, {Name: "aim for Configured, p99", At: aimConfigured99}}
	for _, dad := range []struct{ name, colour string }{{"off", measure.Blue}, {"fast", measure.Orange}} {
		c := r.of(dad.name, kindAddress).Changes
		p.Share("kernel, dad = "+dad.name, of(c, kernel), dad.colour, false)
		p.Share("Configured, dad = "+dad.name, of(c, configured), dad.colour, true)
	}
	return p
}

func (r results) comparison() measure.Plot {
	p := measure.Shares("The same change of an address, by method", "share of changes in the kernel after a time: from the API server's answer, or from the start of the command")
	p.Share("multinicd, dad = off", of(r.of("off", kindAddress).Changes, kernel), measure.Blue, false)
	for i, m := range r.Methods {
		p.Share(m.Name, m.Kernel, []string{measure.Blue, measure.Green, measure.Orange, measure.Purple}[i%4], i == 0)
	}
	return p
}

// csv is a line for each change.
func (r results) csv() string {
	var b strings.Builder
	b.WriteString("dad,kind,number,generation,sent_ms,touched_ms,kernel_ms,reported_ms,stated_ms,configured_ms,daemon_requests,bridge_requests,foreign_events,early,persisted\n")
	for _, s := range r.Series {
		for _, c := range s.Changes {
			fmt.Fprintf(&b, "%s,%s,%d,%d,%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,%d,%d,%d,%t,%t\n", s.DAD, s.Kind, c.Number, c.Generation,
				c.Sent, c.Touched, c.Kernel, c.Reported, c.Stated, c.Configured, c.Daemon, c.Bridge, c.Foreign, c.Early, c.Persisted)
		}
	}
	return b.String()
}
