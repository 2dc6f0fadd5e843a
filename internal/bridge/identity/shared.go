package identity

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// sharedRights are the Roles and RoleBindings that all nodes and all kubelets share. The API server
// looks through all RoleBindings of a namespace for each request in it: with those of each node a
// request cost more the more nodes there were.
//
// By these a node may write what is another's, and a token of whatever ServiceAccount. Only the
// admission policies hold it to its own name. So they are there only while the policies are. A read
// is seen by no policy, so none is among them, except of requests for tokens: those hold nothing
// that anybody but the node that asked can read.
func sharedRights() []client.Object {
	meta := func(name, component string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: name, Labels: map[string]string{v1.ComponentLabel: component}}
	}
	group := func(name string) rbacv1.Subject {
		return rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: name}
	}
	return slices.Concat(grant(meta(v1.SharedNodes, v1.ComponentNode), []rbacv1.PolicyRule{
		rule("", "configmaps", "patch"),
		rule("coordination.k8s.io", "leases", "patch"),
		rule("", "serviceaccounts/token", "create"),
	}, group("system:serviceaccounts:"+v1.NodesNamespace)), grant(meta(v1.SharedKubelets, v1.ComponentJoin), []rbacv1.PolicyRule{
		rule(v1.Group, "nodetokenrequests", "create", "get"),
	}, group("system:nodes")))
}

// isShared is for events about them.
var isShared = predicate.NewPredicateFuncs(func(o client.Object) bool {
	return o.GetNamespace() == v1.NodesNamespace && (o.GetName() == v1.SharedNodes || o.GetName() == v1.SharedKubelets)
})

// sharedSettles is how old the shared rights are before a node's own ones go: by then every API
// server goes by them.
const sharedSettles = 10 * time.Second

// shared says whether the shared rights are there, and every API server goes by them. If only the
// second is missing, it says how long that takes.
func (l *Loop) shared(ctx context.Context) (bool, time.Duration, error) {
	var youngest time.Time
	for _, want := range sharedRights() {
		have := empty(want)
		if err := l.Client.Get(ctx, client.ObjectKeyFromObject(want), have); apierrors.IsNotFound(err) || err == nil && !settled(have, want) {
			return false, 0, nil
		} else if err != nil {
			return false, 0, fmt.Errorf("reading %s: %w", gather.ID(want), err)
		}
		if made := have.GetCreationTimestamp().Time; made.After(youngest) {
			youngest = made
		}
	}
	left := youngest.Add(sharedSettles).Sub(l.Now())
	return left <= 0, max(left, 0), nil
}

// everybody is every node that has an identity or a join token: when the shared rights come or go,
// its own ones change.
func (l *Loop) everybody(ctx context.Context, _ client.Object) []reconcile.Request {
	var all corev1.ServiceAccountList
	if err := l.Client.List(ctx, &all, client.InNamespace(v1.NodesNamespace)); err != nil {
		l.Log.Error("listing the ServiceAccounts of nodes", "err", err)
	}
	var out []reconcile.Request
	name := gather.Named(v1.ServiceAccountName(""), v1.JoinAccountName(""))
	for i := range all.Items {
		if node := name(&all.Items[i]); node != "" {
			out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: v1.NodesNamespace, Name: node}})
		}
	}
	return out
}

// Shared is the loop that makes the shared rights while the admission policies are in force, and
// takes them away when they are not.
type Shared struct {
	Maker *Maker
	Log   *slog.Logger
	Now   func() time.Time
	// an error as long as the admission policies are not in force
	InForce func(context.Context) error
	// Grace is how long the rights may stay after such an error: negative for one that says
	// nothing about the policies.
	Grace func(error) time.Duration

	// used by one goroutine
	since time.Time // the policies have not been in force
	brake brake
}

// Reconcile makes the shared rights, or takes them away. It is woken after each look at the
// policies.
func (s *Shared) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	err := s.InForce(ctx)
	if err == nil {
		s.since = time.Time{}
		return s.give(ctx)
	}
	grace := s.Grace(err)
	if grace < 0 {
		return reconcile.Result{}, nil
	}
	now := s.Now()
	s.brake.broken()
	if s.since.IsZero() {
		s.since = now
	}
	if left := s.since.Add(grace).Sub(now); left > 0 {
		return gather.Again(left), nil
	}
	s.brake.gone(now)
	return s.take(ctx)
}

// give makes the shared rights, unless they are to wait.
func (s *Shared) give(ctx context.Context) (reconcile.Result, error) {
	now, there := s.Now(), true
	for _, want := range sharedRights() {
		have := empty(want)
		err := s.Maker.Client.Get(ctx, client.ObjectKeyFromObject(want), have)
		if client.IgnoreNotFound(err) != nil {
			return reconcile.Result{}, fmt.Errorf("reading %s: %w", gather.ID(want), err)
		}
		there = there && err == nil && settled(have, want)
	}
	if left := s.brake.left(now, there); left > 0 {
		s.Log.Info("the rights that all nodes share wait, because they have come and gone before", "wait", left)
		if r, err := s.take(ctx); err != nil || r.RequeueAfter > 0 { // somebody may have changed them
			return r, err
		}
		return gather.Again(left), nil
	}
	for _, o := range sharedRights() {
		if err := s.Maker.make(ctx, o); err != nil {
			return reconcile.Result{}, err
		}
	}
	return reconcile.Result{}, nil
}

// take takes the shared rights away.
func (s *Shared) take(ctx context.Context) (reconcile.Result, error) {
	all := sharedRights()
	slices.Reverse(all) // each RoleBinding before its Role
	for _, o := range all {
		if err := s.Maker.remove(ctx, o); apierrors.IsConflict(err) {
			return gather.Again(gather.ConflictRetry), nil
		} else if err != nil {
			return reconcile.Result{}, err
		}
	}
	return reconcile.Result{}, nil
}

// WatchShared wakes the loop when a look at the policies has ended, and when somebody changes the
// shared rights.
func WatchShared(mgr manager.Manager, loop *Shared, looked chan event.GenericEvent) error {
	one := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: v1.SharedNodes}}}
	})
	return ctrl.NewControllerManagedBy(mgr).Named("credential-shared").
		Watches(&rbacv1.Role{}, one, builder.WithPredicates(isShared)).
		Watches(&rbacv1.RoleBinding{}, one, builder.WithPredicates(isShared)).
		WatchesRawSource(source.Channel(looked, one)).
		WithOptions(gather.LoopOptions(1)).
		Complete(loop)
}
