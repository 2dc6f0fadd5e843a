package status

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

// olderCRDs is an API server whose CRDs may lack what is newer than 0.1.0. It answers
// as 1.37 does, also where the trouble is another for so many writes.
type olderCRDs struct {
	older   bool
	trouble int
	writes  int
}

func (s *olderCRDs) patch(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
	s.writes++
	answer := func(message string) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: message}}
	}
	if s.trouble > 0 {
		s.trouble--
		return answer("etcdserver: leader changed")
	}
	body, err := p.Data(o)
	if err != nil {
		return err
	}
	for _, field := range []string{"releasedAt", "reportLevel", "outcome"} {
		if s.older && strings.Contains(string(body), `"`+field+`"`) {
			return answer("failed to create typed patch object: .status." + field + ": field not declared in schema")
		}
	}
	return c.SubResource(sub).Patch(ctx, o, p, opts...)
}

func TestStatusesAreWrittenAlsoIntoOlderCRDs(t *testing.T) {
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	o := bridgetest.Object(1, func(o *v1.MultiNicNodeConfig) { o.Namespace = v1.SystemNamespace })
	saying := func(n v1.InterfaceStatus) map[string]string {
		return map[string]string{v1.ReportKey: bridgetest.Text(t, bridgetest.Report(1, bridgetest.Configured(1), n))}
	}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.ReportName(bridgetest.Node)}, Data: saying(bridgetest.Configured(2))}
	server := &olderCRDs{older: true}
	cl := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(o).WithObjects(o, cm).
		WithIndex(&v1.MultiNicNodeRun{}, gather.RunIndex, func(client.Object) []string { return []string{bridgetest.Node} }).
		WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: server.patch}).Build()
	told := events.NewFakeRecorder(100)
	now := bridgetest.Noon
	l := &Loop{Client: cl, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }, SilentAfter: v1.SilentAfter, Pulses: gather.NewPulses(),
		Events: told, Written: prometheus.NewCounter(prometheus.CounterOpts{}), Outdated: prometheus.NewGauge(prometheus.GaugeOpts{Name: "outdated"}),
		Reachable: func(context.Context, *v1.MultiNicNodeConfig) (bool, error) { return true, nil }}
	// look reconciles, and wants what is then said of the node, after so many requests, and when it wants to look again.
	look := func(sentence, want string, level int32, requests int, next time.Duration) {
		t.Helper()
		server.writes = 0
		r, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
		if err != nil {
			t.Fatalf("%s: %v", sentence, err)
		}
		have := &v1.MultiNicNodeConfig{}
		if err := cl.Get(t.Context(), client.ObjectKeyFromObject(o), have); err != nil {
			t.Fatal(err)
		}
		if got := string(have.Status.State); got != want || have.Status.ReportLevel != level {
			t.Errorf("%s: %s at level %d, want %s at %d", sentence, got, have.Status.ReportLevel, want, level)
		}
		if server.writes != requests || r.RequeueAfter != next {
			t.Errorf("%s: %d requests, and again in %s; want %d, and %s", sentence, server.writes, r.RequeueAfter, requests, next)
		}
	}
	say := func(n v1.InterfaceStatus) {
		t.Helper()
		cm.Data = saying(n)
		if err := cl.Update(t.Context(), cm); err != nil {
			t.Fatal(err)
		}
	}
	failed := bridgetest.NIC(2, v1.StateFailed, v1.ReasonProbeFailed, "")
	failed.Outcome = v1.OutcomeRolledBack
	outdated := func(want float64) {
		t.Helper()
		r := prometheus.NewRegistry()
		r.MustRegister(l.Outdated)
		if got, err := r.Gather(); err != nil || len(got) != 1 || got[0].Metric[0].Gauge.GetValue() != want {
			t.Errorf("the metric is %v, %v; want %v", got, err, want)
		}
	}

	look("the first status", "Configured", 0, 3, crdsRetry) // refused, taken without the new fields, and tried for why
	look("nothing new", "Configured", 0, 0, crdsRetry)
	say(failed)
	look("a NIC failed", "Failed", 0, 1, crdsRetry)
	look("and nothing more", "Failed", 0, 0, crdsRetry)
	now = now.Add(crdsRetry)
	look("a minute later the fields are tried", "Failed", 0, 3, crdsRetry)
	look("once", "Failed", 0, 0, crdsRetry)
	outdated(1)
	server.older = false
	look("the CRDs are renewed, which nobody knows yet", "Failed", 0, 0, crdsRetry)
	now = now.Add(crdsRetry)
	look("and a minute later all is said", "Failed", v1.ReportLevel, 1, 0)
	look("and once", "Failed", v1.ReportLevel, 0, 0)
	outdated(0)
	var got []string
	for len(told.Events) > 0 {
		got = append(got, strings.Fields(<-told.Events)[1])
	}
	got = slices.DeleteFunc(got, func(reason string) bool { return !strings.HasPrefix(reason, "CRDs") })
	if want := []string{eventCRDsOutdated, eventCRDsUpToDate}; !slices.Equal(got, want) {
		t.Errorf("Events %q, want %q", got, want)
	}

	// An API server that is in trouble for a moment is not taken for one with older CRDs.
	for trouble := 1; trouble <= 2; trouble++ {
		say([]v1.InterfaceStatus{bridgetest.Configured(2), failed}[trouble-1])
		server.trouble = trouble
		_, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
		var status apierrors.APIStatus
		if !errors.As(err, &status) {
			t.Errorf("after %d answers of trouble: %v", trouble, err)
		}
		look("it is over", []string{"Configured", "Failed"}[trouble-1], v1.ReportLevel, 1, 0)
	}
}
