package jobs

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

// newLoop makes Jobs in one of the ways of execution.
func newLoop(w bridgetest.World, e Execution) *Loop {
	return &Loop{Client: w.Client, Reader: w.Client, Log: w.Log, Now: w.Now, SilentAfter: v1.SilentAfter, Pulses: w.Pulses, InForce: w.InForce,
		Counted: prometheus.NewCounterVec(prometheus.CounterOpts{}, []string{"what"}), Options: Options{Execution: e, Image: "x"}}
}

func TestTheLoopOfJobsThatNothingWakesLooksSeldom(t *testing.T) {
	lease := func(renewed bool) client.Object {
		l := &coordinationv1.Lease{ObjectMeta: bridgetest.InNodes(v1.LeaseName(bridgetest.Node))}
		if renewed {
			l.Spec.RenewTime, l.Spec.HolderIdentity = new(metav1.NewMicroTime(bridgetest.Noon)), new("somebody")
		}
		return l
	}
	account := &corev1.ServiceAccount{ObjectMeta: bridgetest.InNodes(v1.ServiceAccountName(bridgetest.Node))}
	blocked := &corev1.ConfigMap{ObjectMeta: bridgetest.InNodes(v1.BlockedName), Data: map[string]string{bridgetest.Node: "since"}}
	theJob := newJob(bridgetest.Node, gather.JobKey{UID: bridgetest.UID, Generation: 1}, Options{Image: "x"}, bridgetest.Noon)
	always := func(w bridgetest.World) reconcile.Reconciler { return newLoop(w, ExecutionJob) }
	auto := func(w bridgetest.World) reconcile.Reconciler { return newLoop(w, ExecutionAuto) }
	has := func(objects ...client.Object) []client.Object { return append(objects, bridgetest.StoredObject()) }
	bridgetest.LooksSeldom(t, map[string]bridgetest.QuietRow{
		"no policies":                     {Loop: always, Key: bridgetest.ObjectKey, Objects: has(bridgetest.StoredNode(), account), Lawless: true, Most: int(time.Hour / gather.AdmissionRetry)},
		"no Node":                         {Loop: always, Key: bridgetest.ObjectKey, Objects: has()},
		"no ServiceAccount":               {Loop: always, Key: bridgetest.ObjectKey, Objects: has(bridgetest.StoredNode())},
		"one runs":                        {Loop: always, Key: bridgetest.ObjectKey, Objects: has(bridgetest.StoredNode(), account, theJob)},
		"an administrator has blocked it": {Loop: always, Key: bridgetest.ObjectKey, Objects: has(bridgetest.StoredNode(), account, blocked)},
		"it has reported":                 {Loop: always, Key: bridgetest.ObjectKey, Objects: has(bridgetest.StoredNode(), account, bridgetest.StoredReport(t, bridgetest.FromJob))},
		"a daemon that lives":             {Loop: auto, Key: bridgetest.ObjectKey, Objects: has(bridgetest.StoredNode(), account, bridgetest.StoredReport(t), lease(true)), Pulse: "renewed"},
		"a Lease that was never moved":    {Loop: auto, Key: bridgetest.ObjectKey, Objects: has(bridgetest.StoredNode(), account, bridgetest.StoredReport(t, bridgetest.FromJob), lease(false))},
	})
}

func TestAJobWhoseDeleteMeetsAConflictIsTriedAgain(t *testing.T) {
	theJob := newJob(bridgetest.Node, gather.JobKey{UID: "object", Generation: 1}, Options{Image: "x"}, bridgetest.Noon)
	theJob.UID = "uid"
	bridgetest.DeleteMeetsConflict(t, []client.Object{theJob}, theJob, func(cl client.Client) reconcile.Reconciler {
		return newLoop(bridgetest.World{Client: cl, Now: func() time.Time { return bridgetest.Noon }, Pulses: gather.NewPulses(), InForce: bridgetest.InForce, Log: slog.New(slog.DiscardHandler)}, ExecutionAuto)
	}, bridgetest.ObjectKey)
}

func TestTheTimesOfJobsAreForgotten(t *testing.T) {
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	now := bridgetest.Noon
	builder := fake.NewClientBuilder().WithScheme(scheme)
	for _, name := range []string{"a", "b", "c"} {
		builder = builder.WithObjects(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.ServiceAccountName(name)}})
	}
	cl := builder.Build()
	clock := func() time.Time { return now }
	l := &Loop{Client: cl, Reader: cl, Log: slog.New(slog.DiscardHandler), Now: clock, InForce: bridgetest.InForce,
		Counted: prometheus.NewCounterVec(prometheus.CounterOpts{}, []string{"what"}), Options: Options{Execution: ExecutionJob, Image: "x"}}
	for _, name := range []string{"a", "b", "c"} {
		in := In{Execution: ExecutionJob, Object: bridgetest.Object(1), Node: true}
		in.Object.Name = name
		if _, err := l.make(t.Context(), name, in, gather.JobKey{UID: bridgetest.UID, Generation: 1}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Second)
	}
	if len(l.last) != 1 {
		t.Errorf("it remembers of %d nodes when their last Job was made, want one", len(l.last))
	}
}

// Its Pod would have a token of the node, on that node.
func TestABlockedNodeGetsNoJob(t *testing.T) {
	for _, is := range []bool{false, true} {
		objects := []client.Object{bridgetest.StoredObject(), bridgetest.StoredNode(), &corev1.ServiceAccount{ObjectMeta: bridgetest.InNodes(v1.ServiceAccountName(bridgetest.Node))}}
		if is {
			objects = append(objects, &corev1.ConfigMap{ObjectMeta: bridgetest.InNodes(v1.BlockedName), Data: map[string]string{bridgetest.Node: "since"}})
		}
		cl := bridgetest.NewBuilder(t).WithObjects(objects...).Build()
		l := newLoop(bridgetest.World{Client: cl, Now: func() time.Time { return bridgetest.Noon }, Pulses: gather.NewPulses(), InForce: bridgetest.InForce, Log: slog.New(slog.DiscardHandler)}, ExecutionJob)
		if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: bridgetest.ObjectKey}); err != nil {
			t.Fatal(err)
		}
		jobs, err := gather.Jobs(t.Context(), cl, bridgetest.Node)
		if err != nil || (len(jobs) == 0) != is {
			t.Errorf("blocked: %v, and there are %d Jobs, %v", is, len(jobs), err)
		}
	}
}
