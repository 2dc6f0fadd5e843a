package gather

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// After how long a loop looks again if nothing has woken it.
const (
	// Soonest is the shortest time that a loop may ask for. A loop that is wrong about its time
	// then costs one look a second, not the whole machine.
	Soonest = time.Second
	// ConflictRetry is when a write that met a conflict is tried again.
	ConflictRetry = time.Second
	// CacheLag is when to look again if the cache was behind. The event that the cache gets then
	// comes sooner.
	CacheLag = time.Second
	// AdmissionRetry is when work that waits for the admission policies is tried again.
	AdmissionRetry = 5 * time.Second
)

// Again is how every loop asks to be run again without an event. 0 means never; otherwise it is
// after that time, but not sooner than Soonest. The rate limiter of the queue does not see such a
// request. Without Soonest nothing would hold back a loop that asks for a time in the past.
func Again(after time.Duration) reconcile.Result {
	if after == 0 {
		return reconcile.Result{}
	}
	return reconcile.Result{RequeueAfter: max(after, Soonest)}
}
