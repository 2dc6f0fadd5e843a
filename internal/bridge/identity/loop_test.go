package identity

import (
	"context"
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

// A token is asked for, and the Secret that it is bound to is noted on the account, while the cache still shows that as it was: what the loop
// has to note itself must not take the other note away, or nobody deletes the Secret.
func TestANoteThatTheCacheDoesNotShowYetIsKept(t *testing.T) {
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	const node = "n"
	key := client.ObjectKey{Namespace: v1.NodesNamespace, Name: v1.ServiceAccountName(node)}
	object := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: node, Namespace: v1.SystemNamespace, UID: "object"}}
	var cached *corev1.ServiceAccount // nil: as it is
	cl := fake.NewClientBuilder().WithScheme(scheme).WithObjects(object).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if account, ok := o.(*corev1.ServiceAccount); ok && k == key && cached != nil {
				cached.DeepCopyInto(account)
				return nil
			}
			return c.Get(ctx, k, o, opts...)
		},
	}).Build()
	now := time.Now()
	m := &Maker{Client: cl, Now: func() time.Time { return now }}
	loop := &Loop{
		Client: cl, Log: slog.New(slog.DiscardHandler), Now: m.Now, Pulses: gather.NewPulses(), Maker: m,
		InForce: bridgetest.InForce,
	}
	i := identity{name: node, notes: map[string]string{}}
	if err := m.apply(t.Context(), i.account()); err != nil {
		t.Fatal(err)
	}
	before := &corev1.ServiceAccount{}
	if err := cl.Get(t.Context(), key, before); err != nil {
		t.Fatal(err)
	}
	i.notes[secretAnnotation] = "true"
	if err := m.apply(t.Context(), i.account()); err != nil {
		t.Fatal(err)
	}
	reconciled := func() {
		t.Helper()
		if _, err := loop.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: v1.NodesNamespace, Name: node}}); err != nil {
			t.Fatal(err)
		}
	}
	cached = before
	reconciled()
	cached = nil
	reconciled()
	after := &corev1.ServiceAccount{}
	if err := cl.Get(t.Context(), key, after); err != nil {
		t.Fatal(err)
	}
	if after.Annotations[secretAnnotation] != "true" || after.Annotations[objectAnnotation] != "object" {
		t.Errorf("it is noted: %v", after.Annotations)
	}
}
