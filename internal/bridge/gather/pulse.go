package gather

import (
	"sync"
	"time"
)

// Pulse is what the bridge saw of a node's Lease, by its own clock.
type Pulse struct {
	// Seen is when the Lease last changed, or was first seen; zero where there
	// is none.
	Seen time.Time
	// Moved: it changed since the bridge started.
	Moved bool
	// Renewed: some daemon has renewed it, whenever that was.
	Renewed bool
}

// Pulses remembers Leases by node name. Its methods may be called at any time.
type Pulses struct {
	mu    sync.Mutex
	nodes map[string]*beat
}

type beat struct {
	Pulse
	renewed string
	silent  bool // what was last decided
}

func NewPulses() *Pulses { return &Pulses{nodes: map[string]*beat{}} }

// Observe takes a Lease in; renewed is anything that changes with each renewal.
// It tells whether a node that was silent spoke again, or one spoke for the first
// time.
func (p *Pulses) Observe(node, renewed string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.nodes[node]
	if !ok {
		p.nodes[node] = &beat{Pulse: Pulse{Seen: now, Renewed: renewed != ""}, renewed: renewed}
		return false
	}
	if b.renewed == renewed {
		return false
	}
	first := !b.Renewed && renewed != ""
	b.Seen, b.Moved, b.Renewed, b.renewed = now, true, renewed != "", renewed
	return b.silent || first
}

// Of is the node's pulse; zero where no Lease was seen.
func (p *Pulses) Of(node string) Pulse {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.nodes[node]; ok {
		return b.Pulse
	}
	return Pulse{}
}

// Judged keeps what was decided of the node.
func (p *Pulses) Judged(node string, silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.nodes[node]; ok {
		b.silent = silent
	}
}

// Forget drops a node whose Lease is gone.
func (p *Pulses) Forget(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.nodes, node)
}
