package controller

import (
	"context"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
)

// reconcileWithin is how long one pass of a loop may take. A pass makes a dozen calls
// at most, of some milliseconds each; an API server that lets one of them hang must
// not keep a worker for good.
const reconcileWithin = time.Minute

// options are those of every loop, with so many workers: what fails is tried again after 50 ms, and in the end every 30 s.
func options(workers int) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: workers,
		SkipNameValidation:      new(true),
		ReconciliationTimeout:   reconcileWithin,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 30*time.Second),
	}
}

// wakes wakes a loop for the node that an object is of, if it is of one.
func wakes(namespace string, node func(client.Object) string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		if name := node(o); name != "" {
			return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}}
		}
		return nil
	})
}

// named finds the node that an object is of by the object's name: one of the prefixes, and that of the node.
func named(prefixes ...string) func(client.Object) string {
	return func(o client.Object) string {
		for _, prefix := range prefixes {
			if node := nodeOf(o.GetName(), prefix); node != "" {
				return node
			}
		}
		return ""
	}
}

// comesAndGoes passes over what becomes of an object in between.
var comesAndGoes = predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}

// watchCredentials wakes the two loops by the node's name. A Node, an object, a
// report and a Lease wake for no more than what matters to a credential: they
// change all the time.
func watchCredentials(mgr manager.Manager, creds *credentialLoop, requests *requestLoop) error {
	byName := func(prefixes ...string) handler.EventHandler { return wakes(v1.NodesNamespace, named(prefixes...)) }
	// What somebody removed is made again at once.
	removed := func(o client.Object) bool {
		creds.maker.forget(o)
		return true
	}
	goes := predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(event.UpdateEvent) bool { return false },
		DeleteFunc: func(e event.DeleteEvent) bool { return removed(e.Object) },
	}
	changes := predicate.Funcs{DeleteFunc: func(e event.DeleteEvent) bool { return removed(e.Object) }}
	settles := predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return true }, // the identity of a node that nothing else speaks for
		UpdateFunc: func(e event.UpdateEvent) bool { return saysRemoved(e.ObjectNew) && !saysRemoved(e.ObjectOld) },
		DeleteFunc: func(e event.DeleteEvent) bool { return removed(e.Object) },
	}
	node, join := v1.ServiceAccountName(""), v1.JoinAccountName("")
	err := ctrl.NewControllerManagedBy(mgr).Named("credential").
		WatchesMetadata(&corev1.Node{}, byName(""), builder.WithPredicates(comesAndGoes)).
		Watches(&v1.MultiNicNodeConfig{}, byName(""), builder.WithPredicates(comesAndGoes)).
		Watches(&corev1.ServiceAccount{}, byName(node, join), builder.WithPredicates(changes)).
		Watches(&rbacv1.Role{}, byName(node, join), builder.WithPredicates(changes)).
		Watches(&rbacv1.RoleBinding{}, byName(node, join), builder.WithPredicates(changes)).
		Watches(&corev1.ConfigMap{}, byName(v1.ReportName("")), builder.WithPredicates(settles)).
		Watches(&coordinationv1.Lease{}, byName(v1.LeaseName("")), builder.WithPredicates(goes)).
		WithOptions(options(workers)).
		Complete(creds)
	if err != nil {
		return err
	}
	taken := predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool { return holder(e.ObjectNew) != holder(e.ObjectOld) },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	}
	return ctrl.NewControllerManagedBy(mgr).Named("token-request").
		Watches(&v1.NodeTokenRequest{}, byName("")).
		Watches(&coordinationv1.Lease{}, byName(v1.LeaseName("")), builder.WithPredicates(taken)).
		WithOptions(options(workers)).
		Complete(requests)
}

// saysRemoved looks whether it is worth to read the report.
func saysRemoved(o client.Object) bool {
	cm, ok := o.(*corev1.ConfigMap)
	return ok && strings.Contains(cm.Data[v1.ReportKey], string(v1.PhaseRemoved))
}

func holder(o client.Object) string {
	l, ok := o.(*coordinationv1.Lease)
	if !ok || l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

// slimNode keeps of a Node's metadata what the bridge reads.
func slimNode(o any) (any, error) {
	n, ok := o.(*metav1.PartialObjectMetadata)
	if !ok {
		return o, nil
	}
	label, labelled := n.Labels[v1.ReadyLabel]
	n.ManagedFields, n.Labels, n.Annotations, n.OwnerReferences, n.Finalizers = nil, nil, nil, nil, nil
	if labelled {
		n.Labels = map[string]string{v1.ReadyLabel: label}
	}
	return n, nil
}
