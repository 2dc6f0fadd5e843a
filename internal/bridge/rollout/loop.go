package rollout

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
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
	"multinicd/internal/bridge/gather"
)

// Reasons of Events about something that was done. Those of refusals are in api/v1.
const (
	eventRolloutStopped = "RolloutStopped"
	eventRolloutGoesOn  = "RolloutGoesOn"
	eventRolloutStuck   = "RolloutStuck"
)

const (
	// rolloutEvery is how often the brake looks while nodes wait. A node that comes back from
	// silence does not wake the brake.
	rolloutEvery = 5 * time.Second
	// rolloutGather is how long the brake lets news gather before it looks at all objects.
	rolloutGather = 100 * time.Millisecond
	// rolloutHears is how long after the start of the brake no node counts as stuck. Nodes that
	// settled while there was no bridge, or no API server, must first be heard.
	rolloutHears = 2 * time.Minute
)

// Loop is the brake. The status loop, which the brake wakes, writes what is released.
type Loop struct {
	Client    client.Client // reads from the cache
	Log       *slog.Logger
	Events    events.EventRecorder
	Options   Options
	Now       func() time.Time
	Reachable func(context.Context, *v1.MultiNicNodeConfig) (bool, error)
	Wake      chan event.TypedGenericEvent[*v1.MultiNicNodeConfig]

	mu      sync.Mutex
	began   time.Time               // when the brake first looked
	granted map[types.UID]grant     // released, and not in the cache yet
	asked   map[types.UID]time.Time // by run: since when its node may give its NICs back
	stopped bool
	stuck   map[types.UID]int64 // nodes that were reported as stuck, with the generation
	out     Out                 // the last decision
}

// grant is a release that the cache does not show yet. If its status can never be written, the
// grant must not hold its place for ever, so it has a time.
type grant struct {
	generation int64
	at         time.Time
}

// Last is the last decision.
func (r *Loop) Last() Out {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out
}

// Released is the generation up to which an object is released, as far as is known; -1 for none.
func (r *Loop) Released(obj *v1.MultiNicNodeConfig) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g := max(obj.Status.ReleasedGeneration, r.granted[obj.UID].generation); g != 0 {
		return g
	}
	return -1
}

// Reconcile looks at all objects.
func (r *Loop) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	var list v1.MultiNicNodeConfigList
	if err := r.Client.List(ctx, &list, client.InNamespace(v1.SystemNamespace), client.UnsafeDisableDeepCopy); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing objects: %w", err)
	}
	var nodes []Node
	objects, acts := map[types.UID]*v1.MultiNicNodeConfig{}, map[string]bool{}
	now := r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.began.IsZero() {
		r.began = now
	}
	for i := range list.Items {
		obj := &list.Items[i]
		if obj.DeletionTimestamp != nil {
			continue
		}
		objects[obj.UID] = obj
		since := r.granted[obj.UID].at
		if r.granted[obj.UID].generation <= obj.Status.ReleasedGeneration {
			delete(r.granted, obj.UID)
			if since = now; obj.Status.ReleasedAt != nil {
				since = obj.Status.ReleasedAt.Time
			}
		}
		reachable, err := r.Reachable(ctx, obj)
		if err != nil {
			return reconcile.Result{}, err
		}
		acts[obj.Name] = reachable
		n := nodeOf(obj, r.granted[obj.UID].generation, reachable)
		n.Held = now.Sub(since)
		if hears := r.began.Add(rolloutHears).Sub(now); hears > 0 {
			n.Held = min(n.Held, cmp.Or(r.Options.Patience, Patience)-hears)
		}
		nodes = append(nodes, n)
	}
	for uid := range r.granted {
		if objects[uid] == nil {
			delete(r.granted, uid)
		}
	}
	out, err := Judge(nodes, r.Options)
	if err != nil {
		return reconcile.Result{}, err
	}
	cleanups, others, err := r.cleanups(ctx, objects, acts, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	r.out = out
	r.tell(out)
	r.tellStuck(out, objects)
	// The status loop asks for what is granted here once it gets r.mu.
	for _, n := range out.Release {
		if err := r.wake(ctx, n.Name); err != nil {
			return reconcile.Result{}, err
		}
		if r.granted == nil {
			r.granted = map[types.UID]grant{}
		}
		r.granted[n.UID] = grant{n.Generation, now}
	}
	for _, c := range cleanups {
		if err := r.wake(ctx, c.Node); err != nil {
			return reconcile.Result{}, err
		}
		r.asked[c.Run] = now
	}
	if (out.Waiting > 0 || others) && (out.Again == 0 || out.Again > rolloutEvery) {
		return gather.Again(rolloutEvery), nil
	}
	return gather.Again(out.Again), nil
}

// wake wakes the status loop for a node.
func (r *Loop) wake(ctx context.Context, node string) error {
	named := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: node, Namespace: v1.SystemNamespace}}
	select {
	case r.Wake <- event.TypedGenericEvent[*v1.MultiNicNodeConfig]{Object: named}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waking the status loop for %s: %w", node, ctx.Err())
	}
}

// tellStuck reports a node that is stuck, once. r.mu must be held.
func (r *Loop) tellStuck(out Out, objects map[types.UID]*v1.MultiNicNodeConfig) {
	told := map[types.UID]int64{}
	for _, n := range out.Stuck {
		told[n.UID] = n.Generation
		if r.stuck[n.UID] == n.Generation {
			continue
		}
		r.Log.Warn("a node that was released does not settle: it counts as failed", "node", n.Name, "generation", n.Generation)
		r.Events.Eventf(objects[n.UID].DeepCopy(), nil, corev1.EventTypeWarning, eventRolloutStuck, "Brake",
			"generation %d was released, and %s has not settled on it within %s: it counts as failed, and the rollout waits for it no longer",
			n.Generation, n.Name, cmp.Or(r.Options.Patience, Patience))
	}
	r.stuck = told
}

// tell reports once that the brake has stopped a rollout, and once that the rollout goes on. r.mu
// must be held.
func (r *Loop) tell(out Out) {
	if out.Stopped == r.stopped {
		return
	}
	r.stopped = out.Stopped
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: v1.BridgeAccount, Namespace: v1.SystemNamespace}}
	if !out.Stopped {
		r.Log.Info("the rollout goes on", "waiting", out.Waiting)
		r.Events.Eventf(account, nil, corev1.EventTypeNormal, eventRolloutGoesOn, "Brake", "the rollout goes on; %d nodes wait", out.Waiting)
		return
	}
	failed := strings.Join(out.FailedNodes, ", ")
	if most := 5; len(out.FailedNodes) > most {
		failed = strings.Join(out.FailedNodes[:most], ", ") + ", ..."
	}
	r.Log.Warn("the rollout was stopped: too many nodes have failed", "failed", out.Failed, "waiting", out.Waiting, "nodes", failed)
	r.Events.Eventf(account, nil, corev1.EventTypeWarning, eventRolloutStopped, "Brake", "%s",
		v1.Printable(fmt.Sprintf("the rollout was stopped: %d nodes have failed (%s), %d wait; mend the objects of the failed ones, and it goes on by itself",
			out.Failed, failed, out.Waiting), gather.MaxEvent))
}

// Watch wakes the brake for every object and every run. The brake then reads all of them.
func Watch(mgr manager.Manager, r *Loop) error {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	all := reconcile.Request{NamespacedName: types.NamespacedName{Name: "rollout"}}
	objects := handler.Funcs{
		CreateFunc: func(_ context.Context, _ event.CreateEvent, q queue) { q.AddAfter(all, rolloutGather) },
		UpdateFunc: func(_ context.Context, _ event.UpdateEvent, q queue) { q.AddAfter(all, rolloutGather) },
		DeleteFunc: func(_ context.Context, _ event.DeleteEvent, q queue) { q.AddAfter(all, rolloutGather) },
	}
	return ctrl.NewControllerManagedBy(mgr).Named("rollout").
		Watches(&v1.MultiNicNodeConfig{}, objects).
		Watches(&v1.MultiNicNodeRun{}, objects).
		WithOptions(gather.LoopOptions(1)).
		Complete(r)
}
