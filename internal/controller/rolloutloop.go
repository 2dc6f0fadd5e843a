package controller

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
)

const (
	// rolloutEvery is how often the brake looks while nodes wait: one that comes
	// back from silence wakes nobody here.
	rolloutEvery = 5 * time.Second
	// rolloutGather is how long news may gather before it looks at all objects.
	rolloutGather = 100 * time.Millisecond
)

// rollout is the brake. What it releases is written by the status loop, which it
// wakes.
type rollout struct {
	client    client.Client // reads from the cache
	log       *slog.Logger
	events    events.EventRecorder
	options   RolloutOptions
	reachable func(context.Context, *v1.MultiNicNodeConfig) (bool, error)
	wake      chan event.TypedGenericEvent[*v1.MultiNicNodeConfig]

	mu      sync.Mutex
	granted map[types.UID]int64 // released, and not in the cache yet
	stopped bool
	out     Rollout // what was decided last
}

// last is what was decided last.
func (r *rollout) last() Rollout {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out
}

// of is the generation up to which an object is released, as far as is known: -1
// for none. A nil brake gives 0, which is no brake.
func (r *rollout) of(obj *v1.MultiNicNodeConfig) int64 {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if g := max(obj.Status.ReleasedGeneration, r.granted[obj.UID]); g != 0 {
		return g
	}
	return -1
}

// Reconcile looks at all objects.
func (r *rollout) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	var list v1.MultiNicNodeConfigList
	if err := r.client.List(ctx, &list, client.InNamespace(v1.SystemNamespace), client.UnsafeDisableDeepCopy); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing objects: %w", err)
	}
	var nodes []RolloutNode
	objects := map[types.UID]*v1.MultiNicNodeConfig{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range list.Items {
		obj := &list.Items[i]
		if obj.DeletionTimestamp != nil {
			continue
		}
		objects[obj.UID] = obj
		if r.granted[obj.UID] <= obj.Status.ReleasedGeneration {
			delete(r.granted, obj.UID)
		}
		reachable, err := r.reachable(ctx, obj)
		if err != nil {
			return reconcile.Result{}, err
		}
		nodes = append(nodes, rolloutNode(obj, r.granted[obj.UID], reachable))
	}
	for uid := range r.granted {
		if objects[uid] == nil {
			delete(r.granted, uid)
		}
	}
	out, err := Brake(nodes, r.options)
	if err != nil {
		return reconcile.Result{}, err
	}
	r.out = out
	r.tell(out)
	for _, n := range out.Release {
		r.granted[n.UID] = n.Generation
		named := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Namespace: v1.SystemNamespace}}
		select {
		case r.wake <- event.TypedGenericEvent[*v1.MultiNicNodeConfig]{Object: named}:
		case <-ctx.Done():
			return reconcile.Result{}, nil
		}
	}
	if out.Waiting > 0 {
		return again(rolloutEvery), nil
	}
	return reconcile.Result{}, nil
}

// tell says once that the brake has stopped a rollout, and once that it goes on.
// r.mu must be held.
func (r *rollout) tell(out Rollout) {
	if out.Stopped == r.stopped {
		return
	}
	r.stopped = out.Stopped
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: v1.BridgeAccount, Namespace: v1.SystemNamespace}}
	if !out.Stopped {
		r.log.Info("the rollout goes on", "waiting", out.Waiting)
		r.events.Eventf(account, nil, corev1.EventTypeNormal, eventRolloutGoesOn, "Brake", "the rollout goes on; %d nodes wait", out.Waiting)
		return
	}
	r.log.Warn("the rollout was stopped: too many nodes have failed", "failed", out.Failed, "waiting", out.Waiting)
	r.events.Eventf(account, nil, corev1.EventTypeWarning, eventRolloutStopped, "Brake",
		"the rollout was stopped: %d nodes have failed, %d wait; mend the objects of the failed ones, and it goes on by itself", out.Failed, out.Waiting)
}

// watchRollout wakes the brake for every object, which it then reads all at once.
func watchRollout(mgr manager.Manager, r *rollout) error {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	all := reconcile.Request{NamespacedName: types.NamespacedName{Name: "rollout"}}
	objects := handler.Funcs{
		CreateFunc: func(_ context.Context, _ event.CreateEvent, q queue) { q.AddAfter(all, rolloutGather) },
		UpdateFunc: func(_ context.Context, _ event.UpdateEvent, q queue) { q.AddAfter(all, rolloutGather) },
		DeleteFunc: func(_ context.Context, _ event.DeleteEvent, q queue) { q.AddAfter(all, rolloutGather) },
	}
	return ctrl.NewControllerManagedBy(mgr).Named("rollout").
		Watches(&v1.MultiNicNodeConfig{}, objects).
		WithOptions(options(1)).
		Complete(r)
}
