package gather

import (
	"context"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// The queue of a loop has two lanes. In each, who comes first is worked on first.
//
// The first is for news of one node: its report, its Lease after silence, a run. The second is for
// what many nodes may have at once, whose work must not stand before a node that has news: what is
// there when the bridge starts, what a loop asks for itself by Again, what is tried again after a
// failure, and what Behind wakes. News of a node brings it from the second lane to the first.
//
// A node is in the queue once, and one worker at most is at it. So the second lane goes on unless
// there are as many nodes as workers that have news all the time.

type (
	queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	lanes = priorityqueue.PriorityQueue[reconcile.Request]
)

// newQueue is the queue of a loop.
func newQueue(loop string, failures workqueue.TypedRateLimiter[reconcile.Request]) queue {
	return again{priorityqueue.New(loop, func(o *priorityqueue.Opts[reconcile.Request]) { o.RateLimiter = failures })}
}

// again puts into the second lane what is to be worked on later: only a loop's own wishes and what
// has failed are.
type again struct{ lanes }

func (q again) AddWithOpts(o priorityqueue.AddOpts, nodes ...reconcile.Request) {
	if o.After > 0 || o.RateLimited {
		o.Priority = new(handler.LowPriority)
	}
	q.lanes.AddWithOpts(o, nodes...)
}

// behind puts everything into the second lane.
type behind struct{ lanes }

func (q behind) Add(node reconcile.Request) { q.AddWithOpts(priorityqueue.AddOpts{}, node) }

func (q behind) AddWithOpts(o priorityqueue.AddOpts, nodes ...reconcile.Request) {
	o.Priority = new(handler.LowPriority)
	q.lanes.AddWithOpts(o, nodes...)
}

// Behind wakes for the same as h, in the second lane. It is for events of which many nodes may have
// one at once.
func Behind(h handler.EventHandler) handler.EventHandler {
	second := func(q queue) queue {
		if q, ok := q.(lanes); ok {
			return behind{q}
		}
		return q
	}
	return handler.Funcs{
		CreateFunc:  func(ctx context.Context, e event.CreateEvent, q queue) { h.Create(ctx, e, second(q)) },
		UpdateFunc:  func(ctx context.Context, e event.UpdateEvent, q queue) { h.Update(ctx, e, second(q)) },
		DeleteFunc:  func(ctx context.Context, e event.DeleteEvent, q queue) { h.Delete(ctx, e, second(q)) },
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q queue) { h.Generic(ctx, e, second(q)) },
	}
}
