package controller

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
)

// hanging is an API server that takes connections and answers nothing.
func hanging(t *testing.T) client.Client {
	t.Helper()
	scheme, err := newScheme()
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

func TestALookAtThePoliciesEnds(t *testing.T) {
	want, err := wantedPolicies(manifestOfAPolicy)
	if err != nil {
		t.Fatal(err)
	}
	cl := hanging(t)
	synctest.Test(t, func(t *testing.T) {
		g := &policyGuard{reader: cl, client: cl, events: events.NewFakeRecorder(100), log: slog.New(slog.DiscardHandler), now: time.Now, want: want}
		start := time.Now()
		looks := make(chan error)
		go func() { looks <- g.inForce(context.Background()) }()
		synctest.Wait()

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.inForce(short); !errors.Is(err, errAdmission) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
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
		go func() { looks <- g.inForce(gone) }()
		synctest.Wait()
		go func() { looks <- g.inForce(context.Background()) }()
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

// manifestOfAPolicy is one that no cluster of these tests has.
const manifestOfAPolicy = `kind: ValidatingAdmissionPolicy
apiVersion: admissionregistration.k8s.io/v1
metadata: {name: multinic-node-reports}
spec: {matchConstraints: {}}
`

// A worker that hangs works on no other node. The library ends a pass for whoever
// asks it to.
func TestEveryPassOfALoopHasADeadline(t *testing.T) {
	if got := options(1).ReconciliationTimeout; got != reconcileWithin {
		t.Errorf("a pass may take %s, want %s", got, reconcileWithin)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	loops, bounded := 0, 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		loops += strings.Count(string(text), "ctrl.NewControllerManagedBy(")
		bounded += strings.Count(string(text), "WithOptions(options(")
	}
	if loops == 0 || loops != bounded {
		t.Errorf("%d loops, of which %d take the options of all", loops, bounded)
	}
}

// Nobody is told of a release by a pass that is cut off: the next pass makes it again.
func TestAReleaseThatWakesNobodyIsNone(t *testing.T) {
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	o := object(1, func(o *v1.MultiNicNodeConfig) { o.Namespace = v1.SystemNamespace })
	r := &rollout{client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(o).Build(), log: slog.New(slog.DiscardHandler), events: events.NewFakeRecorder(100),
		options: RolloutOptions{Max: "1"}, now: time.Now, wake: make(chan event.TypedGenericEvent[*v1.MultiNicNodeConfig]),
		reachable: func(context.Context, *v1.MultiNicNodeConfig) (bool, error) { return true, nil }}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Reconcile(over, reconcile.Request{}); err == nil || r.released(o) != -1 {
		t.Errorf("it gives %v, and %d is released", err, r.released(o))
	}
}

func TestTheTimesOfJobsAreForgotten(t *testing.T) {
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	now := noon
	builder := fake.NewClientBuilder().WithScheme(scheme)
	for _, name := range []string{"a", "b", "c"} {
		builder = builder.WithObjects(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.ServiceAccountName(name)}})
	}
	cl := builder.Build()
	clock := func() time.Time { return now }
	l := &jobLoop{client: cl, reader: cl, log: slog.New(slog.DiscardHandler), now: clock, inForce: inForce,
		counted: prometheus.NewCounterVec(prometheus.CounterOpts{}, []string{"what"}), options: JobOptions{Execution: ExecutionJob, Image: "x"}}
	for _, name := range []string{"a", "b", "c"} {
		in := JobIn{Execution: ExecutionJob, Object: object(1), Node: true}
		in.Object.Name = name
		if _, err := l.make(t.Context(), name, in, JobKey{UID: uid, Generation: 1}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Second)
	}
	if len(l.last) != 1 {
		t.Errorf("it remembers of %d nodes when their last Job was made, want one", len(l.last))
	}
}
