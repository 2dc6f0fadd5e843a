package daemon

import (
	"context"
	"time"
)

// debounce is how long a burst of kernel events may gather before the next pass; a pass that
// follows a quiet time does not wait. While somebody fights with us, events are no news: it is
// longer then.
func (d *Daemon) debounce() time.Duration {
	if len(d.own.pace.GoingOn()) > 0 {
		return 300 * time.Millisecond
	}
	return 50 * time.Millisecond
}

// restAfter is how long there is no news until Resting is called. The last change's own events have
// come by then, and its report is at the API server.
const restAfter = time.Minute

// loop makes a pass at each news of the source or the credential, at each event of the kernel, at
// each resync, and when the last pass has asked for the next one.
func (d *Daemon) loop(ctx context.Context, news <-chan struct{}, retry time.Duration) {
	resync := time.NewTicker(d.Resync)
	defer resync.Stop()
	feed := time.NewTicker(watchdogEvery(d.Notify.WatchdogInterval()))
	defer feed.Stop()
	again := time.NewTimer(retry)
	defer again.Stop()
	resting := time.NewTimer(restAfter)
	defer resting.Stop()
	last := d.now()
	behind := time.Time{} // an event came during the pass that began then
	for {
		d.own.woken = time.Time{}
		d.Notify.Status(d.Status().Line())
		burst := false
		select {
		case <-ctx.Done():
			return
		case <-feed.C:
			d.Notify.Watchdog()
			continue
		case <-resting.C:
			if d.Resting != nil {
				d.Resting()
			}
			continue
		case <-news:
			burst = true
		case <-d.own.events:
			burst = true
			if d.own.woken = behind; behind.IsZero() {
				d.own.woken = d.now()
			}
		case <-resync.C:
			d.checkShown()
		case <-again.C:
		case c := <-d.commands:
			if next := d.obey(ctx, c); next > 0 {
				again.Reset(next)
				last = d.now()
			}
			continue
		}
		if burst && !d.calmDown(ctx, last) {
			return
		}
		drain(news) // the pass reads everything, also that
		if drain(d.own.events) && d.own.woken.IsZero() {
			d.own.woken = d.now()
		}
		began := d.now()
		next := d.pass(ctx)
		if behind = (time.Time{}); len(d.own.events) > 0 {
			behind = began
		}
		last = d.now()
		d.Notify.Watchdog()
		again.Reset(next)
		if burst {
			resting.Reset(restAfter)
		}
	}
}

// calmDown waits until a burst of news has come to its end, where the last pass ended at last;
// false: the daemon is being stopped.
func (d *Daemon) calmDown(ctx context.Context, last time.Time) bool {
	rest := d.debounce() - d.now().Sub(last)
	if rest <= 0 {
		return true
	}
	select {
	case <-time.After(rest):
		return true
	case <-ctx.Done():
		return false
	}
}

// checkShown sends the report again where the cluster does not show it: somebody may have lost it
// there.
func (d *Daemon) checkShown() {
	d.state.mu.Lock()
	obj, answered := d.state.wish.Object, d.state.wish.Err == nil && !d.state.wish.Contact.IsZero()
	d.state.mu.Unlock()
	if r := d.reports.Last(); obj != nil && answered && r.UID == obj.UID && r.Generation == obj.Generation && obj.Status.ObservedGeneration != obj.Generation {
		d.reports.Again()
	}
}

// watchdogEvery feeds three times within the interval that the service manager allows.
func watchdogEvery(interval time.Duration) time.Duration {
	if interval <= 0 {
		return time.Hour
	}
	return interval / 3
}
