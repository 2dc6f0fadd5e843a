package legacy

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// meters are the metrics of this publisher. docs/metrics.md has a row for each. None has a label
// that a publisher chooses.
type meters struct {
	passes    *prometheus.CounterVec
	entries   *prometheus.GaugeVec
	orphans   prometheus.Gauge
	unguarded prometheus.Gauge
	objects   *prometheus.CounterVec
	statuses  prometheus.Counter
}

func newMeters() *meters {
	m := &meters{
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "multinic_legacy_passes_total",
			Help: "Passes over the older objects, by result: whole, failed."}, []string{"result"}),
		entries: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "multinic_legacy_entries",
			Help: "Entries of older objects by the reason for which they are left out; Applied if they are not."}, []string{"reason"}),
		orphans: prometheus.NewGauge(prometheus.GaugeOpts{Name: "multinic_legacy_orphans",
			Help: "Objects of nodes that were made of an older object, and that no entry is about any more."}),
		unguarded: prometheus.NewGauge(prometheus.GaugeOpts{Name: "multinic_legacy_unguarded",
			Help: "1 while an admission policy of the phase is not in force."}),
		objects: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "multinic_legacy_objects_total",
			Help: "Objects of nodes that were to be written, by what became of them."}, []string{"result"}),
		statuses: prometheus.NewCounter(prometheus.CounterOpts{Name: "multinic_legacy_statuses_total",
			Help: "Statuses of older objects that were written."}),
	}
	for _, result := range []string{"whole", "failed"} { // an alert asks for what never happened
		m.passes.WithLabelValues(result)
	}
	return m
}

func (m *meters) register(page prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.passes, m.entries, m.orphans, m.unguarded, m.objects, m.statuses} {
		if err := page.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}
