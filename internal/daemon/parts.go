package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"multinicd/internal/daemon/status"
)

// Parts of the loop itself.
const (
	partRecover = "reading what is remembered of the NICs"
	partLook    = "reading the machine"
	partKeep    = "keeping the object on disk"
)

// A part that has ended is started again after partMin, doubled each time up to partMax. One that
// has run for partGood counts as up again.
const (
	partMin  = time.Second
	partMax  = time.Minute
	partGood = 10 * time.Second
)

// errEnded is why a part is down that has given no reason.
var errEnded = errors.New("it has ended by itself")

// keepUp runs a part until ctx is done, and starts it again whenever it ends: by an error, without
// one, or by a panic, which must not take the loop with it in mid-change. Each run but the first
// begins with again set.
func (d *Daemon) keepUp(ctx context.Context, name string, run func(ctx context.Context, again bool) error) {
	pause := partMin
	for again := false; ; again = true {
		good := time.AfterFunc(partGood, func() { d.partUp(name) })
		began := d.now()
		err := d.guarded(ctx, name, again, run)
		good.Stop()
		if ctx.Err() != nil {
			return
		}
		if d.now().Sub(began) >= partGood {
			pause = partMin
		}
		d.partDown(name, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, partMax)
	}
}

func (d *Daemon) guarded(ctx context.Context, name string, again bool, run func(context.Context, bool) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			d.Log.Error("a part of the daemon has panicked", "part", name, "err", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if err := run(ctx, again); err != nil {
		return err
	}
	return errEnded
}

// partDown notes that a part does not work.
func (d *Daemon) partDown(name string, err error) {
	d.state.mu.Lock()
	p, was := d.state.down[name]
	if !was {
		p = status.Part{Name: name, Since: d.now()}
	}
	news := p.Error != err.Error()
	p.Error = err.Error()
	d.state.down[name] = p
	d.state.mu.Unlock()
	if news {
		d.Log.Error("a part of the daemon does not work; it is tried again", "node", d.Node, "part", name, "err", err)
	}
}

// partUp notes that a part works.
func (d *Daemon) partUp(name string) {
	d.state.mu.Lock()
	p, was := d.state.down[name]
	delete(d.state.down, name)
	d.state.mu.Unlock()
	if was {
		d.Log.Info("a part of the daemon works again", "node", d.Node, "part", name, "duration", d.now().Sub(p.Since).Round(time.Second))
	}
}

// partsDown lists the parts that are down, by name. d.state.mu must be held.
func (d *Daemon) partsDown() []status.Part {
	return slices.SortedFunc(maps.Values(d.state.down), func(a, b status.Part) int { return strings.Compare(a.Name, b.Name) })
}
