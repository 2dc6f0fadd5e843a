package bridgetest

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"multinicd/internal/bridge/gather"
)

// DeleteMeetsConflict lets the first delete of refused meet a conflict. The loop must try again
// until none of the objects is left. A failed delete makes no event. A loop that does not try again
// leaves a Job that works on, a run for ever, or a right that nobody should have any more.
func DeleteMeetsConflict(t *testing.T, objects []client.Object, refused client.Object, loop func(client.Client) reconcile.Reconciler, key client.ObjectKey) {
	t.Helper()
	conflicts := 0
	builder := NewBuilder(t)
	for _, o := range objects {
		builder = builder.WithObjects(copied(t, o))
	}
	cl := builder.WithInterceptorFuncs(interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if gather.ID(o) == gather.ID(refused) {
				if conflicts++; conflicts == 1 {
					return apierrors.NewConflict(schema.GroupResource{}, o.GetName(), context.DeadlineExceeded)
				}
			}
			return c.Delete(ctx, o, opts...)
		},
	}).Build()
	l := loop(cl)
	first, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: key})
	if err != nil || first.RequeueAfter != gather.ConflictRetry {
		t.Errorf("after the conflict: again in %s, %v; want %s", first.RequeueAfter, err, gather.ConflictRetry)
	}
	if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: key}); err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if err := cl.Get(t.Context(), client.ObjectKeyFromObject(o), copied(t, o)); !apierrors.IsNotFound(err) {
			t.Errorf("%s is still there: %v", gather.ID(o), err)
		}
	}
	if conflicts != 2 {
		t.Errorf("%d deletes of it; want one that met the conflict, and one after it", conflicts)
	}
}
