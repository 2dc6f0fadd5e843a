package openstack

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"multinicd/internal/publish"
)

// meters are the metrics of this publisher. docs/metrics.md has a row for each. None has a label
// that a cloud chooses.
type meters struct {
	polls    *prometheus.CounterVec
	seconds  prometheus.Histogram
	last     prometheus.Gauge
	requests *prometheus.CounterVec
	bytes    prometheus.Counter
	nodes    *prometheus.GaugeVec
	ports    *prometheus.GaugeVec
	held     prometheus.Gauge
	objects  *prometheus.CounterVec
	ends     *prometheus.GaugeVec
}

func newMeters() *meters {
	m := &meters{
		polls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "multinic_openstack_polls_total",
			Help: "Walks through Neutron's ports, by result: whole, part, failed."}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "multinic_openstack_poll_duration_seconds",
			Help: "How long a walk and what follows from it took.", Buckets: []float64{.3, 1, 3, 10, 30, 100, 300}}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{Name: "multinic_openstack_last_whole_poll_timestamp_seconds",
			Help: "When the last whole walk ended."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "multinic_openstack_requests_total",
			Help: "Requests to Keystone and Neutron, by HTTP status; none if there was no answer."}, []string{"code"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{Name: "multinic_openstack_received_bytes_total",
			Help: "Bytes of answers of Keystone and Neutron."}),
		nodes: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "multinic_openstack_nodes",
			Help: "Nodes by the reason for which they are frozen; Followed if they are not."}, []string{"reason"}),
		ports: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "multinic_openstack_ports",
			Help: "Ports and NICs by the reason for which they are left out or kept; Managed if they are not."}, []string{"reason"}),
		held: prometheus.NewGauge(prometheus.GaugeOpts{Name: "multinic_openstack_removals_held",
			Help: "Removals that the brake holds until a person releases them."}),
		objects: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "multinic_openstack_objects_total",
			Help: "Objects that were to be as wished, by what became of them."}, []string{"result"}),
		// without a label, and not there if it is not known
		ends: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "multinic_openstack_credential_end_timestamp_seconds",
			Help: "When the first of the application credentials ends that are known to end."}, nil),
	}
	for _, result := range []string{"whole", "part", "failed"} { // an alert asks for what never happened
		m.polls.WithLabelValues(result)
	}
	return m
}

func (m *meters) register(page prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.polls, m.seconds, m.last, m.requests, m.bytes, m.nodes, m.ports, m.held, m.objects, m.ends} {
		if err := page.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// end takes down when the first credential ends; zero if that is not known.
func (m *meters) end(at time.Time) {
	m.ends.Reset()
	if !at.IsZero() {
		m.ends.WithLabelValues().Set(float64(at.Unix()))
	}
}

// count takes down one walk that was judged.
func (m *meters) count(v Verdict, results []publish.Result, whole bool, now time.Time, took time.Duration) {
	m.seconds.Observe(took.Seconds())
	result := "part"
	if whole {
		result = "whole"
		m.last.Set(float64(now.Unix()))
	}
	m.polls.WithLabelValues(result).Inc()
	m.nodes.Reset()
	m.ports.Reset()
	m.held.Set(float64(v.Held))
	for _, n := range v.Nodes {
		if n.Frozen != "" {
			m.nodes.WithLabelValues(string(n.Frozen)).Inc()
			continue
		}
		m.nodes.WithLabelValues("Followed").Inc()
		for _, r := range n.Remarks {
			m.ports.WithLabelValues(string(r.Reason)).Inc()
		}
		if n.Wish != nil {
			m.ports.WithLabelValues("Managed").Add(float64(len(n.Wish.NICs)))
		}
	}
	for _, r := range results {
		m.objects.WithLabelValues(string(r.Action)).Inc()
	}
}
