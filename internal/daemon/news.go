package daemon

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/status"
)

// take records what the source says, and wakes the loop if that differs from the wish.
func (d *Daemon) take(w asked.Wish, wake chan<- struct{}) {
	d.state.mu.Lock()
	changed := false
	if w.Object != nil && d.state.wish.Waits(w.Object) {
		changed = d.holdBack(w.Object)
	} else if w.Object != nil || w.Gone {
		if changed = !d.state.wish.Same(w); changed {
			d.state.wish, d.state.fresh = d.state.wish.With(w.Object, w.Gone), true
			d.state.wish.Told = d.now()
		} else {
			d.state.wish.Object = w.Object
			changed = d.state.wish.Due() != nil
		}
		if braked := w.Object != nil && w.Object.Status.ReleasedGeneration != 0; w.Object != nil && braked != d.state.wish.Braked {
			// Kept at once: an object that is made anew while nobody is there says nothing of the brake.
			d.state.wish.Braked, d.state.fresh, changed = braked, true, true
		}
	}
	if o := w.Object; o != nil && o.Status.ObservedGeneration != 0 && o.Status.ReportLevel != d.state.wish.ReportLevel { // another bridge, which reads more, or less
		d.state.wish.ReportLevel, d.state.fresh, changed = o.Status.ReportLevel, true, true
	}
	if w.Unread != nil && !reflect.DeepEqual(w.Unread, d.state.wish.Unread) {
		d.state.wish.Unread, d.state.fresh, changed = w.Unread, true, true
	}
	if (d.state.wish.Err == nil) != (w.Err == nil) {
		d.logContact(w.Err)
	}
	if w.Idle != "" && w.Idle != d.state.wish.Idle {
		d.Log.Info("idle: nothing leads to the node's object", "node", d.Node, "reason", w.Idle)
		changed = true // the line of the service says why
	}
	d.state.wish.Err, d.state.wish.Idle = w.Err, w.Idle
	if w.Contact.After(d.state.wish.Contact) {
		d.state.wish.Contact = w.Contact
	}
	d.state.status.Source = d.sourceStatus()
	d.state.mu.Unlock()
	if changed {
		nudge(wake)
	}
}

// sourceStatus says how the source is. d.state.mu must be held.
func (d *Daemon) sourceStatus() status.Source {
	return status.Source{Mode: d.Mode, Contact: d.state.wish.Contact, Error: errText(d.state.wish.Err), Idle: d.state.wish.Idle}
}

// holdBack notes an object that waits for its release, and tells whether that is news. What is
// asked of the node meanwhile is done with the object that is in force. d.state.mu must be held.
func (d *Daemon) holdBack(obj *v1.MultiNicNodeConfig) bool {
	was := d.state.wish.Unreleased
	news := was == nil || was.UID != obj.UID || was.Generation != obj.Generation
	d.state.wish.Unreleased, d.state.wish.Braked = obj, true
	d.state.fresh = d.state.fresh || news
	if d.state.wish.Object != nil {
		now := d.state.wish.Object.DeepCopy()
		now.Status.RequestedRun, now.Status.RequestedAction = obj.Status.RequestedRun, obj.Status.RequestedAction
		d.state.wish.Object = now
	}
	return news || d.state.wish.Due() != nil
}

// begin notes that a run is being done, or refused, and what it asks for. A daemon that is killed in the midst
// does the pass again after its start, and reports on the run then. d.state.mu must be held.
func (d *Daemon) begin(run *asked.Run) {
	d.state.wish = d.state.wish.Doing(run, d.NoCleanup)
	if d.state.wish.Vetoed {
		d.Log.Warn("refusing the cleanup that the cluster asks for", "node", d.Node, "run", run.UID)
		return
	}
	d.own.pace.TryNow()
	d.Log.Info("the cluster asks for a run", "node", d.Node, "run", run.UID, "action", string(run.Action))
}

// keep notes how the credential is. It wakes the loop where a problem came or went: that is
// reported.
func (d *Daemon) keep(c status.Credential, wake chan<- struct{}) {
	d.state.mu.Lock()
	was := d.state.status.Credential
	d.state.status.Credential = &c
	d.state.mu.Unlock()
	if was == nil || !slices.Equal(was.Problems(), c.Problems()) || was.ClockKnown != c.ClockKnown {
		nudge(wake)
	}
}

func (d *Daemon) logContact(err error) {
	if err != nil {
		d.Log.Warn("the desired state cannot be read; keeping the last known good one", "err", err)
		return
	}
	d.Log.Info("the desired state can be read again")
}

func errText(err error) string {
	if err == nil || errors.Is(err, context.Canceled) {
		return ""
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ") // it stands in lines
}

// Reached says that the source answered when it was last asked.
func (d *Daemon) Reached() bool {
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	return d.state.wish.Err == nil
}

// InContact says that the API server has answered a moment ago, and has not failed since.
func (d *Daemon) InContact() bool {
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	return d.state.wish.Err == nil && !d.state.wish.Contact.IsZero() && d.now().Sub(d.state.wish.Contact) < 10*time.Second
}

// watch has the kernel's events wake the loop. The first time it closes ready once nothing can be
// missed any more; where the watch had ended it wakes the loop then, since something may have been
// missed.
func (d *Daemon) watch(ctx context.Context, again bool, ready chan<- struct{}, wake chan<- struct{}) error {
	stands, ended := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(ended)
	wg.Go(func() {
		select {
		case <-ended:
			return
		case <-stands:
		}
		if !again {
			close(ready)
			return
		}
		nudge(wake)
	})
	return d.Machine.Events(ctx, d.ours, stands, wake)
}

// watchFiles has the loop woken when somebody changes a file of ours. ready is closed once nothing
// can be missed any more, or it is known that files cannot be watched now. A change is news, and no
// event of the kernel: of these the loop forgets what came of its own changes.
func (d *Daemon) watchFiles(keep func(name string, run func(ctx context.Context, again bool) error), wake chan<- struct{}) (ready <-chan struct{}) {
	done := make(chan struct{})
	stands := sync.OnceFunc(func() { close(done) })
	if d.Edits == nil {
		stands()
		return done
	}
	keep("watching the files", func(ctx context.Context, again bool) error {
		defer stands()
		return d.Edits(ctx, func() {
			stands()
			if again { // something may have been missed
				nudge(wake)
			}
		}, func() { nudge(wake) })
	})
	return done
}

// nudge wakes the loop, if it is not awake anyway.
func nudge(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// drain forgets that the loop was to be woken; true: it was.
func drain(wake <-chan struct{}) bool {
	select {
	case <-wake:
		return true
	default:
		return false
	}
}
