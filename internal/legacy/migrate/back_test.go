package migrate

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	corev1 "k8s.io/api/core/v1"

	v1 "multinicd/api/v1"
)

// What was done although no answer came is not left: the next look does not find it any more.
func TestALostAnswerLeavesNothing(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	var lost atomic.Int64
	lost.Store(1)
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(object(1, []string{"01"}, moved, of("viola"), by()), object(2, []string{"02"}, moved, of("viola"), by())).
		WithInterceptorFuncs(interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if err := c.Patch(ctx, o, p, opts...); err != nil || lost.Add(-1) < 0 {
				return err
			}
			return errors.New("EOF")
		}}).Build()
	m := &Migration{Client: c}
	var ended Outcomes
	err := m.each(t.Context(), &ended, Back, func(s Step) error {
		return m.patch(t.Context(), s.have, map[string]any{"labels": map[string]any{v1.PublisherLabel: v1.PublisherLegacy}, "annotations": map[string]any{v1.MigratedAnnotation: nil}})
	})
	if err != nil || lost.Load() >= 0 {
		t.Errorf("%v, %d answers were not lost", err, lost.Load()+1)
	}
	for _, o := range ended.list() {
		if o.Left || o.Reason != "" {
			t.Errorf("%+v", o)
		}
	}
}
