package controller

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"multinicd/deploy"
)

// latency of an API server by which fifteen questions, one after the other, take longer than an answer counts.
const latency = admissionFresh / 10

// slowGuard looks at an API server that takes its time for each answer, and counts the looks.
func slowGuard(t *testing.T) (*policyGuard, *atomic.Int32) {
	t.Helper()
	want, err := wantedPolicies(deploy.Admission)
	if err != nil {
		t.Fatal(err)
	}
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	var looks atomic.Int32
	var inForce strings.Builder // what each probe is told: the policy's own word is among it
	for _, p := range want.policies {
		inForce.WriteString(p.Name + " is in force\n")
	}
	refusal := func() error {
		time.Sleep(latency)
		return &apierrors.StatusError{ErrStatus: metav1.Status{Message: inForce.String()}}
	}
	cl := fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, k client.ObjectKey, o client.Object, _ ...client.GetOption) error {
			time.Sleep(latency)
			switch o := o.(type) {
			case *admissionv1.ValidatingAdmissionPolicy:
				for _, p := range want.policies {
					if p.Name == k.Name {
						p.DeepCopyInto(o)
					}
				}
				if k.Name == want.policies[0].Name {
					looks.Add(1)
				}
			case *admissionv1.ValidatingAdmissionPolicyBinding:
				for _, b := range want.bindings {
					if b.Name == k.Name {
						b.DeepCopyInto(o)
					}
				}
			}
			return nil
		},
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return refusal() },
		SubResourceCreate: func(context.Context, client.Client, string, client.Object, client.Object, ...client.SubResourceCreateOption) error {
			return refusal()
		},
	}).Build()
	return &policyGuard{
		reader: cl, client: cl, events: events.NewFakeRecorder(100), log: slog.New(slog.DiscardHandler), now: time.Now, want: want,
	}, &looks
}

func TestWhoWaitsForALookAtThePoliciesTakesIt(t *testing.T) {
	g, looks := slowGuard(t)
	synctest.Test(t, func(t *testing.T) {
		var all sync.WaitGroup
		for range 2 * workers {
			all.Go(func() {
				if err := g.inForce(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := looks.Load(); n != 1 {
			t.Errorf("there were %d looks, want one, which asks about all policies at once", n)
		}
		// But nobody takes what is older than that.
		time.Sleep(admissionFresh)
		if err := g.inForce(t.Context()); err != nil || looks.Load() != 2 {
			t.Errorf("%d looks: %v", looks.Load(), err)
		}
	})
}
