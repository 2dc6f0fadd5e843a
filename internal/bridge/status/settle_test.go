package status

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

// The last Event of an object is not to tell of a cause that is gone.
func TestEventsTellOfAnotherCauseUnderTheSameReason(t *testing.T) {
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	o := bridgetest.Object(1, func(o *v1.MultiNicNodeConfig) { o.Namespace = v1.SystemNamespace })
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.ReportName(bridgetest.Node)}}
	cl := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(o).WithObjects(o, cm).
		WithIndex(&v1.MultiNicNodeRun{}, gather.RunIndex, func(client.Object) []string { return []string{bridgetest.Node} }).Build()
	told := events.NewFakeRecorder(100)
	now := bridgetest.Noon
	l := &Loop{Client: cl, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }, SilentAfter: v1.SilentAfter, Pulses: gather.NewPulses(),
		Events: told, Written: prometheus.NewCounter(prometheus.CounterOpts{}), Outdated: prometheus.NewGauge(prometheus.GaugeOpts{}),
		Reachable: func(context.Context, *v1.MultiNicNodeConfig) (bool, error) { return true, nil }}
	failed := func(reason, message string) v1.InterfaceStatus {
		return bridgetest.NIC(2, v1.StateFailed, reason, message)
	}
	for _, step := range []struct {
		sentence string
		nics     []v1.InterfaceStatus
		want     string // of the Event; "": none
	}{
		{"the first outcome", []v1.InterfaceStatus{bridgetest.Configured(1), bridgetest.Configured(2)}, ""},
		{"a NIC fails", []v1.InterfaceStatus{bridgetest.Configured(1), failed(v1.ReasonAddressInUse, "a neighbour has it")}, "Warning InterfacesFailed generation 1: 1 of 2 interfaces configured; multinic2: AddressInUse"},
		{"the same, in other words", []v1.InterfaceStatus{bridgetest.Configured(1), failed(v1.ReasonAddressInUse, "a neighbour still has it")}, ""},
		{"it is tried again", []v1.InterfaceStatus{bridgetest.Configured(1), bridgetest.NIC(2, v1.StateInProgress, v1.ReasonApplying, "")}, ""},
		{"and fails as before", []v1.InterfaceStatus{bridgetest.Configured(1), failed(v1.ReasonAddressInUse, "a neighbour has it")}, ""},
		{"it fails for another reason", []v1.InterfaceStatus{bridgetest.Configured(1), failed(v1.ReasonCutsAPIPath, "the API server lies there")}, "Warning InterfacesFailed generation 1: 1 of 2 interfaces configured; multinic2: CutsAPIPath"},
		{"another NIC fails too", []v1.InterfaceStatus{bridgetest.NIC(1, v1.StateFailed, v1.ReasonNameTaken, ""), failed(v1.ReasonCutsAPIPath, "")}, "Warning InterfacesFailed generation 1: 0 of 2 interfaces configured; multinic1: NameTaken; multinic2: CutsAPIPath"},
		{"one is left out of the host", []v1.InterfaceStatus{bridgetest.Configured(1), bridgetest.NIC(2, v1.StatePending, v1.ReasonWaitingForNIC, "")}, "Normal InterfacesWaiting generation 1: 1 of 2 interfaces configured; multinic2: WaitingForNIC"},
		{"all is well", []v1.InterfaceStatus{bridgetest.Configured(1), bridgetest.Configured(2)}, "Normal AllInterfacesConfigured generation 1: All 2"},
		{"all is well under another name", []v1.InterfaceStatus{bridgetest.Configured(1), bridgetest.NIC(2, v1.StateConfigured, v1.ReasonRenameAtReboot, "")}, ""},
	} {
		now = now.Add(time.Minute)
		cm.Data = map[string]string{v1.ReportKey: bridgetest.Text(t, bridgetest.Report(1, step.nics...))}
		if err := cl.Update(t.Context(), cm); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for len(told.Events) > 0 {
			got = append(got, <-told.Events)
		}
		if text := strings.Join(got, "\n"); (step.want == "") != (text == "") || !strings.HasPrefix(text, step.want) || len(got) > 1 {
			t.Errorf("%s: Events %q, want one that begins with %q", step.sentence, got, step.want)
		}
	}
	// A NIC that changes its mind all the time is told of now and then.
	changes := 1000
	if testing.Short() {
		changes = 100
	}
	for i := range changes {
		now = now.Add(writeEvery)
		reason := []string{v1.ReasonAddressInUse, v1.ReasonCutsAPIPath}[i%2]
		cm.Data = map[string]string{v1.ReportKey: bridgetest.Text(t, bridgetest.Report(1, bridgetest.Configured(1), failed(reason, "")))}
		if err := cl.Update(t.Context(), cm); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(told.Events); n == 0 || n > eventBurst+1 {
		t.Errorf("%d Events in a minute, want at most %d", n, eventBurst+1)
	}
}
