// Package pace is when a NIC is tried again, and how long it is left alone: after a change that
// failed, while another writer undoes each repair, while somebody moves the link, and while a
// change is half way.
//
// In go results of actions, and the time of day; out come when to look again and whether to act
// now.
//
// The package is pure: it knows no clock, sees no link, and starts nothing. Only the goroutine of
// the loop uses a NICs.
//
// Start reading at NICs, which keeps all of that by MAC. Failure follows below it; fight.go,
// motion.go and half.go have the others.
package pace

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"multinicd/internal/apply"
	"multinicd/nic"
	"multinicd/plan"
)

// WaitMin is the shortest wait that the loop asks for. Events are answered at once all the same; a
// wait only says when to look without one.
const WaitMin = time.Second

// NICs are what the loop knows of NICs that must be looked at again without an event: changes that
// failed, and repairs that another writer undoes. Only the goroutine of the loop uses them.
type NICs struct {
	Failures map[nic.MAC]Failure
	Fights   map[nic.MAC]*Fight
	Motions  map[nic.MAC]Motion // of links that somebody renames or sets down
	Halves   map[nic.MAC]*Half  // of changes that are half way
}

// New gives what is known at the start: nothing.
func New() NICs {
	return NICs{map[nic.MAC]Failure{}, map[nic.MAC]*Fight{}, map[nic.MAC]Motion{}, map[nic.MAC]*Half{}}
}

// Keep forgets every NIC for which the newest plan has no action: nobody would ever try its change
// again, nor see its peace.
func (r NICs) Keep(actions []plan.Action) {
	planned := map[nic.MAC]bool{}
	for _, a := range actions {
		planned[a.NIC.MAC] = true
	}
	maps.DeleteFunc(r.Failures, func(mac nic.MAC, _ Failure) bool { return !planned[mac] })
	maps.DeleteFunc(r.Motions, func(mac nic.MAC, _ Motion) bool { return !planned[mac] })
	maps.DeleteFunc(r.Fights, func(mac nic.MAC, _ *Fight) bool { return !planned[mac] })
}

// Next is how long the loop may wait for an event: until the first NIC is due, WaitMin at least and
// an hour at most.
func (r NICs) Next(now time.Time) time.Duration {
	wait := time.Hour
	for mac, f := range r.Failures {
		if r.Halves[mac] == nil { // which have a pace of their own
			wait = min(wait, f.next.Sub(now))
		}
	}
	for mac, f := range r.GoingOn() {
		if _, failed := r.Failures[mac]; !failed { // a NIC that failed is not looked at before its failure is due
			wait = min(wait, f.next(now).Sub(now))
		}
	}
	return max(wait, WaitMin)
}

// TryNow has the next pass try what waits for its next retry: whoever asks for something wants
// that.
func (r NICs) TryNow() {
	clear(r.Failures)
	for _, h := range r.Halves {
		h.news = true
	}
}

// PutRight notes that a change which was half way is undone by now. The change is tried anew at
// once. If it has failed before, it waits for its next try: its undo may fail each time, too.
func (r NICs) PutRight(mac nic.MAC, undone apply.Result) {
	f, failed := r.Failures[mac]
	if !failed {
		return
	}
	if f.Result = undone; f.count == 1 {
		f.wait, f.next = 0, time.Time{}
	}
	r.Failures[mac] = f
}

// NextTry is when what failed of a NIC is tried again; zero: nothing is.
func (r NICs) NextTry(mac nic.MAC) time.Time {
	if h := r.Halves[mac]; h != nil {
		return h.Due()
	}
	return r.Failures[mac].next
}

// Failed lists the NICs whose last change failed, in no order.
func (r NICs) Failed() []nic.MAC { return slices.Collect(maps.Keys(r.Failures)) }

// GoingOn lists the NICs about which a fight goes on, by MAC.
func (r NICs) GoingOn() map[nic.MAC]*Fight {
	out := map[nic.MAC]*Fight{}
	for mac, f := range r.Fights {
		if f.Fighting() {
			out[mac] = f
		}
	}
	return out
}

// Failure remembers a change that failed, so that it is not tried again at every event.
type Failure struct {
	wanted nic.Config
	Result apply.Result
	count  int
	Again  bool // in the words of the time before
	wait   time.Duration
	next   time.Time
}

// Level is that of a line about the failure: what fails again and again says so once.
func (f Failure) Level() slog.Level {
	if f.Again {
		return slog.LevelDebug
	}
	return slog.LevelError
}

// Counts says whether an action is what failed before: for a NIC that was unplugged in mid-change
// and is back as another link it is not.
func (f Failure) Counts(a plan.Action) bool {
	had := f.Result.Action.Link
	return f.wanted.Equal(a.NIC) && (had == nil || a.Link == nil || had.Index == a.Link.Index)
}

// Failed changes are tried again after RetryMin, retryGrowth times as long each time up to RetryMax,
// and at once when what is wanted changes.
const (
	RetryMin   = 5 * time.Second
	RetryProbe = time.Minute // each try may cut the node off for as long as the probes are waited for
	RetryMax   = 10 * time.Minute

	retryGrowth = 3
)

// Due says whether a change that failed is to be tried now. Those that failed one after the other
// are tried again in one pass, and not each in one of its own: a tenth of the wait counts as
// nothing.
func (f Failure) Due(now time.Time) bool { return !now.Add(f.wait / 10).Before(f.next) }

// Fail notes that the change of an action failed, once more if it is the one that failed before.
func (r NICs) Fail(res apply.Result, now time.Time) {
	a := res.Action
	f, known := r.Failures[a.NIC.MAC]
	if !known || !f.Counts(a) {
		f = Failure{wanted: a.NIC}
	}
	f.Again = f.count > 0 && f.Result.Reason == res.Reason && f.Result.Message == res.Message
	f.count++
	wait := RetryMin
	if res.Reason == plan.ProbeFailed {
		wait = RetryProbe
	}
	for range min(f.count-1, 10) {
		wait = min(retryGrowth*wait, RetryMax)
	}
	f.Result, f.wait = res, wait
	f.next = now.Add(f.wait)
	r.Failures[a.NIC.MAC] = f
}
