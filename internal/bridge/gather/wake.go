package gather

import (
	"context"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// reconcileWithin is how long one pass of a loop may take. A pass makes at most a dozen calls, of
// some milliseconds each. If the API server lets one of them hang, a worker must not be lost for
// good.
const reconcileWithin = time.Minute

// LoopOptions are the options of every loop, with that number of workers. What fails is tried again
// after 50 ms, and in the end every 30 s. The queue has two lanes.
func LoopOptions(workers int) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: workers,
		SkipNameValidation:      new(true),
		ReconciliationTimeout:   reconcileWithin,
		NewQueue:                newQueue,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 30*time.Second),
	}
}

// Wakes wakes a loop for the node that an object belongs to, if it belongs to one.
func Wakes(namespace string, node func(client.Object) string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		if name := node(o); name != "" {
			return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}}
		}
		return nil
	})
}

// Named finds the node of an object by the object's name: one of the prefixes, and then the name of
// the node.
func Named(prefixes ...string) func(client.Object) string {
	return func(o client.Object) string {
		for _, prefix := range prefixes {
			if node := nodeOf(o.GetName(), prefix); node != "" {
				return node
			}
		}
		return ""
	}
}

// ComesAndGoes ignores updates: only the creation and the deletion of an object wake the loop.
var ComesAndGoes = predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}

func nodeOf(name, prefix string) string {
	node, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return ""
	}
	return node
}

// Workers is how many nodes are worked on at once; a write takes about 5 ms.
const Workers = 8
