package intake

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/util/cache"
)

// remembered is how many names a table of this package has at most; of more, those that were not
// asked for longest are forgotten.
const remembered = 4096

// rates has a limiter for each of many names.
type rates struct {
	mu    sync.Mutex
	known *cache.LRUExpireCache
	limit rate.Limit
	burst int
}

func newRates(perSecond float64, burst int) *rates {
	return &rates{known: cache.NewLRUExpireCache(remembered), limit: rate.Limit(perSecond), burst: burst}
}

// allow says whether a name may do one thing more now.
func (r *rates) allow(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.known.Get(name)
	limiter, is := l.(*rate.Limiter)
	if !ok || !is {
		limiter = rate.NewLimiter(r.limit, r.burst)
	}
	r.known.Add(name, limiter, time.Hour)
	return limiter.Allow()
}

// places bounds how many requests are worked on at a time: of one name, and of all.
type places struct {
	mu        sync.Mutex
	each, all int
	by        map[string]int
	taken     int
}

func newPlaces(each, all int) *places { return &places{each: each, all: all, by: map[string]int{}} }

// take takes a place, and gives a function that leaves it. It is nil if there is none.
func (p *places) take(name string) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken == p.all || p.by[name] == p.each {
		return nil
	}
	p.taken++
	p.by[name]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.taken--
		if p.by[name]--; p.by[name] == 0 {
			delete(p.by, name)
		}
	}
}
