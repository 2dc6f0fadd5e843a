package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"multinicd/test/bed/artifact"
)

// phase is what something took that was done Things times: seconds by the clock, and processor seconds.
type phase struct {
	Things    int     `json:"things"`
	Seconds   float64 `json:"seconds"`
	APIServer float64 `json:"apiServerCPUSeconds"`
	Etcd      float64 `json:"etcdCPUSeconds"`
	Bridge    float64 `json:"bridgeCPUSeconds"`
	// How long one took, in ms; 0 where that was not measured.
	P50 float64 `json:"p50Ms,omitempty"`
	P99 float64 `json:"p99Ms,omitempty"`
	Max float64 `json:"maxMs,omitempty"`
}

// holding is a time in which nothing happens.
type holding struct {
	phase
	Requests     int     `json:"requests"`
	OfNodes      int     `json:"requestsOfNodes"`
	Failed       int     `json:"nodesThatFailed"`
	APIServerMiB float64 `json:"apiServerMiB"`
	EtcdMiB      float64 `json:"etcdMiB"`
	// Bridges are that for statuses and that for credentials.
	Bridges []memory `json:"bridges"`
}

// memory of a process, in MiB.
type memory struct {
	Now  float64 `json:"mib"`
	Own  float64 `json:"ownMiB"`  // of it what no file has; the program's pages are there once per machine
	Most float64 `json:"mostMiB"` // at any time of the run up to here
}

// costs are processor milliseconds of the API server for one request.
type costs struct {
	Object  float64 `json:"ownObjectMs"`
	Lease   float64 `json:"ownLeaseMs"`
	Another float64 `json:"anothersObjectMs"` // refused
	Whoami  float64 `json:"versionMs"`        // asks for no right in a namespace
}

type results struct {
	Date       time.Time `json:"date"`
	Nodes      int       `json:"nodes"`
	AtOnce     int       `json:"atOnce"`
	Cores      int       `json:"cores"`
	LoadBefore string    `json:"loadBefore"`
	LoadAfter  string    `json:"loadAfter"`
	Known      phase     `json:"known"`
	Joined     phase     `json:"joined"`
	Held       holding   `json:"held"`
	Change     phase     `json:"change"`
	Renewal    phase     `json:"renewal"`
	Few        costs     `json:"costWithFew"`
	Many       costs     `json:"costWithAll"`
}

// renewEvery is the mean time between two renewals of a node's token: 80 % of an hour.
const renewEvery = 48 * time.Minute

func (r results) text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("Measured on %s, %d nodes, of which %d join at a time, on %d cores that everything shares. Load before and after: %s, %s.\n",
		r.Date.Format("2006-01-02 15:04 UTC"), r.Nodes, r.AtOnce, r.Cores, r.LoadBefore, r.LoadAfter)
	line("| | s by the clock | API server's CPU s | of etcd | of the bridge | API server's CPU ms per node | each took, p50 ms | p99 | max |")
	line("|---|---|---|---|---|---|---|---|---|")
	row := func(what string, p phase, timed bool) {
		took := " | | "
		if timed {
			took = fmt.Sprintf("%.1f | %.1f | %.1f", p.P50, p.P99, p.Max)
		}
		line("| %s | %.1f | %.1f | %.1f | %.1f | %.1f | %s |", what, p.Seconds, p.APIServer, p.Etcd, p.Bridge, p.APIServer*1000/float64(p.Things), took)
	}
	row(fmt.Sprintf("%d nodes become known: Node, object, identity", r.Known.Things), r.Known, false)
	row(fmt.Sprintf("%d nodes join, watch and report", r.Joined.Things), r.Joined, true)
	row(fmt.Sprintf("%d changes, until the node is told", r.Change.Things), r.Change, true)
	row(fmt.Sprintf("%d renewals of a token", r.Renewal.Things), r.Renewal, false)
	line("")
	line("**Held** for %.0f s, each with a watch on a connection of its own and a Lease: %.1f requests a second (%.1f of nodes).\n", r.Held.Seconds, float64(r.Held.Requests)/r.Held.Seconds, float64(r.Held.OfNodes)/r.Held.Seconds)
	line("| | share of a core, %% | memory, MiB |")
	line("|---|---|---|")
	share := func(cpu float64) float64 { return cpu * 100 / r.Held.Seconds }
	line("| API server | %.2f | %.0f |", share(r.Held.APIServer), r.Held.APIServerMiB)
	line("| etcd | %.2f | %.0f |", share(r.Held.Etcd), r.Held.EtcdMiB)
	line("| bridge, both | %.2f | |", share(r.Held.Bridge))
	for i, duty := range []string{"statuses", "credentials"} {
		m := r.Held.Bridges[i]
		line("| bridge, for %s | | %.0f, of it its own %.0f (at most, while the nodes joined: %.0f) |", duty, m.Now, m.Own, m.Most)
	}
	one := r.Renewal.APIServer / float64(r.Renewal.Things)
	line("| renewing %d tokens every %.0f min, at the API server | %.2f | |", r.Nodes, renewEvery.Minutes(), one*float64(r.Nodes)*100/renewEvery.Seconds())
	line("")
	line("Nodes that saw any error: %d of %d.\n", r.Held.Failed, r.Nodes)
	line("**Bindings.** A node has one RoleBinding in `multinic-system` and two in `multinic-nodes`, and for each request the API server looks through")
	line("those of the namespace. Processor milliseconds of the API server per request:\n")
	line("| request | with %d nodes | with %d | ratio | added per 1,000 nodes |", few, r.Nodes)
	line("|---|---|---|---|---|")
	for _, c := range []struct {
		what      string
		few, many float64
	}{
		{"the node's own object (`multinic-system`)", r.Few.Object, r.Many.Object},
		{"the node's own Lease (`multinic-nodes`)", r.Few.Lease, r.Many.Lease},
		{"another's object: refused", r.Few.Another, r.Many.Another},
		{"/version, which no namespace is asked about", r.Few.Whoami, r.Many.Whoami},
	} {
		line("| %s | %.2f | %.2f | %.2f | %.2f |", c.what, c.few, c.many, c.many/c.few, (c.many-c.few)*1000/float64(r.Nodes-few))
	}
	return b.String()
}

const (
	fleetPage    = "fleet"
	resultsBegin = "<!-- results: written by make bench -->"
	resultsEnd   = "<!-- end of results -->"
)

// keep prints the text of some results, and puts text and data into the folder for them; of the page what stands around the two markers is kept.
func (f *fleet) keep(page string, results any, result string) error {
	fmt.Print(result)
	if f.out == "" {
		return nil
	}
	dir := f.out
	if !filepath.IsAbs(dir) {
		root, err := artifact.RepositoryRoot()
		if err != nil {
			return err
		}
		dir = filepath.Join(root, dir)
	}
	data, err := json.MarshalIndent(results, "", " ")
	if err != nil {
		return fmt.Errorf("encoding the results: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, page+".md"))
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	head, rest, ok := strings.Cut(string(text), resultsBegin)
	_, tail, ok2 := strings.Cut(rest, resultsEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s.md in %s has lost its markers %q and %q", page, dir, resultsBegin, resultsEnd)
	}
	for name, text := range map[string]string{
		page + ".json": string(data) + "\n",
		page + ".md":   head + resultsBegin + "\n\n" + result + "\n" + resultsEnd + tail,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
	}
	return nil
}
