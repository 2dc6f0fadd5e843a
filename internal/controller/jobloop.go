package controller

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
)

// jobLoop makes and ends the Jobs of nodes. One goroutine at a time works on a
// node; several nodes are worked on at once.
type jobLoop struct {
	client      client.Client // reads from the caches
	reader      client.Reader // asks the API server
	log         *slog.Logger
	now         func() time.Time
	silentAfter time.Duration
	pulses      *pulses
	inForce     func(context.Context) error // gives an error while the admission policies are not in force
	counted     *prometheus.CounterVec      // by what was done
	options     JobOptions
	braked      bool

	mu   sync.Mutex
	last map[string]time.Time // by node: when a Job was made last, of the last second
}

// jobsOf asks the API server for a node's Jobs.
func jobsOf(ctx context.Context, c client.Reader, node string) ([]batchv1.Job, error) {
	var list batchv1.JobList
	if err := c.List(ctx, &list, client.InNamespace(v1.NodesNamespace), client.MatchingLabels(jobLabels(node))); err != nil {
		return nil, fmt.Errorf("listing the Jobs of %s: %w", node, err)
	}
	return list.Items, nil
}

// watchJobs wakes the loop for what JudgeJobs decides from.
func watchJobs(mgr manager.Manager, loop *jobLoop) error {
	by := func(node func(client.Object) string) handler.EventHandler { return wakes(v1.SystemNamespace, node) }
	return ctrl.NewControllerManagedBy(mgr).Named("job").
		For(&v1.MultiNicNodeConfig{}).
		Watches(&batchv1.Job{}, by(nodeOfJob)).
		Watches(&corev1.ConfigMap{}, by(named(v1.ReportName("")))).
		// A daemon that begins or ends to live tells by its first renewal, and by a timer of ours.
		Watches(&coordinationv1.Lease{}, by(named(v1.LeaseName(""))), builder.WithPredicates(predicate.Funcs{
			UpdateFunc: func(e event.UpdateEvent) bool { return holder(e.ObjectNew) != holder(e.ObjectOld) },
		})).
		WatchesMetadata(&corev1.Node{}, by(client.Object.GetName), builder.WithPredicates(comesAndGoes)).
		Watches(&corev1.ServiceAccount{}, by(named(v1.ServiceAccountName(""))), builder.WithPredicates(comesAndGoes)).
		WithOptions(options(workers)).
		Complete(loop)
}

// Reconcile brings one node's Jobs to where they should be.
func (l *jobLoop) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	node := req.Name
	in, left, err := l.gather(ctx, node)
	if err != nil {
		return reconcile.Result{}, err
	}
	out := JudgeJobs(in)
	switch {
	case out.Delete != nil:
		return l.end(ctx, node, out.Delete, out.Why)
	case out.Create != nil:
		return l.make(ctx, node, in, *out.Create)
	}
	return again(left), nil
}

// gather reads from the caches. left is how long a daemon that lives now goes on
// to count as living.
func (l *jobLoop) gather(ctx context.Context, node string) (in JobIn, left time.Duration, err error) {
	in = JobIn{Execution: l.options.Execution, Braked: l.braked}
	obj := &v1.MultiNicNodeConfig{}
	if err := l.client.Get(ctx, client.ObjectKey{Namespace: v1.SystemNamespace, Name: node}, obj); err == nil {
		in.Object = obj
	} else if !apierrors.IsNotFound(err) {
		return in, 0, fmt.Errorf("reading object of %s: %w", node, err)
	}
	shell := nodeShell()
	if err := l.client.Get(ctx, client.ObjectKey{Name: node}, shell); err == nil {
		in.Node = shell.DeletionTimestamp == nil
	} else if !apierrors.IsNotFound(err) {
		return in, 0, fmt.Errorf("reading Node %s: %w", node, err)
	}
	var report corev1.ConfigMap
	err = l.client.Get(ctx, client.ObjectKey{Namespace: v1.NodesNamespace, Name: v1.ReportName(node)}, &report)
	if client.IgnoreNotFound(err) != nil {
		return in, 0, fmt.Errorf("reading report of %s: %w", node, err)
	}
	in.Report = report.Data[v1.ReportKey]
	if in.Alive, left, err = daemonLives(ctx, l.client, l.pulses, node, in.Object, l.now(), l.silentAfter); err != nil {
		return in, 0, err
	}
	// The Lease of a node that had a daemon once says so for ever: who has not seen it move goes by who has reported last, or a bridge that
	// starts would end the Job of such a node, and make none until it has seen the Lease stand still.
	if p := l.pulses.of(node); in.Alive && p.Renewed && !p.Moved {
		if r, err := readReport(node, in.Report); err == nil && r != nil && r.Executor == v1.ExecutorJob {
			in.Alive, left = false, 0
		}
	}
	in.Jobs, err = cachedJobs(ctx, l.client, node)
	return in, left, err
}

// make makes the Job, unless the API server knows better than the caches.
func (l *jobLoop) make(ctx context.Context, node string, in JobIn, key JobKey) (reconcile.Result, error) {
	var account corev1.ServiceAccount
	err := l.client.Get(ctx, client.ObjectKey{Namespace: v1.NodesNamespace, Name: v1.ServiceAccountName(node)}, &account)
	if apierrors.IsNotFound(err) {
		return reconcile.Result{}, nil // being made, which wakes us
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading the ServiceAccount of %s: %w", node, err)
	}
	if l.inForce(ctx) != nil {
		return again(admissionRetry), nil // it has told why
	}
	if in.Jobs, err = jobsOf(ctx, l.reader, node); err != nil {
		return reconcile.Result{}, err
	}
	if out := JudgeJobs(in); out.Create == nil {
		return again(time.Second), nil // the cache is about to show it
	}
	now := l.now()
	l.mu.Lock()
	wait := l.last[node].Add(time.Second).Sub(now) // two Jobs of a second would bear one name
	if wait <= 0 {
		maps.DeleteFunc(l.last, func(_ string, at time.Time) bool { return now.Sub(at) >= time.Second })
		if l.last == nil {
			l.last = map[string]time.Time{}
		}
		l.last[node] = now
	}
	l.mu.Unlock()
	if wait > 0 {
		return again(wait), nil
	}
	job := newJob(node, key, l.options, now)
	if err := l.client.Create(ctx, job); apierrors.IsAlreadyExists(err) {
		return again(time.Second), nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("making Job %s: %w", job.Name, err)
	}
	l.counted.WithLabelValues("made").Inc()
	l.log.Info("made a Job", "node", node, "job", job.Name, "generation", key.Generation, "run", key.Run)
	return reconcile.Result{}, nil
}

// end deletes a Job, which stays until its Pod has ended.
func (l *jobLoop) end(ctx context.Context, node string, job *batchv1.Job, why string) (reconcile.Result, error) {
	uid := job.UID
	err := l.client.Delete(ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: job.Name}},
		client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationForeground))
	switch {
	case apierrors.IsConflict(err):
		// Another Job by now, or an API server in trouble: only for the first an event is on its way.
		return again(conflictRetry), nil
	case apierrors.IsNotFound(err):
		return reconcile.Result{}, nil // the cache is about to show it
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("deleting Job %s: %w", job.Name, err)
	}
	l.counted.WithLabelValues("ended").Inc()
	l.log.Info("ended a Job", "node", node, "job", job.Name, "reason", why)
	return reconcile.Result{}, nil
}
