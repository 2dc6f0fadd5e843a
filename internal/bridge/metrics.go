package bridge

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/rollout"
)

// meters are the bridge's own metrics. docs/metrics.md has a row for each. None has a label per
// node: what there is to say about one node is in its object, and for a fleet of ten thousand such
// a label would cost the monitoring more than the bridge itself.
type meters struct {
	runs, jobs *prometheus.CounterVec
	writes     prometheus.Counter
	outdated   prometheus.Gauge
	fleet      fleetMetrics
}

// newMeters makes metrics that count the objects in c. last is the last decision of the rollout
// brake; nil if there is no brake.
func newMeters(c client.Reader, last func() rollout.Out) *meters {
	return &meters{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "multinic_runs_total",
			Help: "MultiNicNodeRuns that have ended, by action and exit code."}, []string{"action", "exit_code"}),
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "multinic_jobs_total",
			Help: "Jobs that the bridge made, and ended before their time."}, []string{"what"}),
		writes: prometheus.NewCounter(prometheus.CounterOpts{Name: "multinic_status_writes_total",
			Help: "Statuses of objects that were written."}),
		outdated: prometheus.NewGauge(prometheus.GaugeOpts{Name: "multinic_crds_outdated",
			Help: "1 while the CRDs lack fields of this version, which are left out of statuses."}),
		fleet: fleetMetrics{client: c, rollout: last},
	}
}

// collectors are the metrics of a duty. The fleet is counted by one of them.
func (m *meters) collectors(d Duty) []prometheus.Collector {
	if d == Credentials {
		return []prometheus.Collector{m.jobs}
	}
	return []prometheus.Collector{m.runs, m.writes, m.outdated, m.fleet}
}

// register puts the metrics of a duty on the page that the manager serves, until the returned function is
// called. There is one such page for the process. A bridge that serves none leaves the page alone,
// so that several bridges can run in one process.
func (m *meters) register(served bool, d Duty) (func(), error) {
	if !served {
		return func() {}, nil
	}
	var done []prometheus.Collector
	end := func() {
		for _, c := range done {
			metrics.Registry.Unregister(c)
		}
	}
	for _, c := range m.collectors(d) {
		if err := metrics.Registry.Register(c); err != nil {
			end()
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
		done = append(done, c)
	}
	return end, nil
}

// fleetMetrics counts the objects of the cache anew at each scrape, because a count that is kept
// can go wrong. Replicas that do not lead have filled caches too, and give the same numbers.
type fleetMetrics struct {
	client  client.Reader
	rollout func() rollout.Out // nil: no brake
}

var (
	nodesDesc    = prometheus.NewDesc("multinic_nodes", "Objects of nodes, by state.", []string{"state"}, nil)
	readyDesc    = prometheus.NewDesc("multinic_nodes_ready", "Objects of nodes, by the status of Ready and its reason.", []string{"status", "reason"}, nil)
	degradedDesc = prometheus.NewDesc("multinic_nodes_degraded", "Objects of nodes whose condition Degraded is True, by reason.", []string{"reason"}, nil)
	nicsDesc     = prometheus.NewDesc("multinic_interfaces", "NICs of all objects, by status.", []string{"status"}, nil)
	staleDesc    = prometheus.NewDesc("multinic_nodes_behind", "Objects of nodes that have not settled on their present generation.", nil, nil)
	rolloutDesc  = prometheus.NewDesc("multinic_rollout_nodes", "Nodes as the rollout brake counts them.", []string{"phase"}, nil)
	stoppedDesc  = prometheus.NewDesc("multinic_rollout_stopped", "1 while the rollout brake releases nothing more, because too many nodes have failed.", nil, nil)
)

// Describe implements prometheus.Collector.
func (fleetMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{nodesDesc, readyDesc, degradedDesc, nicsDesc, staleDesc, rolloutDesc, stoppedDesc} {
		ch <- d
	}
}

// knownReasons bounds the label reason: a node may write any word.
var knownReasons = map[string]bool{
	v1.ReasonAllInterfacesConfigured: true, v1.ReasonApplying: true, v1.ReasonInterfacesWaiting: true, v1.ReasonInterfacesFailed: true,
	v1.ReasonNoReport: true, v1.ReasonNodeSilent: true, v1.ReasonReportRefused: true, v1.ReasonJobFailed: true, v1.ReasonJobStuck: true,
	v1.ReasonIdentityMismatch: true, v1.ReasonNoBackend: true, v1.ReasonClockSkew: true,
	v1.ReasonInvalidSpec: true, v1.ReasonHeldBack: true, v1.ReasonRemoved: true, v1.ReasonDriftFighting: true, v1.ReasonCleanupRefused: true,
}

func bounded(reason string) string {
	if knownReasons[reason] {
		return reason
	}
	return "other"
}

// Collect implements prometheus.Collector.
func (f fleetMetrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var list v1.MultiNicNodeConfigList
	if err := f.client.List(ctx, &list, client.InNamespace(v1.SystemNamespace), client.UnsafeDisableDeepCopy); err != nil {
		return // the cache is not filled yet: no figure is better than a wrong one
	}
	states, nics := map[string]int{}, map[string]int{}
	type ready struct{ status, reason string }
	readies, degraded, behind := map[ready]int{}, map[string]int{}, 0
	for _, o := range list.Items {
		states[string(o.Status.State)]++
		if o.Status.ObservedGeneration != o.Generation || o.Status.State == v1.StateInProgress {
			behind++
		}
		if c := meta.FindStatusCondition(o.Status.Conditions, v1.ConditionReady); c != nil {
			readies[ready{string(c.Status), bounded(c.Reason)}]++
		}
		if c := meta.FindStatusCondition(o.Status.Conditions, v1.ConditionDegraded); c != nil && c.Status == metav1.ConditionTrue {
			degraded[bounded(c.Reason)]++
		}
		for _, n := range o.Status.InterfaceStatuses {
			nics[string(n.Status)]++
		}
	}
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	for _, s := range []v1.State{v1.StatePending, v1.StateInProgress, v1.StateConfigured, v1.StateFailed} {
		gauge(nodesDesc, states[string(s)], string(s))
		gauge(nicsDesc, nics[string(s)], string(s))
	}
	for r, n := range readies {
		gauge(readyDesc, n, r.status, r.reason)
	}
	for reason, n := range degraded {
		gauge(degradedDesc, n, reason)
	}
	gauge(staleDesc, behind)
	if f.rollout == nil {
		return
	}
	out := f.rollout()
	gauge(rolloutDesc, out.Waiting, "waiting")
	gauge(rolloutDesc, out.Changing, "changing")
	gauge(rolloutDesc, out.Failed, "failed")
	gauge(rolloutDesc, len(out.Stuck), "stuck")
	gauge(rolloutDesc, out.Outside, "outside")
	stopped := 0
	if out.Stopped {
		stopped = 1
	}
	gauge(stoppedDesc, stopped)
}
