package admission

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"multinicd/internal/bridge/gather"
)

// What the policies alone hold goes at once where one holds nobody, and stays where the API server is in trouble: with it away, each node
// would be given rights of its own, and lose them again.
func TestHowLongStaysWhatThePoliciesAloneHold(t *testing.T) {
	// Of two the one counts of which less may stay, wherever it is in the file.
	want, err := wantedPolicies(strings.ReplaceAll(manifestOfAPolicy, "reports", "leases") + "\n---\n" + manifestOfAPolicy)
	if err != nil {
		t.Fatal(err)
	}
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	resource := schema.GroupResource{Group: admissionv1.GroupName, Resource: "validatingadmissionpolicies"}
	refused := &apierrors.StatusError{ErrStatus: metav1.Status{Message: "multinic-node-reports is in force", Code: 422}}
	ours := func(o *admissionv1.ValidatingAdmissionPolicy) error { want.policies[1].DeepCopyInto(o); return nil }
	another := func(o *admissionv1.ValidatingAdmissionPolicy) error { o.Name = "multinic-node-reports"; return nil }
	fails := func(err error) func(*admissionv1.ValidatingAdmissionPolicy) error {
		return func(*admissionv1.ValidatingAdmissionPolicy) error { return err }
	}
	away, differs := context.DeadlineExceeded, apierrors.NewForbidden(resource, "x", errors.New("y"))
	for sentence, row := range map[string]struct {
		other error // in the place of the first policy
		read  func(*admissionv1.ValidatingAdmissionPolicy) error
		probe error
		want  time.Duration
	}{
		"a policy is gone":                                 {away, fails(apierrors.NewNotFound(resource, "x")), refused, 0},
		"a policy lets its probe through":                  {away, ours, nil, 0},
		"another policy lets the probe through":            {away, another, nil, 0},
		"another policy refuses it":                        {away, another, refused, time.Minute},
		"it is refused for another reason":                 {away, ours, apierrors.NewForbidden(resource, "x", errors.New("y")), time.Minute},
		"the policies may not be read":                     {away, fails(apierrors.NewForbidden(resource, "x", errors.New("y"))), refused, time.Minute},
		"no answer to the question":                        {away, fails(context.DeadlineExceeded), refused, -1},
		"no answer to the probe":                           {away, ours, errors.New("connection refused"), -1},
		"the API server has too much to do":                {away, ours, apierrors.NewTooManyRequests("wait", 1), -1},
		"the API server is in trouble":                     {away, fails(apierrors.NewInternalError(errors.New("x"))), refused, -1},
		"another policy, and no answer to the probe of it": {away, another, errors.New("connection refused"), time.Minute},
		"one is another, and the next is gone":             {differs, fails(apierrors.NewNotFound(resource, "x")), refused, 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			cl := fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
				Get: func(_ context.Context, _ client.WithWatch, k client.ObjectKey, o client.Object, _ ...client.GetOption) error {
					if p, ok := o.(*admissionv1.ValidatingAdmissionPolicy); ok {
						if k.Name != want.policies[1].Name {
							return row.other
						}
						return row.read(p)
					}
					return nil
				},
				Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return row.probe },
			}).Build()
			looks := 0
			g := &PolicyGuard{reader: cl, client: cl, events: events.NewFakeRecorder(9), log: slog.New(slog.DiscardHandler), now: time.Now, want: want,
				Looked: func() { looks++ }}
			err := g.InForce(t.Context())
			if got := Grace(err); !errors.Is(err, errAdmission) || got != row.want {
				t.Errorf("%v: got %s, want %s", err, got, row.want)
			}
			if looks != 1 {
				t.Errorf("it was told of %d looks", looks)
			}
		})
	}
	if got := Grace(errors.New("nobody has looked")); got >= 0 {
		t.Errorf("without a look: %s", got)
	}
}
