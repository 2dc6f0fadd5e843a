package controller

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A node that says something new all the time, by mistake or malice, must not
// cost the API server more than this. A change writes twice; a publisher that
// makes ten in a second, one after the other, is not held back.
const (
	writeBurst = 200
	writeEvery = 50 * time.Millisecond

	// Events stay for an hour each.
	eventBurst = 10
	eventEvery = time.Minute
)

// brake bounds how often something is written for one node. Its methods may be
// called at any time.
type brake struct {
	every time.Duration
	burst int

	mu    sync.Mutex
	nodes map[string]*rate.Limiter
}

func newBrake(every time.Duration, burst int) *brake {
	return &brake{every: every, burst: burst, nodes: map[string]*rate.Limiter{}}
}

// wait is how long to wait before a write that is due now; 0 takes one write
// off the node's account.
func (b *brake) wait(node string, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.nodes[node]
	if !ok {
		l = rate.NewLimiter(rate.Every(b.every), b.burst)
		b.nodes[node] = l
	}
	r := l.ReserveN(now, 1)
	delay := r.DelayFrom(now)
	if delay > 0 {
		r.CancelAt(now)
	}
	return delay
}

// forget drops a node whose object is gone.
func (b *brake) forget(node string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.nodes, node)
}
