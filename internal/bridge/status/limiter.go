package status

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A node that has news all the time, by mistake or malice, must not cost the API server more than
// this. A change writes twice at most. A publisher that makes ten changes in a second, one after the other,
// is not held back.
const (
	writeBurst = 200
	writeEvery = 50 * time.Millisecond

	// Each Event stays for an hour.
	eventBurst = 10
	eventEvery = time.Minute
)

// limiter bounds how often something is written for one node. The zero value is ready. Its methods
// may be called at any time.
type limiter struct {
	mu    sync.Mutex
	nodes map[string]*rate.Limiter
}

// wait is how long to wait before a write that is due now. A node may write burst times at once,
// and then once in every. If the answer is 0, one write is taken off the node's account.
func (l *limiter) wait(node string, now time.Time, every time.Duration, burst int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nodes == nil {
		l.nodes = map[string]*rate.Limiter{}
	}
	account, ok := l.nodes[node]
	if !ok {
		account = rate.NewLimiter(rate.Every(every), burst)
		l.nodes[node] = account
	}
	r := account.ReserveN(now, 1)
	delay := r.DelayFrom(now)
	if delay > 0 {
		r.CancelAt(now)
	}
	return delay
}

// forget drops a node whose object is gone.
func (l *limiter) forget(node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.nodes, node)
}
