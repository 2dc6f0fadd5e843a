package intake

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// meters are the metrics of the door. docs/metrics.md has a row for each. None has a label that a
// client chooses.
type meters struct {
	requests *prometheus.CounterVec
	nodes    *prometheus.CounterVec
	seconds  prometheus.Histogram
}

func newMeters() *meters {
	return &meters{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "multinic_intake_requests_total",
			Help: "Requests of publishers that were answered, by HTTP status."}, []string{"code"}),
		nodes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "multinic_intake_nodes_total",
			Help: "Nodes in requests of publishers, by what became of them."}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "multinic_intake_request_duration_seconds",
			Help: "How long requests of publishers took.", Buckets: []float64{.01, .03, .1, .3, 1, 3, 10, 30}}),
	}
}

func (m *meters) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.nodes, m.seconds}
}

// register puts the metrics on the page of the process.
func (m *meters) register(page prometheus.Registerer) error {
	for _, c := range m.collectors() {
		if err := page.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

func (m *meters) count(status int, took time.Duration, says *audit) {
	m.requests.WithLabelValues(strconv.Itoa(status)).Inc()
	m.seconds.Observe(took.Seconds())
	if says.dry {
		return
	}
	for result, n := range map[string]int{
		"created": says.created, "changed": says.changed, "unchanged": says.unchanged, "refused": says.refused, "waiting": says.waiting,
	} {
		m.nodes.WithLabelValues(result).Add(float64(n))
	}
}
