package main

import (
	"fmt"
	"strings"
	"time"

	"multinicd/test/bed/measure"
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
	ClientsMiB   float64 `json:"clientsMiB"` // this process, with the client of each node
	// Bridges are that for statuses and that for credentials.
	Bridges []memory `json:"bridges"`
	// OneBridge is the bridge's memory in results of when it was one process.
	OneBridge float64 `json:"bridgeMiB,omitempty"`
}

// memory of a process, in MiB.
type memory struct {
	Now  float64 `json:"mib"`
	Own  float64 `json:"ownMiB"`  // of it what no file has; the program's pages are there once per machine
	Most float64 `json:"mostMiB"` // at any time of the run up to here
}

type results struct {
	measure.Stamp
	Nodes   int     `json:"nodes"`
	AtOnce  int     `json:"atOnce"`
	Cores   int     `json:"cores"`
	Known   phase   `json:"known"`
	Joined  phase   `json:"joined"`
	Held    holding `json:"held"`
	Change  phase   `json:"change"`
	Renewal phase   `json:"renewal"`
	Few     costs   `json:"costWithFew"`
	Many    costs   `json:"costWithAll"`
}

// renewEvery is the mean time between two renewals of a node's token: 80 % of an hour.
const renewEvery = 48 * time.Minute

func (r results) text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s. %d nodes, of which %d join at a time, on %d cores that everything shares.\n",
		r.Stamp, r.Nodes, r.AtOnce, r.Cores)
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
	line("| this process, with the clients of all nodes | | %.0f |", r.Held.ClientsMiB)
	one := r.Renewal.APIServer / float64(r.Renewal.Things)
	line("| renewing %d tokens every %.0f min, at the API server | %.2f | |", r.Nodes, renewEvery.Minutes(), one*float64(r.Nodes)*100/renewEvery.Seconds())
	line("")
	line("Nodes that saw any error: %d of %d.\n", r.Held.Failed, r.Nodes)
	line("**Bindings.** A node has one RoleBinding in `multinic-system`. In `multinic-nodes` all nodes share one, and all kubelets another. For each")
	line("request the API server looks through those of the namespace. Processor milliseconds of the API server per request:\n")
	line("| request | with %d nodes | with %d | ratio | added per 1,000 nodes |", few, r.Nodes)
	line("|---|---|---|---|---|")
	ten, all := r.Few.rows(), r.Many.rows()
	for i, what := range requests {
		line("| %s | %.2f | %.2f | %.2f | %.2f |", what, ten[i], all[i], all[i]/ten[i], (all[i]-ten[i])*1000/float64(r.Nodes-few))
	}
	return b.String()
}

const fleetPage = "fleet"

// figures are those that are kept from release to release.
func (r results) figures() []measure.Figure {
	per := func(p phase) float64 { return p.APIServer * 1000 / float64(p.Things) }
	memory := 0.0
	for _, b := range r.Held.Bridges {
		memory += b.Now
	}
	return []measure.Figure{
		{Name: "a node becomes known, API server's CPU", Value: per(r.Known), Unit: "ms"},
		{Name: "a node joins, API server's CPU", Value: per(r.Joined), Unit: "ms"},
		{Name: fmt.Sprintf("%d nodes held, API server", r.Nodes), Value: r.Held.APIServer * 100 / r.Held.Seconds, Unit: "% of a core"},
		{Name: fmt.Sprintf("%d nodes held, API server's memory", r.Nodes), Value: r.Held.APIServerMiB, Unit: "MiB"},
		{Name: fmt.Sprintf("%d nodes held, bridges' memory", r.Nodes), Value: memory, Unit: "MiB"},
		{Name: fmt.Sprintf("a node's own object, with %d nodes to with %d", r.Nodes, few), Value: r.Many.Object / r.Few.Object, Unit: "times"},
		{Name: fmt.Sprintf("a node's own Lease, with %d nodes to with %d", r.Nodes, few), Value: r.Many.Lease / r.Few.Lease, Unit: "times"},
	}
}
