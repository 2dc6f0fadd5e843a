package status

import (
	"context"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// Watch wakes the loop for an object, for its report, and for a Lease that moves after silence.
// Other renewals do not wake it: ten thousand nodes each renew their Lease every two minutes.
//
// Objects come behind the rest. A publisher may change all of them at once, and each status that is
// written is such an event too.
func Watch(mgr manager.Manager, loop *Loop) error {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	add := func(node string, q queue) {
		if node != "" {
			q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: v1.SystemNamespace, Name: node}})
		}
	}
	type lease = *coordinationv1.Lease
	leases := handler.TypedFuncs[lease, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[lease], q queue) {
			loop.Pulses.Observe(gather.NodeOfLease(e.Object), gather.Renewal(e.Object), loop.Now())
			add(gather.NodeOfLease(e.Object), q)
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[lease], q queue) {
			if loop.Pulses.Observe(gather.NodeOfLease(e.ObjectNew), gather.Renewal(e.ObjectNew), loop.Now()) {
				add(gather.NodeOfLease(e.ObjectNew), q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[lease], q queue) {
			loop.Pulses.Forget(gather.NodeOfLease(e.Object))
			add(gather.NodeOfLease(e.Object), q)
		},
	}
	b := ctrl.NewControllerManagedBy(mgr).Named("status").
		Watches(&v1.MultiNicNodeConfig{}, loop.objects()).
		Watches(&corev1.ConfigMap{}, gather.Wakes(v1.SystemNamespace, gather.Named(v1.ReportName("")))).
		Watches(&v1.MultiNicNodeRun{}, handler.EnqueueRequestsFromMapFunc(gather.NodeOfRun)).
		WatchesRawSource(source.Kind(mgr.GetCache(), &coordinationv1.Lease{}, leases))
	if loop.Jobs {
		ofJob := gather.Wakes(v1.SystemNamespace, gather.NodeOfJob)
		b = b.Watches(&batchv1.Job{}, ofJob).Watches(&corev1.Pod{}, ofJob)
	}
	if loop.Freed != nil {
		b = b.WatchesRawSource(source.Channel(loop.Freed, &handler.TypedEnqueueRequestForObject[*v1.MultiNicNodeConfig]{}))
	}
	return b.
		WithOptions(gather.LoopOptions(gather.Workers)).
		Complete(loop)
}

// objects wakes the loop for an object, behind the reports of nodes. An object that comes later
// than the report about it is what that node waits for, and comes with the reports.
func (l *Loop) objects() handler.EventHandler {
	var now handler.EventHandler = &handler.EnqueueRequestForObject{}
	behind := gather.Behind(now)
	return handler.Funcs{
		CreateFunc: behind.Create,
		DeleteFunc: behind.Delete,
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if e.ObjectNew.GetGeneration() != e.ObjectOld.GetGeneration() && l.reported(ctx, e.ObjectNew) {
				now.Update(ctx, e, q)
				return
			}
			behind.Update(ctx, e, q)
		},
	}
}

// reported says whether the node has reported about the object as it is.
func (l *Loop) reported(ctx context.Context, o client.Object) bool {
	report, err := gather.ReportOf(ctx, l.Client, o.GetName())
	return err == nil && report.Said != nil && report.Said.UID == o.GetUID() && report.Said.Generation == o.GetGeneration()
}
