package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// Loop makes and ends the Jobs of nodes. One goroutine at a time works on a node; several nodes are
// worked on at once.
type Loop struct {
	Client      client.Client // reads from the caches
	Reader      client.Reader // asks the API server
	Log         *slog.Logger
	Now         func() time.Time
	SilentAfter time.Duration
	Pulses      *gather.Pulses
	// an error as long as the admission policies are not in force
	InForce func(context.Context) error
	Counted *prometheus.CounterVec // by what was done
	Options Options
	Braked  bool

	mu   sync.Mutex
	last map[string]time.Time // by node: when a Job was made last, if within the last second
}

// blockedRetry is when to look again at a node that an administrator has blocked.
const blockedRetry = 10 * time.Minute

// jobsOf asks the API server for a node's Jobs.
func jobsOf(ctx context.Context, c client.Reader, node string) ([]batchv1.Job, error) {
	var list batchv1.JobList
	if err := c.List(ctx, &list, client.InNamespace(v1.NodesNamespace), client.MatchingLabels(labelsOf(node))); err != nil {
		return nil, fmt.Errorf("listing the Jobs of %s: %w", node, err)
	}
	return list.Items, nil
}

// Watch wakes the loop for everything that Judge decides from.
func Watch(mgr manager.Manager, loop *Loop) error {
	by := func(node func(client.Object) string) handler.EventHandler {
		return gather.Wakes(v1.SystemNamespace, node)
	}
	return ctrl.NewControllerManagedBy(mgr).Named("job").
		For(&v1.MultiNicNodeConfig{}).
		Watches(&batchv1.Job{}, by(gather.NodeOfJob)).
		Watches(&corev1.ConfigMap{}, by(gather.Named(v1.ReportName("")))).
		// When a daemon begins to live, its first renewal tells. When it stops, a timer of ours
		// tells.
		Watches(&coordinationv1.Lease{}, by(gather.Named(v1.LeaseName(""))), builder.WithPredicates(predicate.Funcs{
			UpdateFunc: func(e event.UpdateEvent) bool { return gather.Holder(e.ObjectNew) != gather.Holder(e.ObjectOld) },
		})).
		WatchesMetadata(&corev1.Node{}, by(client.Object.GetName), builder.WithPredicates(gather.ComesAndGoes)).
		Watches(&corev1.ServiceAccount{}, by(gather.Named(v1.ServiceAccountName(""))), builder.WithPredicates(gather.ComesAndGoes)).
		WithOptions(gather.LoopOptions(gather.Workers)).
		Complete(loop)
}

// Reconcile brings one node's Jobs to where they should be.
func (l *Loop) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	node := req.Name
	in, left, err := l.gather(ctx, node)
	if err != nil {
		return reconcile.Result{}, err
	}
	out := Judge(in)
	switch {
	case out.Delete != nil:
		return l.end(ctx, node, out.Delete, out.Why)
	case out.Create != nil:
		return l.make(ctx, node, in, *out.Create)
	}
	return gather.Again(left), nil
}

// gather reads from the caches. left is how long a daemon that lives now still counts as living.
func (l *Loop) gather(ctx context.Context, node string) (in In, left time.Duration, err error) {
	in = In{Execution: l.Options.Execution, Braked: l.Braked}
	if in.Object, err = gather.Object(ctx, l.Client, node); err != nil {
		return in, 0, err
	}
	shell, err := gather.Node(ctx, l.Client, node)
	if err != nil {
		return in, 0, err
	}
	in.Node = shell != nil && shell.DeletionTimestamp == nil
	if in.Report, err = gather.ReportOf(ctx, l.Client, node); err != nil {
		return in, 0, err
	}
	if in.Alive, left, err = gather.DaemonLives(ctx, l.Client, l.Pulses, node, in.Object, l.Now(), l.SilentAfter); err != nil {
		return in, 0, err
	}
	// The Lease of a node that once had a daemon says so for ever. As long as this bridge has not
	// seen the Lease move, the executor of the last report counts. Otherwise a bridge that starts
	// would end the Job of such a node, and make none until it has seen the Lease stand still.
	if p := l.Pulses.Of(node); in.Alive && p.Renewed && !p.Moved {
		if r := in.Report.Said; r != nil && r.Executor == v1.ExecutorJob {
			in.Alive, left = false, 0
		}
	}
	in.Jobs, err = gather.Jobs(ctx, l.Client, node)
	return in, left, err
}

// make makes the Job, unless the API server knows better than the caches.
func (l *Loop) make(ctx context.Context, node string, in In, key gather.JobKey) (reconcile.Result, error) {
	account, err := gather.Account(ctx, l.Client, v1.ServiceAccountName(node))
	if err != nil || account == nil {
		return reconcile.Result{}, err // if it is being made, that will wake us
	}
	if l.InForce(ctx) != nil {
		return gather.Again(gather.AdmissionRetry), nil // InForce has told why
	}
	// A Job's Pod has a token of the node, in the hands of that node.
	if is, err := gather.Blocked(ctx, l.Reader, node); err != nil || is {
		return gather.Again(blockedRetry), err
	}
	if in.Jobs, err = jobsOf(ctx, l.Reader, node); err != nil {
		return reconcile.Result{}, err
	}
	if out := Judge(in); out.Create == nil {
		return gather.Again(time.Second), nil // the cache is about to show it
	}
	now := l.Now()
	l.mu.Lock()
	// two Jobs of the same second would have the same name
	wait := l.last[node].Add(time.Second).Sub(now)
	if wait <= 0 {
		maps.DeleteFunc(l.last, func(_ string, at time.Time) bool { return now.Sub(at) >= time.Second })
		if l.last == nil {
			l.last = map[string]time.Time{}
		}
		l.last[node] = now
	}
	l.mu.Unlock()
	if wait > 0 {
		return gather.Again(wait), nil
	}
	job := newJob(node, key, l.Options, now)
	if err := l.Client.Create(ctx, job); apierrors.IsAlreadyExists(err) {
		return gather.Again(time.Second), nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("making Job %s: %w", job.Name, err)
	}
	l.Counted.WithLabelValues("made").Inc()
	l.Log.Info("made a Job", "node", node, "job", job.Name, "generation", key.Generation, "run", key.Run)
	return reconcile.Result{}, nil
}

// end deletes a Job. The Job stays until its Pod has ended.
func (l *Loop) end(ctx context.Context, node string, job *batchv1.Job, why string) (reconcile.Result, error) {
	uid := job.UID
	err := l.Client.Delete(ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: job.Name}},
		client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationForeground))
	switch {
	case apierrors.IsConflict(err):
		// It is another Job by now, or the API server is in trouble. Only in the first case an
		// event is on its way.
		return gather.Again(gather.ConflictRetry), nil
	case apierrors.IsNotFound(err):
		return reconcile.Result{}, nil // the cache is about to show it
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("deleting Job %s: %w", job.Name, err)
	}
	l.Counted.WithLabelValues("ended").Inc()
	l.Log.Info("ended a Job", "node", node, "job", job.Name, "reason", why)
	return reconcile.Result{}, nil
}
