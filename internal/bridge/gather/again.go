package gather

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// When a loop looks again although nothing has told it to.
const (
	// Soonest is the shortest time that any loop may ask for: one that is wrong about
	// its time costs a look a second, not all of the machine.
	Soonest = time.Second
	// ConflictRetry is when a write that met a conflict is tried again.
	ConflictRetry = time.Second
	// CacheLag is when to look again after the cache was behind. The event that the
	// cache then gets comes sooner.
	CacheLag = time.Second
	// AdmissionRetry is when work that waits for the admission policies is tried
	// again.
	AdmissionRetry = 5 * time.Second
)

// Again is how every loop asks to be run again without an event: never for 0, else
// after so long, but not sooner than after a second. The rate limiter of the queue
// does not see such a request, so nothing else would hold a loop back that asks for
// a time that has passed.
func Again(after time.Duration) reconcile.Result {
	if after == 0 {
		return reconcile.Result{}
	}
	return reconcile.Result{RequeueAfter: max(after, Soonest)}
}
