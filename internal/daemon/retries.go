package daemon

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"multinicd/internal/apply"
	"multinicd/nic"
	"multinicd/plan"
)

// waitMin is the shortest wait that the loop asks for. Events are answered at once all the same; a wait only says when to look without one.
const waitMin = time.Second

// retries are what the loop knows of NICs that must be looked at again without an event: changes that failed, and repairs that another
// writer undoes. Only the goroutine of the loop uses them.
type retries struct {
	failures map[nic.MAC]failure
	fights   map[nic.MAC]*fight
	motions  map[nic.MAC]motion // of links that somebody renames or sets down
	halves   map[nic.MAC]*half  // of changes that are half way
}

func newRetries() retries {
	return retries{map[nic.MAC]failure{}, map[nic.MAC]*fight{}, map[nic.MAC]motion{}, map[nic.MAC]*half{}}
}

// keep forgets every NIC for which the newest plan has no action: nobody would ever try its change again, nor see its peace.
func (r retries) keep(actions []plan.Action) {
	planned := map[nic.MAC]bool{}
	for _, a := range actions {
		planned[a.NIC.MAC] = true
	}
	maps.DeleteFunc(r.failures, func(mac nic.MAC, _ failure) bool { return !planned[mac] })
	maps.DeleteFunc(r.motions, func(mac nic.MAC, _ motion) bool { return !planned[mac] })
	maps.DeleteFunc(r.fights, func(mac nic.MAC, _ *fight) bool { return !planned[mac] })
}

// next is how long the loop may wait for an event: until the first NIC is due, waitMin at least and an hour at most.
func (r retries) next(now time.Time) time.Duration {
	wait := time.Hour
	for _, f := range r.failures {
		wait = min(wait, f.next.Sub(now))
	}
	for mac, f := range r.goingOn() {
		if _, failed := r.failures[mac]; !failed { // a NIC that failed is not looked at before its failure is due
			wait = min(wait, f.next(now).Sub(now))
		}
	}
	return max(wait, waitMin)
}

// tryNow has the next pass try what waits for its next retry: whoever asks for something wants that.
func (r retries) tryNow() {
	clear(r.failures)
	for _, h := range r.halves {
		h.news = true
	}
}

// nextTry is when what failed of a NIC is tried again; zero: nothing is.
func (r retries) nextTry(mac nic.MAC) time.Time {
	if h := r.halves[mac]; h != nil {
		return h.due()
	}
	return r.failures[mac].next
}

// failed lists the NICs whose last change failed, in no order.
func (r retries) failed() []nic.MAC { return slices.Collect(maps.Keys(r.failures)) }

// goingOn lists the NICs about which a fight goes on, by MAC.
func (r retries) goingOn() map[nic.MAC]*fight {
	out := map[nic.MAC]*fight{}
	for mac, f := range r.fights {
		if f.fighting() {
			out[mac] = f
		}
	}
	return out
}

// failure remembers a change that failed, so that it is not tried again at every event.
type failure struct {
	wanted nic.Config
	result apply.Result
	count  int
	again  bool // in the words of the time before
	wait   time.Duration
	next   time.Time
}

// level is that of a line about the failure: what fails again and again says so once.
func (f failure) level() slog.Level {
	if f.again {
		return slog.LevelDebug
	}
	return slog.LevelError
}

// counts says whether an action is what failed before: for a NIC that was unplugged in mid-change and is back as another link it is not.
func (f failure) counts(a plan.Action) bool {
	had := f.result.Action.Link
	return f.wanted.Equal(a.NIC) && (had == nil || a.Link == nil || had.Index == a.Link.Index)
}

// Failed changes are tried again after retryMin, doubled each time up to retryMax, and at once when what is wanted changes.
const (
	retryMin   = 5 * time.Second
	retryProbe = time.Minute // each try may cut the node off for as long as the probes are waited for
	retryMax   = 10 * time.Minute
)

// due says whether a change that failed is to be tried now. Those that failed one after the other are tried again in one pass, and not each in one of
// its own: a tenth of the wait counts as nothing.
func (f failure) due(now time.Time) bool { return !now.Add(f.wait / 10).Before(f.next) }

// fail notes that the change of an action failed, once more if it is the one that failed before.
func (r retries) fail(res apply.Result, now time.Time) {
	a := res.Action
	f, known := r.failures[a.NIC.MAC]
	if !known || !f.counts(a) {
		f = failure{wanted: a.NIC}
	}
	f.again = f.count > 0 && f.result.Reason == res.Reason && f.result.Message == res.Message
	f.count++
	wait := retryMin
	if res.Reason == plan.ProbeFailed {
		wait = retryProbe
	}
	f.result, f.wait = res, min(wait<<min(f.count-1, 10), retryMax)
	f.next = now.Add(f.wait)
	r.failures[a.NIC.MAC] = f
}
