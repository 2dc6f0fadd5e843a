package identity

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
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

// Loop makes and removes the identities of nodes, and the objects that nodes write into. One
// goroutine at a time works on a node; several nodes are worked on at once.
type Loop struct {
	Client client.Client // reads from the caches
	Log    *slog.Logger
	Now    func() time.Time
	Pulses *gather.Pulses
	Maker  *Maker
	// an error as long as the admission policies are not in force
	InForce func(context.Context) error
}

// Reconcile brings what belongs to one node to where it should be.
func (l *Loop) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	name := req.Name
	if len(name) > v1.MaxNodeName {
		l.Log.Warn("no identity for a node whose name is too long", "node", name, "bytes", len(name))
		return reconcile.Result{}, nil
	}
	c, err := l.gather(ctx, name)
	if err != nil {
		return reconcile.Result{}, err
	}
	joinEnds, err := l.joinToken(ctx, &c)
	if err != nil {
		return reconcile.Result{}, err
	}
	v := Judge(c)
	next := v.Again
	if joinEnds > 0 && (next == 0 || joinEnds < next) {
		next = joinEnds
	}
	i := identity{name: name, node: c.Node, notes: map[string]string{}}
	if c.Account != nil {
		i.notes = notes(c.Account)
	}
	if v.Remove {
		err := l.remove(ctx, i, v.Why)
		if apierrors.IsConflict(err) {
			return gather.Again(gather.ConflictRetry), nil
		}
		return reconcile.Result{}, err
	}
	for _, o := range i.mailboxes() {
		if err := l.Maker.make(ctx, o); err != nil {
			return reconcile.Result{}, err
		}
	}
	if l.InForce(ctx) != nil { // InForce has told why
		if c.Account == nil {
			return gather.Again(gather.AdmissionRetry), nil
		}
		return gather.Again(gather.AdmissionRetry), l.giveBack(ctx, i)
	}
	if v.DropSecret {
		if err := dropSecret(ctx, l.Client, v1.ServiceAccountName(name)); err != nil {
			return reconcile.Result{}, err
		}
		delete(i.notes, secretAnnotation)
	}
	if !v.Unclaimed {
		delete(i.notes, sinceAnnotation)
	} else if !v.Since.IsZero() {
		i.notes[sinceAnnotation] = v.Since.UTC().Format(time.RFC3339)
	}
	if c.Object != "" {
		i.notes[objectAnnotation] = string(c.Object)
	}
	account := i.account()
	if c.Account != nil {
		// The notes are written as a whole. A note that somebody has added since the account was
		// read must not be lost.
		account.UID, account.ResourceVersion = c.Account.UID, c.Account.ResourceVersion
	}
	if err := l.Maker.make(ctx, account); apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return gather.Again(gather.CacheLag), nil
	} else if err != nil {
		return reconcile.Result{}, err
	}
	settles, err := l.give(ctx, i, c.Join)
	if apierrors.IsConflict(err) {
		return gather.Again(gather.ConflictRetry), nil
	}
	if settles > 0 && (next == 0 || settles < next) {
		next = settles
	}
	return gather.Again(next), err
}

// give makes the rights of a node, and takes away what the shared ones stand for. It returns how
// long those take to settle; 0: they have, or there are none.
func (l *Loop) give(ctx context.Context, i identity, join bool) (time.Duration, error) {
	shared, settles, err := l.shared(ctx)
	if err != nil {
		return 0, err
	}
	has, not := i.rights(shared, join)
	for _, o := range has {
		if err := l.Maker.make(ctx, o); err != nil {
			return 0, err
		}
	}
	for _, o := range not {
		if err := l.Maker.remove(ctx, o); err != nil {
			return 0, err
		}
	}
	return settles, nil
}

// giveBack gives a node by its own name what it had by the shared rights, where those were taken
// away. It takes nothing away while the policies are not in force.
func (l *Loop) giveBack(ctx context.Context, i identity) error {
	shared, _, err := l.shared(ctx)
	if err != nil || shared {
		return err
	}
	has, _ := i.rights(false, false)
	for _, o := range has {
		if err := l.Maker.make(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// gather reads from the caches what is known of a node, except its join token.
func (l *Loop) gather(ctx context.Context, name string) (Claim, error) {
	c := Claim{Name: name, Now: l.Now(), Pulse: l.Pulses.Of(name)}
	node, err := gather.Node(ctx, l.Client, name)
	if err != nil {
		return c, err
	}
	if node != nil {
		c.Node, c.NodeSince = node.UID, node.CreationTimestamp.Time
	}
	object, err := gather.Object(ctx, l.Client, name)
	if err != nil {
		return c, err
	}
	if object != nil {
		c.Object = object.UID
	}
	if c.Account, err = gather.Account(ctx, l.Client, v1.ServiceAccountName(name)); err != nil {
		return c, err
	}
	c.Report, err = gather.ReportOf(ctx, l.Client, name)
	return c, err
}

// joinToken adds the join token to the claim, and removes a token that has ended. It returns the
// time that the token has left; 0 if there is none.
func (l *Loop) joinToken(ctx context.Context, c *Claim) (time.Duration, error) {
	account, err := gather.Account(ctx, l.Client, v1.JoinAccountName(c.Name))
	if err != nil || account == nil {
		return 0, err
	}
	ends, err := time.Parse(time.RFC3339, account.Annotations[v1.ExpiresAnnotation])
	if err != nil {
		c.Join = true // made by hand: its maker also removes it
		return 0, nil
	}
	if left := ends.Sub(c.Now); left > 0 {
		c.Join = true
		return left, nil
	}
	l.Log.Info("join token has ended", "node", c.Name)
	return 0, l.EndJoin(ctx, account)
}

// remove removes everything that the bridge made for a node. After a conflict it continues with the
// rest, and returns the conflict as its error.
func (l *Loop) remove(ctx context.Context, i identity, why string) error {
	gone := []client.Object{i.account()}
	all, _ := i.rights(false, false)
	gone = append(gone, all...)
	gone = append(gone, i.mailboxes()...)
	var before corev1.ServiceAccount
	had := l.Client.Get(ctx, client.ObjectKeyFromObject(gone[0]), &before) == nil
	// The note about the Secret may be newer than the cache, and the bridge cannot look for the
	// Secret itself.
	if had || i.notes[secretAnnotation] != "" {
		if err := dropSecret(ctx, l.Client, v1.ServiceAccountName(i.name)); err != nil {
			return err
		}
	}
	var conflict error
	for _, o := range gone {
		if err := l.Maker.remove(ctx, o); apierrors.IsConflict(err) {
			conflict = err
		} else if err != nil {
			return err
		}
	}
	if had {
		l.Log.Info("removed the identity of a node", "node", i.name, "reason", why)
	}
	return conflict
}

// dropSecret deletes a Secret that may be there. The bridge cannot look.
func dropSecret(ctx context.Context, c client.Client, name string) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: v1.NodesNamespace}}
	if err := c.Delete(ctx, secret); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting Secret %s: %w", name, err)
	}
	return nil
}

// EndJoin ends a join token: first it deletes what the token is bound to, then its account.
func (l *Loop) EndJoin(ctx context.Context, account *corev1.ServiceAccount) error {
	if err := dropSecret(ctx, l.Client, account.Name); err != nil {
		return err
	}
	uid := account.UID
	if err := l.Client.Delete(ctx, account, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting ServiceAccount %s: %w", account.Name, err)
	}
	return nil
}

// Provide makes the identity of a node if it is missing, and what a token of the identity is to be
// bound to: the Node, or a Secret if there is no Node. The account comes back as the API server
// then has it.
func (l *Loop) Provide(ctx context.Context, k gather.Known) (*corev1.ServiceAccount, *authenticationv1.BoundObjectReference, error) {
	i := identity{name: k.Name, node: k.Node, notes: map[string]string{}}
	if k.Account != nil {
		i.notes = notes(k.Account)
	}
	if k.Object != "" {
		i.notes[objectAnnotation] = string(k.Object)
	}
	delete(i.notes, sinceAnnotation)
	bound := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Node", Name: k.Name}
	if k.Node == "" {
		i.notes[secretAnnotation] = "true"
		bound.Kind, bound.Name = "Secret", v1.ServiceAccountName(k.Name)
	}
	account := i.account()
	if err := l.Maker.apply(ctx, account); err != nil {
		return nil, nil, err
	}
	if k.Node == "" {
		secret := &corev1.Secret{ObjectMeta: i.meta(v1.NodesNamespace, bound.Name, v1.ComponentNode)}
		if err := l.Client.Create(ctx, secret); err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, nil, fmt.Errorf("making Secret %s: %w", bound.Name, err)
		}
	}
	shared, _, err := l.shared(ctx)
	if err != nil {
		return nil, nil, err
	}
	has, _ := i.rights(shared, false) // the join token keeps what it has
	for _, o := range has {
		if err := l.Maker.make(ctx, o); err != nil {
			return nil, nil, err
		}
	}
	return account, bound, nil
}

// Revoke takes the identity away from its holder. After it no token of that ServiceAccount is good.
func (l *Loop) Revoke(ctx context.Context, account *corev1.ServiceAccount) error {
	uid := account.UID
	if err := l.Client.Delete(ctx, account, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting ServiceAccount %s: %w", account.Name, err)
	}
	l.Maker.forget(account)
	return nil
}

// Watch wakes the loop by the node's name. Nodes, objects, reports and Leases change all the time,
// so they wake it only for changes that matter to a credential.
func Watch(mgr manager.Manager, loop *Loop) error {
	byName := func(prefixes ...string) handler.EventHandler {
		return gather.Wakes(v1.NodesNamespace, gather.Named(prefixes...))
	}
	// What somebody removed is made again at once.
	removed := func(o client.Object) bool {
		loop.Maker.forget(o)
		return true
	}
	goes := predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(event.UpdateEvent) bool { return false },
		DeleteFunc: func(e event.DeleteEvent) bool { return removed(e.Object) },
	}
	changes := predicate.Funcs{DeleteFunc: func(e event.DeleteEvent) bool { return removed(e.Object) }}
	settles := predicate.Funcs{
		// the identity of a node that nothing else speaks for
		CreateFunc: func(event.CreateEvent) bool { return true },
		UpdateFunc: func(e event.UpdateEvent) bool { return saysRemoved(e.ObjectNew) && !saysRemoved(e.ObjectOld) },
		DeleteFunc: func(e event.DeleteEvent) bool { return removed(e.Object) },
	}
	node, join := v1.ServiceAccountName(""), v1.JoinAccountName("")
	everybody := gather.Behind(handler.EnqueueRequestsFromMapFunc(loop.everybody))
	return ctrl.NewControllerManagedBy(mgr).Named("credential").
		WatchesMetadata(&corev1.Node{}, byName(""), builder.WithPredicates(gather.ComesAndGoes)).
		Watches(&v1.MultiNicNodeConfig{}, byName(""), builder.WithPredicates(gather.ComesAndGoes)).
		Watches(&corev1.ServiceAccount{}, byName(node, join), builder.WithPredicates(changes)).
		Watches(&rbacv1.Role{}, byName(node, join), builder.WithPredicates(changes)).
		Watches(&rbacv1.RoleBinding{}, byName(node, join), builder.WithPredicates(changes)).
		Watches(&rbacv1.Role{}, everybody, builder.WithPredicates(isShared)).
		Watches(&rbacv1.RoleBinding{}, everybody, builder.WithPredicates(isShared)).
		Watches(&corev1.ConfigMap{}, byName(v1.ReportName("")), builder.WithPredicates(settles)).
		Watches(&coordinationv1.Lease{}, byName(v1.LeaseName("")), builder.WithPredicates(goes)).
		WithOptions(gather.LoopOptions(gather.Workers)).
		Complete(loop)
}

// saysRemoved says whether the report is worth reading.
func saysRemoved(o client.Object) bool {
	cm, ok := o.(*corev1.ConfigMap)
	return ok && strings.Contains(cm.Data[v1.ReportKey], string(v1.PhaseRemoved))
}
