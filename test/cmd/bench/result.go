package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// results is all that was measured.
type results struct {
	Date       time.Time `json:"date"`
	Machine    machine   `json:"machine"`
	LoadBefore string    `json:"loadBefore"`
	LoadAfter  string    `json:"loadAfter"`
	Changes    int       `json:"changesPerSeries"`
	Series     []series  `json:"series"`
	Idle       idleness  `json:"idle"`
	Methods    []method  `json:"methods"`
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

// Files in the folder of the results, and the markers in its page.
const (
	dataFile     = "results.json"
	changesFile  = "changes.csv"
	latencyPlot  = "latency.svg"
	methodsPlot  = "methods.svg"
	resultsBegin = "<!-- results: written by make bench -->\n"
	resultsEnd   = "<!-- end of results -->\n"
)

// quantile is the p-th percentile by nearest rank: a value that was measured. NaN of nothing.
func quantile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(int(math.Ceil(p/100*float64(len(sorted)))), 1)-1]
}

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

// write puts data, plots and text into a folder. The text goes into its README.md between two markers; what stands around them is kept.
func (r results) write(dir string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encoding the results: %w", err)
	}
	files := map[string]string{
		dataFile:    string(data) + "\n",
		changesFile: r.csv(),
		latencyPlot: r.latency().svg(),
		methodsPlot: r.comparison().svg(),
	}
	page, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	head, rest, ok := strings.Cut(string(page), resultsBegin)
	_, tail, ok2 := strings.Cut(rest, resultsEnd)
	if !ok || !ok2 {
		return fmt.Errorf("README.md in %s has lost its markers %q and %q", dir, resultsBegin, resultsEnd)
	}
	files["README.md"] = head + resultsBegin + "\n" + r.text() + "\n" + resultsEnd + tail
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
	}
	return nil
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
