package runs

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// Loop says in runs how they are, and deletes old ones. The node gets its order through its
// object's status, which the status loop writes.
type Loop struct {
	Client client.Client // reads from the caches
	Reader client.Reader // asks the API server
	Events events.EventRecorder
	Log    *slog.Logger
	Now    func() time.Time
	Ended  *prometheus.CounterVec // by action and exit code
}

// Watch wakes the loop for a run. It also wakes it for the runs of a node whose object or report
// has news.
func Watch(mgr manager.Manager, loop *Loop) error {
	of := func(node func(client.Object) string) handler.EventHandler {
		return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
			runs, err := gather.Runs(ctx, loop.Client, node(o))
			if err != nil {
				return nil // the cache is not there yet; once it is, it will speak of every run
			}
			var out []reconcile.Request
			for _, r := range runs {
				if !gather.RunEnded(&r) {
					out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&r)})
				}
			}
			return out
		})
	}
	return ctrl.NewControllerManagedBy(mgr).Named("run").
		For(&v1.MultiNicNodeRun{}).
		Watches(&v1.MultiNicNodeConfig{}, of(client.Object.GetName)).
		Watches(&corev1.ConfigMap{}, of(gather.Named(v1.ReportName("")))).
		WithOptions(gather.LoopOptions(1)).
		Complete(loop)
}

// Reconcile brings one run's status to where it should be.
func (l *Loop) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var run v1.MultiNicNodeRun
	if err := l.Client.Get(ctx, req.NamespacedName, &run); apierrors.IsNotFound(err) {
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading run %s: %w", req.Name, err)
	}
	node := run.Spec.Node
	object, err := gather.Object(ctx, l.Client, node)
	if err == nil && object == nil && !gather.RunEnded(&run) {
		// Somebody who makes an object and at once asks for a run of it is faster than the cache.
		// And a run that has ended never changes.
		object, err = gather.Object(ctx, l.Reader, node)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	report, err := gather.ReportOf(ctx, l.Client, node)
	if err != nil {
		return reconcile.Result{}, err
	}
	out := Judge(In{Run: &run, Object: object, Report: report, Now: l.Now()})
	if out.Delete {
		uid := run.UID
		err := l.Client.Delete(ctx, &run, client.Preconditions{UID: &uid})
		if apierrors.IsConflict(err) {
			// It is another run by now, or the API server is in trouble. Only in the first case an
			// event is on its way, and an old run wakes nobody.
			return gather.Again(gather.ConflictRetry), nil
		}
		if client.IgnoreNotFound(err) != nil {
			return reconcile.Result{}, fmt.Errorf("deleting run %s: %w", run.Name, err)
		}
		return reconcile.Result{}, nil
	}
	if !equality.Semantic.DeepEqual(run.Status, out.Status) {
		err := l.write(ctx, &run, out.Status)
		if apierrors.IsConflict(err) {
			return gather.Again(gather.ConflictRetry), nil // the cache is about to show why
		}
		if err != nil {
			return reconcile.Result{}, err
		}
	}
	return gather.Again(out.Again), nil
}

// write writes the status of the run as it was read. If the run has changed since, that is a
// conflict.
func (l *Loop) write(ctx context.Context, run *v1.MultiNicNodeRun, s v1.MultiNicNodeRunStatus) error {
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": run.UID, "resourceVersion": run.ResourceVersion},
		"status":   s,
	})
	if err != nil {
		return fmt.Errorf("encoding status of run %s: %w", run.Name, err)
	}
	written := &v1.MultiNicNodeRun{ObjectMeta: metav1.ObjectMeta{Name: run.Name, Namespace: run.Namespace}}
	err = l.Client.Status().Patch(ctx, written, client.RawPatch(types.MergePatchType, body), client.FieldOwner(v1.BridgeFieldOwner))
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("writing status of run %s: %w", run.Name, err)
	}
	if s.FinishedAt == nil {
		return nil
	}
	l.Log.Info("run ended", "node", run.Spec.Node, "run", run.Name, "action", string(run.Spec.Action), "exit", *s.ExitCode, "reason", s.Reason)
	l.Ended.WithLabelValues(string(run.Spec.Action), fmt.Sprint(*s.ExitCode)).Inc()
	kind := corev1.EventTypeNormal
	if s.State == v1.RunFailed {
		kind = corev1.EventTypeWarning
	}
	l.Events.Eventf(written, nil, kind, s.Reason, "Run", "%s",
		v1.Printable(fmt.Sprintf("%s on %s ended with exit code %d: %s", run.Spec.Action, run.Spec.Node, *s.ExitCode, s.Message), gather.MaxEvent))
	return nil
}
