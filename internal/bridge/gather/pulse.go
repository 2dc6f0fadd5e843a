package gather

import (
	"context"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Pulse is what the bridge saw of a node's Lease, by its own clock.
type Pulse struct {
	// Seen is when the Lease last changed or was first seen; zero if there is none.
	Seen time.Time
	// Moved: the Lease has changed since the bridge started.
	Moved bool
	// Renewed: some daemon has once renewed the Lease.
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
	silent  bool // the last decision
}

func NewPulses() *Pulses { return &Pulses{nodes: map[string]*beat{}} }

// Observe takes in a Lease. renewed is any text that changes with each renewal. Observe returns
// true if a silent node has spoken again, or a node has spoken for the first time.
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

// Of is the node's pulse; zero if no Lease was seen.
func (p *Pulses) Of(node string) Pulse {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.nodes[node]; ok {
		return b.Pulse
	}
	return Pulse{}
}

// Judged keeps what was decided about the node.
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

// Watch takes in every Lease of the caches, for a bridge without the loop of statuses, which does
// so itself. It wakes nobody.
func (p *Pulses) Watch(mgr manager.Manager, now func() time.Time) error {
	leases, err := mgr.GetCache().GetInformer(context.Background(), &coordinationv1.Lease{})
	if err != nil {
		return fmt.Errorf("watching Leases: %w", err)
	}
	saw := func(o any) {
		if lease, ok := o.(*coordinationv1.Lease); ok {
			p.Observe(NodeOfLease(lease), Renewal(lease), now())
		}
	}
	_, err = leases.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    saw,
		UpdateFunc: func(_, o any) { saw(o) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if lease, ok := o.(*coordinationv1.Lease); ok {
				p.Forget(NodeOfLease(lease))
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watching Leases: %w", err)
	}
	return nil
}
