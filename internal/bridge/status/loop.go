package status

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// Loop gathers what Judge decides from, and writes what Judge decided. One goroutine at a time
// works on a node; several nodes are worked on at once.
type Loop struct {
	Client      client.Client // reads from the caches
	Log         *slog.Logger
	Now         func() time.Time
	SilentAfter time.Duration
	Pulses      *gather.Pulses
	Events      events.EventRecorder
	Written     prometheus.Counter // statuses
	Outdated    prometheus.Gauge   // whether the CRDs are older than the bridge
	Jobs        bool               // there are Jobs
	// Released is the generation up to which the rollout brake lets a node act, -1 for none. nil
	// means that there is no brake. Freed wakes the loop for what is newly released.
	Released func(*v1.MultiNicNodeConfig) int64
	Freed    <-chan event.TypedGenericEvent[*v1.MultiNicNodeConfig]
	// MayAsk says whether the brake lets a node begin a cleanup, by the uid of the run.
	MayAsk func(run types.UID) bool
	// Reachable says whether somebody would act on a release now.
	Reachable func(context.Context, *v1.MultiNicNodeConfig) (bool, error)

	crds    crds
	mu      sync.Mutex
	said    map[string]said   // by node
	behind  map[string]behind // by node: since when its status is of an older generation
	settled map[string]string // by node: what the node had settled on when that was last reported
	writes  limiter           // of statuses
	tells   limiter           // of Events
}

// Reconcile brings one node's status to where it should be.
func (l *Loop) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	node := req.Name
	obj, err := gather.Object(ctx, l.Client, node)
	if err != nil {
		return reconcile.Result{}, err
	}
	if obj == nil {
		l.forget(node)
		return reconcile.Result{}, nil
	}
	obj.Status = l.lastStatus(obj)
	obj.Status.Conditions = sorted(obj.Status.Conditions)

	report, err := gather.ReportOf(ctx, l.Client, node)
	if err != nil {
		return reconcile.Result{}, err
	}
	runs, err := gather.Runs(ctx, l.Client, node)
	if err != nil {
		return reconcile.Result{}, err
	}
	in := In{
		Object: obj, Report: report, Pulse: l.Pulses.Of(node), Runs: runs,
		Now: l.Now(), SilentAfter: l.SilentAfter, Jobs: l.Jobs,
	}
	in.Behind = l.behindSince(obj, report, in.Now)
	if l.Released != nil {
		in.Released = l.Released(obj)
		if in.Reachable, err = l.Reachable(ctx, obj); err != nil {
			return reconcile.Result{}, err
		}
		in.Wait = map[types.UID]bool{}
		for _, run := range runs {
			asked := obj.Status.RequestedRun == string(run.UID)
			in.Wait[run.UID] = run.Spec.Action == v1.ActionCleanup && !asked && !l.MayAsk(run.UID)
		}
	}
	if l.Jobs {
		if err := l.gatherJob(ctx, &in); err != nil {
			return reconcile.Result{}, err
		}
	}
	out := Judge(in)
	l.Pulses.Judged(node, out.Silent)
	out.Status = l.crds.fit(out.Status, in.Now)
	if !equality.Semantic.DeepEqual(obj.Status, out.Status) {
		if delay := l.writes.wait(node, in.Now, writeEvery, writeBurst); delay > 0 {
			return gather.Again(delay), nil
		}
		err := l.write(ctx, obj, out.Status)
		if apierrors.IsConflict(err) {
			// It is another object by now, or the API server could not write it. Only in the first
			// case an event is on its way.
			return gather.Again(gather.ConflictRetry), nil
		}
		if err != nil {
			return reconcile.Result{}, err
		}
	}
	// when a silent node renews its Lease again, that wakes us
	return gather.Again(l.crds.again(out.Again)), nil
}

// behind is a status that is of an older generation than the object.
type behind struct {
	uid      types.UID
	observed int64 // that generation
	since    time.Time
}

// behindSince is since when the bridge has seen that the status of obj is of an older generation;
// zero if it is not. Another change of the object does not begin the time anew: otherwise an object
// that changes all the time would keep an old status for ever.
func (l *Loop) behindSince(obj *v1.MultiNicNodeConfig, report gather.Report, now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	newest := obj.Generation
	if r := report.Said; r != nil && r.UID == obj.UID { // the caches may show it before the object
		newest = max(newest, r.Generation)
	}
	if obj.Status.ObservedGeneration >= newest {
		delete(l.behind, obj.Name)
		return time.Time{}
	}
	b, ok := l.behind[obj.Name]
	if !ok || b.uid != obj.UID || b.observed != obj.Status.ObservedGeneration {
		b = behind{uid: obj.UID, observed: obj.Status.ObservedGeneration, since: now}
		if l.behind == nil {
			l.behind = map[string]behind{}
		}
		l.behind[obj.Name] = b
	}
	return b.since
}

// gatherJob reads those facts about the node's Jobs that a status needs.
func (l *Loop) gatherJob(ctx context.Context, in *In) error {
	jobs, err := gather.Jobs(ctx, l.Client, in.Object.Name)
	if err != nil || len(jobs) == 0 {
		return err
	}
	pods, err := gather.Pods(ctx, l.Client, in.Object.Name)
	if err != nil {
		return err
	}
	in.Job, in.JobTrouble = troubleOf(in.Object, jobs, pods)
	return nil
}
