package status

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
)

// Status is what Judge says of a node.
func Status(in In) v1.MultiNicNodeConfigStatus { return Judge(in).Status }

// newLoop is one whose nodes can be reached, with a brake or without.
func newLoop(w bridgetest.World) *Loop {
	return &Loop{Client: w.Client, Log: w.Log, Now: w.Now, SilentAfter: v1.SilentAfter, Pulses: w.Pulses, Jobs: true, Events: events.NewFakeRecorder(1000),
		Written: prometheus.NewCounter(prometheus.CounterOpts{}), Outdated: prometheus.NewGauge(prometheus.GaugeOpts{Name: "outdated"}),
		Reachable: func(context.Context, *v1.MultiNicNodeConfig) (bool, error) { return true, nil }}
}

func TestTheStatusLoopThatNothingWakesLooksSeldom(t *testing.T) {
	has := func(objects ...client.Object) []client.Object { return append(objects, bridgetest.StoredObject()) }
	garbage := &corev1.ConfigMap{ObjectMeta: bridgetest.InNodes(v1.ReportName(bridgetest.Node)), Data: map[string]string{v1.ReportKey: "{"}}
	job := &batchv1.Job{ObjectMeta: bridgetest.InNodes("job")}
	job.Annotations = map[string]string{v1.NodeNameAnnotation: bridgetest.Node, v1.ObjectUIDAnnotation: bridgetest.UID, v1.GenerationAnnotation: "1"}
	rows := map[string]bridgetest.QuietRow{
		"no object":                                          {},
		"a node that never joined":                           {Objects: has()},
		"a node without a Lease":                             {Objects: has(bridgetest.StoredReport(t)), Pulse: "-"},
		"a node that joined and never reported":              {Objects: has(), Pulse: "renewed"},
		"a node with a daemon":                               {Objects: has(bridgetest.StoredReport(t)), Pulse: "renewed"},
		"a node with a report and a Lease that is made anew": {Objects: has(bridgetest.StoredReport(t))},
		"a node that Jobs work on":                           {Objects: has(bridgetest.StoredReport(t, bridgetest.FromJob))},
		"a node that Jobs work on, which had a daemon":       {Objects: has(bridgetest.StoredReport(t, bridgetest.FromJob)), Pulse: "renewed"},
		"a node whose Job runs":                              {Objects: has(job)},
		"garbage":                                            {Objects: has(garbage)},
		"garbage of a daemon":                                {Objects: has(garbage), Pulse: "renewed"},
	}
	for sentence, row := range rows {
		row.Loop, row.Key = func(w bridgetest.World) reconcile.Reconciler { return newLoop(w) }, bridgetest.ObjectKey
		rows[sentence] = row
	}
	bridgetest.LooksSeldom(t, rows)
}
