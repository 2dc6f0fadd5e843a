package admission

import (
	"context"
	"log/slog"
	"strings"
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

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// Whoever installs the policies and the bridge together is not warned of policies that the API server
// is just taking into use. It is Start that looks, as in the bridge.
func TestTheFirstMomentsAreNoReasonToWarn(t *testing.T) {
	want, err := wantedPolicies(manifestOfAPolicy)
	if err != nil {
		t.Fatal(err)
	}
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		from, until time.Duration // of the policy
		run         time.Duration // so long the bridge runs
		want        string        // the Events
	}{
		"a policy that comes after a moment":               {5 * time.Second, time.Hour, time.Minute, ""},
		"one that does not come":                           {time.Hour, time.Hour, time.Minute, v1.ReasonAdmissionMissing},
		"one that comes late":                              {20 * time.Second, time.Hour, 3 * time.Minute, v1.ReasonAdmissionMissing + " " + eventAdmissionInForce},
		"one that was there and goes":                      {0, time.Second, 3 * time.Minute, v1.ReasonAdmissionMissing},
		"one that goes at once after it came":              {5 * time.Second, 7 * time.Second, 3 * time.Minute, v1.ReasonAdmissionMissing},
		"one that does not come, and is warned of in time": {time.Hour, time.Hour, atFirst + admissionFresh, v1.ReasonAdmissionMissing},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				cl := fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
					Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
						p, ok := o.(*admissionv1.ValidatingAdmissionPolicy)
						if since := time.Since(begin); ok && since >= row.from && since < row.until {
							want.policies[0].DeepCopyInto(p)
						}
						return nil
					},
					Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
						return &apierrors.StatusError{ErrStatus: metav1.Status{Message: want.policies[0].Name + " is in force"}}
					},
				}).Build()
				told := events.NewFakeRecorder(100)
				g := &PolicyGuard{reader: cl, client: cl, events: told, log: slog.New(slog.DiscardHandler), now: time.Now, want: want}
				ctx, cancel := context.WithTimeout(t.Context(), row.run)
				defer cancel()
				if err := g.Start(ctx); err != nil {
					t.Fatal(err)
				}
				close(told.Events)
				var got []string
				for e := range told.Events {
					got = append(got, strings.Fields(e)[1])
				}
				if strings.Join(got, " ") != row.want {
					t.Errorf("Events %q, want %q", got, row.want)
				}
			})
		})
	}
}
