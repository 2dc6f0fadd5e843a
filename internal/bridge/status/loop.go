package status

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// eventDriftEnded is the reason of an Event: a fight is over. The reasons of refusals are in
// api/v1.
const eventDriftEnded = "DriftEnded"

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
	// Reachable says whether somebody would act on a release now.
	Reachable func(context.Context, *v1.MultiNicNodeConfig) (bool, error)

	crds    crds
	mu      sync.Mutex
	said    map[string]said   // by node
	settled map[string]string // by node: what the node had settled on when that was last reported
	writes  limiter           // of statuses
	tells   limiter           // of Events
}

// said is the status that was written last. It counts until the cache shows it.
type said struct {
	uid     types.UID
	version string // resourceVersion after the write
	status  v1.MultiNicNodeConfigStatus
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
		Now: l.Now(), SilentAfter: l.SilentAfter,
	}
	if l.Released != nil {
		in.Released = l.Released(obj)
		if in.Reachable, err = l.Reachable(ctx, obj); err != nil {
			return reconcile.Result{}, err
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

// write writes a status, and reports what is new in it. The uid protects an object that was deleted
// and made anew meanwhile: the API server then refuses the write as a conflict.
func (l *Loop) write(ctx context.Context, obj *v1.MultiNicNodeConfig, next v1.MultiNicNodeConfigStatus) error {
	written := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: obj.Name, Namespace: obj.Namespace}}
	next, err := l.writeFit(next, func(s v1.MultiNicNodeConfigStatus, dry bool) error { return l.apply(ctx, obj, s, dry, written) })
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("writing status of %s: %w", obj.Name, err)
	}
	l.Written.Inc()
	l.mu.Lock()
	if l.said == nil {
		l.said = map[string]said{}
	}
	l.said[obj.Name] = said{uid: obj.UID, version: written.ResourceVersion, status: next}
	l.mu.Unlock()
	if obj.Status.State != next.State {
		l.Log.Info("state changed", "node", obj.Name, "generation", obj.Generation,
			"from", string(obj.Status.State), "to", string(next.State), "ready", next.ReadyInterfaces)
	}
	about := obj.DeepCopy()
	// The library takes Events about the same version of an object for one Event, whatever they
	// say. And the cache may lag behind.
	about.ResourceVersion = written.ResourceVersion
	l.tell(about, next)
	l.tellSettled(about, next)
	l.tellFight(about, next)
	return nil
}

// apply applies a status, or lets the API server only check it. It reads the object back into
// written.
func (l *Loop) apply(ctx context.Context, obj *v1.MultiNicNodeConfig, s v1.MultiNicNodeConfigStatus, dry bool, written *v1.MultiNicNodeConfig) error {
	body, err := json.Marshal(struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        map[string]any              `json:"metadata"`
		Status          v1.MultiNicNodeConfigStatus `json:"status"`
	}{
		TypeMeta: metav1.TypeMeta{APIVersion: v1.GroupVersion.String(), Kind: v1.NodeConfigKind},
		Metadata: map[string]any{"name": obj.Name, "namespace": obj.Namespace, "uid": obj.UID},
		Status:   s,
	})
	if err != nil {
		return fmt.Errorf("encoding the status: %w", err)
	}
	opts := []client.SubResourcePatchOption{client.FieldOwner(v1.BridgeFieldOwner), client.ForceOwnership}
	if dry {
		opts, written = append(opts, client.DryRunAll), written.DeepCopy()
	}
	return l.Client.Status().Patch(ctx, written, client.RawPatch(types.ApplyPatchType, body), opts...)
}

// tellSettled makes an Event when a node settles on something else than before. A change that ends
// as the last one did is no news. If this bridge does not know what the node had settled on, it
// reads that from the object, if the object says so.
func (l *Loop) tellSettled(obj *v1.MultiNicNodeConfig, next v1.MultiNicNodeConfigStatus) {
	now, on := meta.FindStatusCondition(next.Conditions, v1.ConditionReady), settlement(next)
	if on == "" {
		return
	}
	l.mu.Lock()
	before, known := l.settled[obj.Name]
	if !known {
		before = settlement(obj.Status)
		known = before != ""
	}
	if l.settled == nil {
		l.settled = map[string]string{}
	}
	l.settled[obj.Name] = on
	l.mu.Unlock()
	if !known || before == on || now.Reason == v1.ReasonReportRefused || !l.mayTell(obj.Name) {
		return
	}
	kind := corev1.EventTypeWarning
	if next.State == v1.StateConfigured && now.Status == metav1.ConditionTrue || now.Reason == v1.ReasonInterfacesWaiting || now.Reason == v1.ReasonRemoved {
		kind = corev1.EventTypeNormal
	}
	l.Events.Eventf(obj, nil, kind, now.Reason, "Settle", "%s",
		v1.Printable(fmt.Sprintf("generation %d: %s", next.ObservedGeneration, now.Message), gather.MaxEvent))
}

// settlement is what a node has settled on, in a form that can be compared: the reason of Ready,
// and the NICs and reasons that it is about. Messages are left out, because numbers in them change.
// It is "" if nothing has settled.
func settlement(s v1.MultiNicNodeConfigStatus) string {
	ready := meta.FindStatusCondition(s.Conditions, v1.ConditionReady)
	if ready == nil || passing(ready.Reason) {
		return ""
	}
	about := map[string]v1.State{v1.ReasonInterfacesFailed: v1.StateFailed, v1.ReasonInterfacesWaiting: v1.StatePending}[ready.Reason]
	on := ready.Reason
	for _, n := range s.InterfaceStatuses {
		if about != "" && n.Status == about {
			on += " " + n.MACAddress + " " + n.Reason
		}
	}
	return on
}

// passing says that nothing has settled while the condition Ready has this reason.
func passing(reason string) bool {
	return reason == v1.ReasonApplying || reason == v1.ReasonDriftFighting
}

// tellFight makes an Event when a fight with another writer of the node begins, and when it ends.
func (l *Loop) tellFight(obj *v1.MultiNicNodeConfig, next v1.MultiNicNodeConfigStatus) {
	fight := func(s v1.MultiNicNodeConfigStatus) *metav1.Condition {
		if c := meta.FindStatusCondition(s.Conditions, v1.ConditionDegraded); c != nil && c.Reason == v1.ReasonDriftFighting {
			return c
		}
		return nil
	}
	now, before := fight(next), fight(obj.Status)
	if (now == nil) == (before == nil) || !l.mayTell(obj.Name) {
		return
	}
	if now != nil {
		l.Events.Eventf(obj, nil, corev1.EventTypeWarning, v1.ReasonDriftFighting, "StandBack", "%s", v1.Printable(now.Message, gather.MaxEvent))
		return
	}
	l.Events.Eventf(obj, nil, corev1.EventTypeNormal, eventDriftEnded, "GoOn", "%s", "no other writer keeps changing the NICs any more")
}

// tell makes an Event about a report that cannot be used, and names its node. It does so when the
// report is first refused, or refused for another reason.
func (l *Loop) tell(obj *v1.MultiNicNodeConfig, next v1.MultiNicNodeConfigStatus) {
	now, before := meta.FindStatusCondition(next.Conditions, v1.ConditionDegraded), meta.FindStatusCondition(obj.Status.Conditions, v1.ConditionDegraded)
	if now == nil || now.Reason != v1.ReasonReportRefused || (before != nil && before.Reason == now.Reason && before.Message == now.Message) {
		return
	}
	if !l.mayTell(obj.Name) {
		return
	}
	l.Events.Eventf(obj, nil, corev1.EventTypeWarning, v1.ReasonReportRefused, "ReadReport", "%s",
		v1.Printable("system:serviceaccount:"+v1.NodesNamespace+":"+v1.ServiceAccountName(obj.Name)+
			" wrote a report that cannot be used: "+now.Message, gather.MaxEvent))
}

// mayTell takes an Event off the node's account, if one is left.
func (l *Loop) mayTell(node string) bool {
	return l.tells.wait(node, l.Now(), eventEvery, eventBurst) == 0
}

// lastStatus is the object's status. If the cache does not show a newer written status yet, it is
// that one: otherwise the same status would be written twice.
func (l *Loop) lastStatus(obj *v1.MultiNicNodeConfig) v1.MultiNicNodeConfigStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, ok := l.said[obj.Name]
	if !ok || last.uid != obj.UID {
		return obj.Status
	}
	if older, err := resourceversion.CompareResourceVersion(obj.ResourceVersion, last.version); err == nil && older < 0 {
		return last.status
	}
	delete(l.said, obj.Name)
	return obj.Status
}

func (l *Loop) forget(node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.said, node)
	delete(l.settled, node)
	l.writes.forget(node)
	l.tells.forget(node)
}
