package admission

import (
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// settles is how long an API server takes at least until it goes by a changed policy; times of
// objects are to the second, too. settled is how long it takes at most, as far as anybody knows.
const (
	settles = 2 * time.Second
	settled = time.Minute
)

// Since is since when the policies have been in force without a break, by the API server's clock. It
// counts once InForce has given nil. What was made before may have been made by anybody, however the
// policies are now.
//
// Where a look found them in force for the first time after a change, that look counts, since an API
// server may be slow. Its time is by the bridge's clock, which may be off, so it moves the answer by
// no more than settled.
func (g *PolicyGuard) Since() time.Time {
	c := &g.seen
	c.mu.Lock()
	defer c.mu.Unlock()
	least, most := c.last.Add(settles), c.last.Add(settled)
	switch {
	case c.found.Before(least):
		return least
	case c.found.After(most):
		return most
	}
	return c.found
}

// changes remembers when the newest change was made of all objects that were seen. It never goes
// back: an object that is made anew is younger than the one before.
type changes struct {
	mu    sync.Mutex
	last  time.Time
	found time.Time // when a look first found the policies in force, as they are since last
	at    time.Time // last, as of found
}

// looked takes in that a look found the policies in force, which the one before had not if again.
func (c *changes) looked(now time.Time, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if again || !c.at.Equal(c.last) {
		c.found, c.at = now, c.last
	}
}

func (c *changes) note(o client.Object) {
	at := changedAt(o)
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.After(c.last) {
		c.last = at
	}
}

// changedAt is when somebody last changed an object, except its status. The API server keeps these
// times, so they outlive the bridge.
func changedAt(o client.Object) time.Time {
	at := o.GetCreationTimestamp().Time
	for _, f := range o.GetManagedFields() {
		if f.Subresource == "" && f.Time != nil && f.Time.After(at) {
			at = f.Time.Time
		}
	}
	return at
}
