package admission

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1 "multinicd/api/v1"
	"multinicd/deploy"
	"multinicd/internal/bridge/gather"
)

// latency of an API server by which fifteen questions, one after the other, take longer than an answer counts.
const latency = admissionFresh / 10

// slowGuard looks at an API server that takes its time for each answer, and counts the looks.
func slowGuard(t *testing.T) (*PolicyGuard, *atomic.Int32) {
	t.Helper()
	want, err := wantedPolicies(deploy.Admission)
	if err != nil {
		t.Fatal(err)
	}
	scheme, err := gather.Scheme()
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
	return &PolicyGuard{
		reader: cl, client: cl, events: events.NewFakeRecorder(100), log: slog.New(slog.DiscardHandler), now: time.Now, want: want,
	}, &looks
}

func TestWhoWaitsForALookAtThePoliciesTakesIt(t *testing.T) {
	g, looks := slowGuard(t)
	synctest.Test(t, func(t *testing.T) {
		var all sync.WaitGroup
		for range 2 * gather.Workers {
			all.Go(func() {
				if err := g.InForce(t.Context()); err != nil {
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
		if err := g.InForce(t.Context()); err != nil || looks.Load() != 2 {
			t.Errorf("%d looks: %v", looks.Load(), err)
		}
	})
}

// Every policy has its binding and its probe, and the bridge may read each.
func TestPoliciesAreBoundAndProbed(t *testing.T) {
	want, err := wantedPolicies(deploy.Admission)
	if err != nil {
		t.Fatal(err)
	}
	label, err := wantedPolicies(deploy.NodeLabel)
	if err != nil || len(label.policies) != 1 {
		t.Fatal(len(label.policies), err)
	}
	want.policies = append(want.policies, label.policies...)
	want.bindings = append(want.bindings, label.bindings...)
	var bound []string
	for _, b := range want.bindings {
		bound = append(bound, b.Name)
		if b.Spec.PolicyName != b.Name || len(b.Spec.ValidationActions) != 1 || b.Spec.ValidationActions[0] != "Deny" {
			t.Errorf("binding %s: %+v", b.Name, b.Spec)
		}
	}
	var policies []string
	for _, p := range want.policies {
		policies = append(policies, p.Name)
		if *p.Spec.FailurePolicy != "Fail" || p.Spec.Validations[0].Message != p.Name+" is in force" {
			t.Errorf("policy %s does not fail closed, or does not refuse a probe first", p.Name)
		}
	}
	if diff := cmp.Diff(policies, bound); diff != "" || len(policies) < 12 {
		t.Errorf("(-policies +bindings)\n%s", diff)
	}
}

// hanging is an API server that takes connections and answers nothing.
func hanging(t *testing.T) client.Client {
	t.Helper()
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, _ client.WithWatch, _ client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
			<-ctx.Done()
			return ctx.Err()
		},
	}).Build()
}

// manifestOfAPolicy is one that no cluster of these tests has.
const manifestOfAPolicy = `kind: ValidatingAdmissionPolicy
apiVersion: admissionregistration.k8s.io/v1
metadata: {name: multinic-node-reports}
spec: {matchConstraints: {}}
`

func TestALookAtThePoliciesEnds(t *testing.T) {
	want, err := wantedPolicies(manifestOfAPolicy)
	if err != nil {
		t.Fatal(err)
	}
	cl := hanging(t)
	synctest.Test(t, func(t *testing.T) {
		g := &PolicyGuard{reader: cl, client: cl, events: events.NewFakeRecorder(100), log: slog.New(slog.DiscardHandler), now: time.Now, want: want}
		start := time.Now()
		looks := make(chan error)
		go func() { looks <- g.InForce(context.Background()) }()
		synctest.Wait()

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.InForce(short); !errors.Is(err, errAdmission) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("who may wait for a second waits %s for the look of another: %v", time.Since(start), err)
		}
		if err := <-looks; !errors.Is(err, errAdmission) || time.Since(start) != admissionWithin {
			t.Errorf("a look takes %s: %v", time.Since(start), err)
		}

		// One who gives his look up leaves no answer, and those who wait look themselves.
		time.Sleep(admissionFresh)
		start = time.Now()
		gone, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { looks <- g.InForce(gone) }()
		synctest.Wait()
		go func() { looks <- g.InForce(context.Background()) }()
		for range 2 {
			if err := <-looks; !errors.Is(err, errAdmission) {
				t.Error(err)
			}
		}
		if took := time.Since(start); took != time.Second+admissionWithin {
			t.Errorf("both have their answer after %s, want %s", took, time.Second+admissionWithin)
		}
	})
}

func TestThePoliciesAreLookedAtNowAndThen(t *testing.T) {
	if admissionEvery < gather.Soonest || admissionEvery < admissionFresh {
		t.Errorf("they are looked at every %s, which is more often than an answer counts", admissionEvery)
	}
}

// What policies are told is compared like the policies themselves, because no comparison of policies shows it.
func TestWhatThePoliciesAreToldIsCompared(t *testing.T) {
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	image := Parameter{ConfigMap: "multinic-jobs", Key: "image", Fixed: true, Want: "x:1"}
	off := Parameter{ConfigMap: "multinic-jobs", Key: "image", Fixed: true}
	audiences := Parameter{ConfigMap: "multinic-admission", Key: "audiences"}
	for name, row := range map[string]struct {
		told Parameter
		data map[string]string // nil: there is no ConfigMap
		says string
	}{
		"the image of the Jobs":              {image, map[string]string{"image": "x:1"}, ""},
		"another image":                      {image, map[string]string{"image": "evil"}, `the image is "evil", but the bridge was started with "x:1"`},
		"no image":                           {image, map[string]string{}, `the image is "", but`},
		"no ConfigMap":                       {image, nil, `the image is "", but`},
		"an image, and there are no Jobs":    {off, map[string]string{"image": "x:1"}, `the image is "x:1", but the bridge was started with ""`},
		"no image, and there are no Jobs":    {off, map[string]string{"image": ""}, ""},
		"whatever an administrator chooses":  {audiences, map[string]string{"audiences": "a,b"}, ""},
		"a word that would end a line early": {image, map[string]string{"image": "a\nb\x1b[2J"}, `the image is "a b[2J", but`},
	} {
		objects := fake.NewClientBuilder().WithScheme(scheme)
		if row.data != nil {
			objects.WithObjects(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: row.told.ConfigMap}, Data: row.data})
		}
		g, err := New("", nil, []Parameter{row.told}, objects.Build(), nil, events.NewFakeRecorder(1), v1.CredentialsAccount, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		err = g.InForce(t.Context())
		if (row.says == "") != (err == nil) || err != nil && (!errors.Is(err, errAdmission) || !strings.Contains(err.Error(), row.says)) {
			t.Errorf("%s: got %v, want %q", name, err, row.says)
		}
	}
}

func TestAGuardOfSomePoliciesAsksForNoOthers(t *testing.T) {
	g, err := New(deploy.Admission, []string{"multinic-workloads"}, nil, nil, nil, nil, "", nil)
	if err != nil || len(g.want.policies) != 1 || g.want.policies[0].Name != "multinic-workloads" {
		t.Errorf("got %d policies: %v", len(g.want.policies), err)
	}
	if _, err := New(deploy.Admission, []string{"multinic-workloads", "multinic-gone"}, nil, nil, nil, nil, "", nil); err == nil {
		t.Error("a policy that the manifest does not have is not missed")
	}
}
