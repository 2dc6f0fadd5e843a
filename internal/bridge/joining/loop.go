package joining

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
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

// Reasons of Events about something that was done. Those of refusals are in api/v1.
const (
	eventTokenSealed  = "TokenSealed"
	eventJoined       = "NodeJoined"
	eventTokenNotUsed = "TokenNotUsed"
	eventAskedTooSoon = "AskedTooSoon"
)

// Identities is what this room needs from the room that makes identities.
type Identities interface {
	// Provide makes what is missing of a node's identity. It returns the ServiceAccount of which a
	// token may be asked for, and what the token is to be bound to.
	Provide(context.Context, gather.Known) (*corev1.ServiceAccount, *authenticationv1.BoundObjectReference, error)
	// Revoke takes the identity away from its holder.
	Revoke(context.Context, *corev1.ServiceAccount) error
	// EndJoin ends a join token.
	EndJoin(context.Context, *corev1.ServiceAccount) error
}

// Loop answers NodeTokenRequests. One goroutine at a time works on a node's request.
type Loop struct {
	Client     client.Client // reads from the caches
	Reader     client.Reader // asks the API server
	Events     events.EventRecorder
	Log        *slog.Logger
	Now        func() time.Time
	Identities Identities
	// an error as long as the admission policies are not in force
	InForce func(context.Context) error
	// Since is since when they have been in force without a break, by the API server's clock, as
	// InForce last found out. nil: since ever.
	Since func() time.Time

	tooSoon tooSoon
}

// tooSoon remembers which nodes were told that they had asked too soon, since the policies are as
// they are: a node may ask again at once, and each Event stays for an hour.
type tooSoon struct {
	mu    sync.Mutex
	since time.Time
	told  map[string]bool
}

// first says that the node was not told yet. From then on it was.
func (s *tooSoon) first(node string, since time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told == nil || !s.since.Equal(since) {
		s.since, s.told = since, map[string]bool{}
	}
	before := s.told[node]
	s.told[node] = true
	return !before
}

// Reconcile answers one request, or deletes it. It reads from the API server itself: a request is
// rare, and a stale cache would make it answer twice.
func (l *Loop) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var r v1.NodeTokenRequest
	if l.Client.Get(ctx, req.NamespacedName, &r) != nil {
		return reconcile.Result{}, nil // a Lease, Node or object of a node that asks for nothing
	}
	r = v1.NodeTokenRequest{}
	if err := l.Reader.Get(ctx, req.NamespacedName, &r); apierrors.IsNotFound(err) {
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading request of %s: %w", req.Name, err)
	}
	result, err := l.answer(ctx, &r)
	if apierrors.IsConflict(err) {
		// It is another request by now, or the API server could not write it. Only in the first
		// case an event is on its way.
		return gather.Again(gather.ConflictRetry), nil
	}
	return result, err
}

func (l *Loop) answer(ctx context.Context, r *v1.NodeTokenRequest) (reconcile.Result, error) {
	a, known, err := l.gather(ctx, r)
	if err != nil {
		return reconcile.Result{}, err
	}
	reply := Judge(a)
	switch {
	case reply.Delete:
		return reconcile.Result{}, l.remove(ctx, a, reply)
	case reply.Refuse != nil:
		return gather.Again(reply.Again), l.refuse(ctx, r, *reply.Refuse)
	case reply.Seal:
		if err := l.InForce(ctx); err != nil {
			return gather.Again(gather.AdmissionRetry), l.refuse(ctx, r,
				v1.Remark{Reason: v1.ReasonAdmissionMissing, Message: err.Error()})
		}
		if l.Since != nil {
			if since := l.Since(); !r.CreationTimestamp.After(since) {
				return reconcile.Result{}, l.dropUnguarded(ctx, r, since)
			}
		}
		return l.seal(ctx, a, known, reply.Replace)
	}
	return gather.Again(reply.Again), nil
}

// gather reads everything except the Node and the object from the API server.
func (l *Loop) gather(ctx context.Context, r *v1.NodeTokenRequest) (Ask, gather.Known, error) {
	a, known := Ask{Request: r, Now: l.Now()}, gather.Known{Name: r.Name}
	node, err := gather.Node(ctx, l.Client, r.Name)
	if err != nil {
		return a, known, err
	}
	if node != nil {
		known.Node = node.UID
	}
	object, err := gather.Object(ctx, l.Client, r.Name)
	if err != nil {
		return a, known, err
	}
	if object != nil {
		known.Object = object.UID
	}
	if a.Join, err = gather.Account(ctx, l.Reader, v1.JoinAccountName(r.Name)); err != nil {
		return a, known, err
	}
	if known.Account, err = gather.Account(ctx, l.Reader, v1.ServiceAccountName(r.Name)); err != nil {
		return a, known, err
	}
	if a.Lease, err = gather.Lease(ctx, l.Reader, r.Name); err != nil {
		return a, known, err
	}
	if a.Blocked, err = gather.Blocked(ctx, l.Reader, r.Name); err != nil {
		return a, known, err
	}
	a.Expected = known.Node != "" || known.Object != "" || known.Account != nil || a.Join != nil
	return a, known, nil
}

// seal asks for a token and seals it into the request's status. Everything that can refuse comes
// before the first change.
func (l *Loop) seal(ctx context.Context, a Ask, known gather.Known, replace bool) (reconcile.Result, error) {
	r := a.Request
	if a.Lease == nil {
		return gather.Again(time.Second), nil // it is being made
	}
	if err := l.remember(ctx, a.Lease, r); err != nil {
		return reconcile.Result{}, err
	}
	if replace && known.Account != nil {
		if err := l.Identities.Revoke(ctx, known.Account); err != nil {
			return reconcile.Result{}, err
		}
	}
	token, err := l.mint(ctx, known)
	if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
		return gather.Again(gather.AdmissionRetry), l.refuse(ctx, r,
			v1.Remark{Reason: v1.ReasonAdmissionMissing, Message: err.Error()})
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	// A revocation blocks the node first, and then ends its identity: the new token is good if the
	// node was not blocked before it was made.
	if is, err := gather.Blocked(ctx, l.Reader, r.Name); err != nil {
		return reconcile.Result{}, err
	} else if is {
		return gather.Again(keepRequest), l.refuse(ctx, r, *blocked(r.Name))
	}
	sealed, err := v1.SealToken(r.Spec.PublicKey, r.Name, r.UID, token)
	if err != nil {
		return reconcile.Result{}, l.refuse(ctx, r, v1.Remark{Reason: v1.ReasonKeyInvalid, Message: "spec.publicKey cannot be sealed to"})
	}
	at := metav1.NewTime(l.Now())
	if ok, err := l.write(ctx, r, v1.NodeTokenRequestStatus{SealedToken: sealed, SealedAt: &at}); err != nil || !ok {
		return reconcile.Result{}, err
	}
	l.Log.Info("sealed a token", "node", r.Name, "door", string(r.Spec.Door), "replace", replace)
	message := "a token was sealed for " + requester(r)
	if replace {
		message += "; the machine that had joined before has lost its identity"
	}
	l.tell(ctx, r, corev1.EventTypeNormal, eventTokenSealed, message)
	return gather.Again(keepRequest), nil
}

// remember notes the key, so that a second request with it is refused. The note does not depend on
// the version of the Lease: the machine that is to be replaced could renew its Lease all the time,
// and so keep its place. Only the bridge writes the annotation.
func (l *Loop) remember(ctx context.Context, lease *coordinationv1.Lease, r *v1.NodeTokenRequest) error {
	next := remember(lease.Annotations[keysAnnotation], r)
	if next == lease.Annotations[keysAnnotation] {
		return nil
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": lease.UID, "annotations": map[string]string{keysAnnotation: next},
	}})
	if err != nil {
		return fmt.Errorf("encoding the key of %s: %w", r.Name, err)
	}
	if err := l.Client.Patch(ctx, lease, client.RawPatch(types.MergePatchType, body)); err != nil {
		return fmt.Errorf("noting the key of %s: %w", r.Name, err)
	}
	return nil
}

// mint asks for a token of the node's identity.
func (l *Loop) mint(ctx context.Context, k gather.Known) (string, error) {
	account, bound, err := l.Identities.Provide(ctx, k)
	if err != nil {
		return "", err
	}
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(int64(v1.TokenLife.Seconds())), BoundObjectRef: bound,
	}}
	if err := l.Client.SubResource("token").Create(ctx, account, token); err != nil {
		return "", fmt.Errorf("asking for a token of %s: %w", k.Name, err)
	}
	return token.Status.Token, nil
}

// refuse writes a reason, once.
func (l *Loop) refuse(ctx context.Context, r *v1.NodeTokenRequest, why v1.Remark) error {
	next := v1.NodeTokenRequestStatus{Reason: why.Reason, Message: v1.Printable(why.Message, gather.MaxConditionMessage)}
	if r.Status.Reason == next.Reason && r.Status.Message == next.Message {
		return nil
	}
	if ok, err := l.write(ctx, r, next); err != nil || !ok {
		return err
	}
	l.Log.Warn("refused a request for a token", "node", r.Name, "door", string(r.Spec.Door), "reason", why.Reason, "err", why.Message)
	l.tell(ctx, r, corev1.EventTypeWarning, why.Reason, "refused "+requester(r)+" a token: "+next.Message)
	return nil
}

// write answers the request as it was read. It returns false if the request is gone. If the request
// is another one by now, or has changed, that is a conflict.
func (l *Loop) write(ctx context.Context, r *v1.NodeTokenRequest, s v1.NodeTokenRequestStatus) (bool, error) {
	status := map[string]any{"reason": s.Reason, "message": s.Message}
	if s.SealedAt != nil {
		// null removes what an earlier answer said.
		status = map[string]any{"sealedToken": s.SealedToken, "sealedAt": s.SealedAt, "reason": nil, "message": nil}
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": r.UID, "resourceVersion": r.ResourceVersion},
		"status":   status,
	})
	if err != nil {
		return false, fmt.Errorf("encoding the answer to %s: %w", r.Name, err)
	}
	written := &v1.NodeTokenRequest{ObjectMeta: metav1.ObjectMeta{Name: r.Name, Namespace: r.Namespace}}
	err = l.Client.Status().Patch(ctx, written, client.RawPatch(types.MergePatchType, body), client.FieldOwner(v1.BridgeFieldOwner))
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("answering %s: %w", r.Name, err)
	}
	return true, nil
}

// dropUnguarded deletes a request that was made before the policies were in force. Nobody knows who
// made it: by RBAC alone every kubelet and every join token can ask for any node. Who asks again is
// looked at. A node is told once.
func (l *Loop) dropUnguarded(ctx context.Context, r *v1.NodeTokenRequest, since time.Time) error {
	l.Log.Warn("deleting a request from before the admission policies were in force", "node", r.Name, "door", string(r.Spec.Door))
	if l.tooSoon.first(r.Name, since) {
		l.tell(ctx, r, corev1.EventTypeWarning, eventAskedTooSoon,
			"the request was made before the admission policies were in force, when anybody could make it for any node: it gets no token; the node asks again by itself")
	}
	_, err := l.drop(ctx, r)
	return err
}

// drop deletes a request. It returns false if the request was gone already.
func (l *Loop) drop(ctx context.Context, r *v1.NodeTokenRequest) (bool, error) {
	uid := r.UID
	if err := l.Client.Delete(ctx, r, client.Preconditions{UID: &uid}); apierrors.IsNotFound(err) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("deleting request of %s: %w", r.Name, err)
	}
	return true, nil
}

// remove deletes a request that is done with. If a join token has got its node a token, the join
// token is deleted too.
func (l *Loop) remove(ctx context.Context, a Ask, reply Reply) error {
	r := a.Request
	// A join token that is younger than the request belongs to another request.
	if r.Spec.Door == v1.DoorJoinToken && r.Status.SealedAt != nil && a.Join != nil && !a.Join.CreationTimestamp.After(r.CreationTimestamp.Time) {
		if err := l.Identities.EndJoin(ctx, a.Join); err != nil {
			return err
		}
	}
	if dropped, err := l.drop(ctx, r); err != nil || !dropped {
		return err
	}
	switch {
	case reply.Joined:
		l.Log.Info("node has joined", "node", r.Name, "door", string(r.Spec.Door))
		l.tell(ctx, r, corev1.EventTypeNormal, eventJoined, requester(r)+" has joined: "+reply.Why)
	case r.Status.SealedAt != nil:
		l.Log.Warn("token was not used", "node", r.Name, "door", string(r.Spec.Door))
		l.tell(ctx, r, corev1.EventTypeWarning, eventTokenNotUsed, reply.Why)
	}
	return nil
}

// tell makes an Event about the request and, if there is one, about the node's object. The second
// Event has the request as its related object: Events that differ only in their message count as
// the same Event.
func (l *Loop) tell(ctx context.Context, r *v1.NodeTokenRequest, kind, reason, message string) {
	message = v1.Printable(message, gather.MaxEvent)
	l.Events.Eventf(r, nil, kind, reason, "AnswerTokenRequest", "%s", message)
	var object v1.MultiNicNodeConfig
	if l.Client.Get(ctx, client.ObjectKey{Namespace: v1.SystemNamespace, Name: r.Name}, &object) == nil {
		l.Events.Eventf(&object, r, kind, reason, "AnswerTokenRequest", "%s", message)
	}
}

// Watch wakes the loop for a request. It also wakes it for a Lease that somebody else renews now:
// by this the bridge sees that a token is used. And it wakes it for a Node or an object that comes:
// the node is expected now.
func Watch(mgr manager.Manager, loop *Loop) error {
	byName := func(prefixes ...string) handler.EventHandler {
		return gather.Wakes(v1.NodesNamespace, gather.Named(prefixes...))
	}
	taken := predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool { return gather.Holder(e.ObjectNew) != gather.Holder(e.ObjectOld) },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	}
	return ctrl.NewControllerManagedBy(mgr).Named("token-request").
		Watches(&v1.NodeTokenRequest{}, byName("")).
		WatchesMetadata(&corev1.Node{}, byName(""), builder.WithPredicates(gather.ComesAndGoes)).
		Watches(&v1.MultiNicNodeConfig{}, byName(""), builder.WithPredicates(gather.ComesAndGoes)).
		Watches(&coordinationv1.Lease{}, byName(v1.LeaseName("")), builder.WithPredicates(taken)).
		WithOptions(gather.LoopOptions(gather.Workers)).
		Complete(loop)
}
