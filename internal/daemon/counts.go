package daemon

import (
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/asked"
)

// countChange counts the object's change, when the first pass over the object ends with a state. A
// change that is not the newest object's own is none: one that was held back, rolled back by hand
// or given back, or that was overtaken by an object which waits for its release or cannot be read.
func (d *Daemon) countChange(wish asked.Wish, state string) {
	if wish.Told.IsZero() || wish.Told.Equal(d.own.counted) || wish.Mode() != asked.ModeObject {
		return
	}
	d.own.counted = wish.Told
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	d.state.meters.Changed(v1.State(state), d.now().Sub(wish.Told))
}

// countRepair counts a repair that was made, or tried. How long it took is known where the kernel's
// event has led to it.
func (d *Daemon) countRepair(res apply.Result) {
	took := time.Duration(-1)
	if !d.own.woken.IsZero() {
		took = d.now().Sub(d.own.woken)
	}
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	d.state.meters.Repaired(res, took)
}
