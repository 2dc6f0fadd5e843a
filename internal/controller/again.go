package controller

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// When a loop looks again although nothing has told it to.
const (
	// soonest is the shortest time that any loop may ask for: one that is wrong about
	// its time costs a look a second, not all of the machine.
	soonest = time.Second
	// conflictRetry is when a write that met a conflict is tried again.
	conflictRetry = time.Second
	// cacheLag is when to look again after the cache was behind. The event that the
	// cache then gets comes sooner.
	cacheLag = time.Second
	// admissionRetry is when work that waits for the admission policies is tried
	// again.
	admissionRetry = 5 * time.Second
)

// again is how every loop asks to be run again without an event: never for 0, else
// after so long, but not sooner than after a second. The rate limiter of the queue
// does not see such a request, so nothing else would hold a loop back that asks for
// a time that has passed.
func again(after time.Duration) reconcile.Result {
	if after == 0 {
		return reconcile.Result{}
	}
	return reconcile.Result{RequeueAfter: max(after, soonest)}
}
