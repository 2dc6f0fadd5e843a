// Package herd measures what many nodes do all at once: after the API server was restarted, was away and was slow, and when all objects are changed. It
// measures the bridge with that many nodes too: its start, and a change of leader.
//
// In go a running control plane and nodes that are held, each with a watch and a Lease; out come results, and the page about them.
//
// It must not take a figure from the product's own words: watches, requests and Leases are those of the API server's audit log, processor time is the
// kernel's, and a status counts once a watch of our own has told it. The one thing that is asked of the bridge is how many objects its queues have.
//
// Start reading at Bed.Measure.
package herd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/measure"
	"multinicd/test/bed/product"
	"multinicd/test/bed/sandbox"
)

// Bed is what is measured.
type Bed struct {
	Logf    func(string, ...any)
	Box     *sandbox.Sandbox
	Cluster *controlplane.Cluster
	Bridge  product.Bridge // which runs; others take its place
	Binary  string         // of the bridge
	Nodes   []string
	// Each does something for each node, by its place in Nodes, some at the same time.
	Each func(do func(place int) error) error
	// Troubles are the errors that nodes see.
	Troubles *Troubles
	// Away is how long the API server is away, and how long it is slow.
	Away time.Duration
	// Held is a time in which nothing happened, which is compared with, and From where the audit log has it.
	Held [2]time.Time
	From int64
}

// Results are those of one run.
type Results struct {
	measure.Stamp
	Nodes     int        `json:"nodes"`
	Cores     int        `json:"cores"`
	Held      Step       `json:"leasesWhileHeld"`
	Requests  float64    `json:"requestsPer10sWhileHeld"`
	Rest      float64    `json:"apiServerCPUSecondsPer10sAtRest"` // the busiest ten seconds
	Incidents []Incident `json:"incidents"`
	Starts    []Start    `json:"bridgeStarts"` // for statuses, for credentials
	Leader    Handover   `json:"changeOfLeader"`
	Mass      Mass       `json:"allObjectsChange"`
}

// Measure has one incident after the other, and then the bridge. It returns the bridge that runs at the end.
func (b Bed) Measure(ctx context.Context) (Results, product.Bridge, error) {
	r := Results{Nodes: len(b.Nodes)}
	var held []controlplane.Request
	err := b.Cluster.AuditFrom(b.From, func(q controlplane.Request) { held = append(held, q) })
	if err != nil {
		return r, b.Bridge, err
	}
	r.Held = stepOf(renewals(held), b.Held[0], b.Held[1])
	r.Requests = float64(sum(perSecond(received(held), b.Held[0], b.Held[1]))) * 10 / b.Held[1].Sub(b.Held[0]).Seconds()
	b.Logf("at rest for %s", atRest)
	s := b.sample(ctx)
	err = measure.Rest(ctx, atRest)
	r.Rest = busiest(s.end(), ten)
	if err != nil {
		return r, b.Bridge, err
	}
	for _, x := range b.incidents() {
		b.Logf("the API server %s; then %s", x.what, x.settle)
		in, err := b.incident(ctx, x, r.Rest)
		if err != nil {
			return r, b.Bridge, fmt.Errorf("the API server %s: %w", x.what, err)
		}
		r.Incidents = append(r.Incidents, in)
	}
	bridge, err := b.bridges(ctx, &r)
	return r, bridge, err
}

const (
	atRest = 30 * time.Second
	ten    = 10 // seconds of the windows in which load is compared
)

// Trouble is what nodes saw go wrong.
type Trouble struct {
	Errors  int            `json:"errors"`
	Nodes   int            `json:"nodes"`
	Most    int            `json:"mostOfOneNode"`
	Classes map[string]int `json:"classes"`
}

// Troubles counts it. Its methods may be called at any time; the zero value is ready.
type Troubles struct {
	mu      sync.Mutex
	nodes   map[int]int
	classes map[string]int
}

// Add counts an error of a node.
func (t *Troubles) Add(node int, class string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nodes == nil {
		t.nodes, t.classes = map[int]int{}, map[string]int{}
	}
	t.nodes[node]++
	t.classes[class]++
}

// Take gives what was counted, and begins anew.
func (t *Troubles) Take() Trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := Trouble{Nodes: len(t.nodes), Classes: t.classes}
	for _, n := range t.nodes {
		out.Errors += n
		out.Most = max(out.Most, n)
	}
	t.nodes, t.classes = nil, nil
	return out
}

// words are the classes, the most frequent first.
func (t Trouble) words() string {
	out := ""
	for _, class := range slices.SortedFunc(maps.Keys(t.Classes), func(a, b string) int {
		if t.Classes[a] != t.Classes[b] {
			return t.Classes[b] - t.Classes[a]
		}
		return len(a) - len(b)
	}) {
		if out != "" {
			out += ", "
		}
		out += fmt.Sprintf("%s %d", class, t.Classes[class])
	}
	return out
}
