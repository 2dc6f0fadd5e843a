package joining

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"log/slog"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
	"multinicd/internal/bridge/identity"
)

// A request that is not answered is an outage of its node, and no event comes of it.
func TestAnAnswerThatMeetsAConflictIsTriedAgain(t *testing.T) {
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const node = "n"
	name := client.ObjectKey{Namespace: v1.NodesNamespace, Name: node}
	now := time.Now().Truncate(time.Second)
	expected := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: node, Namespace: v1.SystemNamespace, UID: "object"}}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: v1.LeaseName(node), Namespace: v1.NodesNamespace}}
	request := func(age time.Duration) *v1.NodeTokenRequest {
		return &v1.NodeTokenRequest{
			ObjectMeta: metav1.ObjectMeta{Name: node, Namespace: v1.NodesNamespace, UID: "request", CreationTimestamp: metav1.NewTime(now.Add(-age))},
			Spec:       v1.NodeTokenRequestSpec{Door: v1.DoorKubelet, PublicKey: key.PublicKey().Bytes()},
		}
	}
	for sentence, row := range map[string]struct {
		objects []client.Object
		done    func(*v1.NodeTokenRequest, error) bool
	}{
		"a token is sealed": {[]client.Object{request(0), expected, lease},
			func(r *v1.NodeTokenRequest, err error) bool { return err == nil && len(r.Status.SealedToken) > 0 }},
		"it is refused": {[]client.Object{request(expectPatience)},
			func(r *v1.NodeTokenRequest, err error) bool {
				return err == nil && r.Status.Reason == v1.ReasonNodeNotExpected
			}},
		"an old one is deleted": {[]client.Object{request(time.Hour)},
			func(_ *v1.NodeTokenRequest, err error) bool { return apierrors.IsNotFound(err) }},
	} {
		t.Run(sentence, func(t *testing.T) {
			conflicts := 0
			trouble := func() error {
				if conflicts++; conflicts > 1 {
					return nil
				}
				return apierrors.NewConflict(schema.GroupResource{Resource: "nodetokenrequests"}, node, context.DeadlineExceeded)
			}
			cl := fake.NewClientBuilder().WithScheme(scheme).WithObjects(row.objects...).WithStatusSubresource(&v1.NodeTokenRequest{}).
				WithInterceptorFuncs(interceptor.Funcs{
					SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
						if err := trouble(); err != nil {
							return err
						}
						return c.SubResource(sub).Patch(ctx, o, p, opts...)
					},
					Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
						if _, ok := o.(*v1.NodeTokenRequest); ok {
							if err := trouble(); err != nil {
								return err
							}
						}
						return c.Delete(ctx, o, opts...)
					},
				}).Build()
			m := &identity.Maker{Client: cl, Now: func() time.Time { return now }}
			log := slog.New(slog.DiscardHandler)
			loop := &Loop{
				Client: cl, Reader: cl, Events: events.NewFakeRecorder(10), Log: log, Now: m.Now, InForce: bridgetest.InForce,
				Identities: &identity.Loop{Client: cl, Log: log, Now: m.Now, Pulses: gather.NewPulses(), Maker: m, InForce: bridgetest.InForce},
			}
			first, err := loop.Reconcile(t.Context(), reconcile.Request{NamespacedName: name})
			if err != nil || first.RequeueAfter != gather.ConflictRetry {
				t.Errorf("after the conflict: again in %s, %v; want %s", first.RequeueAfter, err, gather.ConflictRetry)
			}
			if _, err := loop.Reconcile(t.Context(), reconcile.Request{NamespacedName: name}); err != nil {
				t.Fatal(err)
			}
			var got v1.NodeTokenRequest
			if err := cl.Get(t.Context(), name, &got); !row.done(&got, err) {
				t.Errorf("the request is %+v, %v", got.Status, err)
			}
			if conflicts != 2 {
				t.Errorf("%d writes; want one that met the conflict, and one after it", conflicts)
			}
		})
	}
}

// atNoon is a loop that answers at noon.
func atNoon(cl client.Client) *Loop {
	now := func() time.Time { return bridgetest.Noon }
	log := slog.New(slog.DiscardHandler)
	return &Loop{Client: cl, Reader: cl, Events: events.NewFakeRecorder(10), Log: log, Now: now, InForce: bridgetest.InForce,
		Identities: &identity.Loop{Client: cl, Log: log, Now: now, Pulses: gather.NewPulses(), Maker: &identity.Maker{Client: cl, Now: now}, InForce: bridgetest.InForce}}
}

// The machine that is to be replaced writes its Lease all the time.
func TestAKeyIsNotedWhateverHappensToTheLease(t *testing.T) {
	key, err := v1.NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	lease := &coordinationv1.Lease{ObjectMeta: bridgetest.InNodes(v1.LeaseName(bridgetest.Node))}
	request := &v1.NodeTokenRequest{ObjectMeta: bridgetest.InNodes(bridgetest.Node), Spec: v1.NodeTokenRequestSpec{Door: v1.DoorKubelet, PublicKey: key.Public()}}
	cl := bridgetest.NewBuilder(t).WithObjects(lease).Build()
	read, err := gather.Lease(t.Context(), cl, bridgetest.Node)
	if err != nil {
		t.Fatal(err)
	}
	renewed := read.DeepCopy()
	renewed.Spec.HolderIdentity = new("old")
	if err := cl.Update(t.Context(), renewed); err != nil {
		t.Fatal(err)
	}
	l := &Loop{Client: cl}
	if err := l.remember(t.Context(), read, request); err != nil {
		t.Fatal(err)
	}
	now, err := gather.Lease(t.Context(), cl, bridgetest.Node)
	if err != nil || !replayed(now, &v1.NodeTokenRequest{Spec: request.Spec}) || gather.Holder(now) != "old" {
		t.Errorf("the Lease is %+v, %v", now, err)
	}
}

func TestARequestFromBeforeThePoliciesIsRemoved(t *testing.T) {
	key, err := v1.NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	for sentence, row := range map[string]struct {
		since time.Time
		stays bool
	}{
		"made after the policies":            {bridgetest.Noon.Add(-time.Second), true},
		"made in the same second":            {bridgetest.Noon, false},
		"made before they came, or changed":  {bridgetest.Noon.Add(time.Hour), false},
		"of policies that were always there": {time.Time{}, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			request := &v1.NodeTokenRequest{ObjectMeta: bridgetest.InNodes(bridgetest.Node), Spec: v1.NodeTokenRequestSpec{Door: v1.DoorKubelet, PublicKey: key.Public()}}
			lease := &coordinationv1.Lease{ObjectMeta: bridgetest.InNodes(v1.LeaseName(bridgetest.Node))}
			cl := bridgetest.NewBuilder(t).WithObjects(request, lease, bridgetest.StoredObject()).WithStatusSubresource(request).Build()
			told := events.NewFakeRecorder(10)
			l := atNoon(cl)
			l.Events, l.Since = told, func() time.Time { return row.since }
			if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: bridgetest.NodeKey}); err != nil {
				t.Fatal(err)
			}
			var got v1.NodeTokenRequest
			err := cl.Get(t.Context(), bridgetest.NodeKey, &got)
			if apierrors.IsNotFound(err) == row.stays || row.stays && len(got.Status.SealedToken) == 0 {
				t.Errorf("the request is %+v, %v", got.Status, err)
			}
			if e := <-told.Events; strings.Contains(e, eventAskedTooSoon) == row.stays {
				t.Errorf("it is told %q", e)
			}
		})
	}
}

// Each Event stays for an hour, and a node may ask again at once.
func TestANodeThatKeepsAskingTooSoonIsToldOnce(t *testing.T) {
	key, err := v1.NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	request := &v1.NodeTokenRequest{ObjectMeta: bridgetest.InNodes(bridgetest.Node), Spec: v1.NodeTokenRequestSpec{Door: v1.DoorKubelet, PublicKey: key.Public()}}
	lease := &coordinationv1.Lease{ObjectMeta: bridgetest.InNodes(v1.LeaseName(bridgetest.Node))}
	cl := bridgetest.NewBuilder(t).WithObjects(lease, bridgetest.StoredObject()).Build()
	told, since := events.NewFakeRecorder(100), bridgetest.Noon
	l := atNoon(cl)
	l.Events, l.Since = told, func() time.Time { return since }
	for range 2 { // the second time after another change of a policy
		for range 5 {
			if err := cl.Create(t.Context(), request.DeepCopy()); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: bridgetest.NodeKey}); err != nil {
				t.Fatal(err)
			}
		}
		since = since.Add(time.Minute)
	}
	if n := len(told.Events); n != 4 {
		t.Errorf("there are %d Events, want 4: each time one about the request, and one about the object", n)
	}
}

// A revocation may come while a token is being made.
func TestANodeThatIsBlockedWhileItIsAnsweredGetsNothing(t *testing.T) {
	key, err := v1.NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	request := &v1.NodeTokenRequest{ObjectMeta: bridgetest.InNodes(bridgetest.Node), Spec: v1.NodeTokenRequestSpec{Door: v1.DoorKubelet, PublicKey: key.Public()}}
	lease := &coordinationv1.Lease{ObjectMeta: bridgetest.InNodes(v1.LeaseName(bridgetest.Node))}
	cl := bridgetest.NewBuilder(t).WithObjects(request, lease, bridgetest.StoredObject()).WithStatusSubresource(request).WithInterceptorFuncs(interceptor.Funcs{
		SubResourceCreate: func(ctx context.Context, c client.Client, sub string, o, s client.Object, opts ...client.SubResourceCreateOption) error {
			list := &corev1.ConfigMap{ObjectMeta: bridgetest.InNodes(v1.BlockedName), Data: map[string]string{bridgetest.Node: "now"}}
			if err := c.Create(ctx, list); err != nil {
				return err
			}
			return c.SubResource(sub).Create(ctx, o, s, opts...)
		},
	}).Build()
	if _, err := atNoon(cl).Reconcile(t.Context(), reconcile.Request{NamespacedName: bridgetest.NodeKey}); err != nil {
		t.Fatal(err)
	}
	var got v1.NodeTokenRequest
	if err := cl.Get(t.Context(), bridgetest.NodeKey, &got); err != nil || got.Status.Reason != v1.ReasonNodeBlocked || len(got.Status.SealedToken) > 0 {
		t.Errorf("it is answered with %+v, %v", got.Status, err)
	}
}
