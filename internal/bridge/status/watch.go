package status

import (
	"context"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
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
		For(&v1.MultiNicNodeConfig{}).
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
