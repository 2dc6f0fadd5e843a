package status

import (
	"fmt"
	"strings"

	v1 "multinicd/api/v1"
)

// exposition is text in the format of Prometheus, version 0.0.4.
type exposition struct{ strings.Builder }

// metric adds one metric with its samples. kind is gauge or counter.
func (e *exposition) metric(kind, name, help string, samples ...string) {
	fmt.Fprintf(e, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	for _, sample := range samples {
		e.WriteString(name + sample + "\n")
	}
}

// gauge adds a metric that is one number.
func (e *exposition) gauge(name, help string, value int64) {
	e.metric("gauge", name, help, fmt.Sprintf(" %d", value))
}

// Metrics is the status in the text format that node_exporter's textfile collector reads.
// docs/metrics.md has a row for each.
func (s Node) Metrics() string {
	var e exposition
	s.gauges(&e)
	s.counters(&e)
	return e.String()
}

func (s Node) gauges(e *exposition) {
	e.metric("gauge", "multinicd_info", "Version of multinicd, and who configures the network on this host.", fmt.Sprintf("{version=%q,backend=%q} 1", s.Version, s.Backend))
	counts, different := map[v1.State]int{}, int64(0)
	for _, n := range s.NICs {
		counts[n.Status]++
		if len(n.Difference) > 0 {
			different++
		}
	}
	var samples []string
	for _, state := range []v1.State{v1.StatePending, v1.StateInProgress, v1.StateConfigured, v1.StateFailed} {
		samples = append(samples, fmt.Sprintf("{status=%q} %d", state, counts[state]))
	}
	e.metric("gauge", "multinicd_interfaces", "NICs that the object names, by status.", samples...)
	e.gauge("multinicd_interfaces_different", "NICs that are not as wanted now.", different)
	e.gauge("multinicd_object_generation", "Generation of the object that the node works on.", s.Generation)
	delivered := int64(0)
	if s.Delivered {
		delivered = 1
	}
	e.gauge("multinicd_report_delivered", "1 where the cluster has the last report.", delivered)
	e.gauge("multinicd_parts_down", "Parts of multinicd that do not work and are tried again.", int64(len(s.Down)))
	e.gauge("multinicd_goroutines", "Goroutines of multinicd.", int64(s.Goroutines))
	if !s.Source.Contact.IsZero() {
		e.gauge("multinicd_last_contact_timestamp_seconds", "When the API server last answered.", s.Source.Contact.Unix())
	}
	if c := s.Credential; c != nil && !c.Ends.IsZero() {
		e.gauge("multinicd_credential_expiry_timestamp_seconds", "When the node's token ends.", c.Ends.Unix())
	}
}

func (s Node) counters(e *exposition) {
	e.metric("counter", "multinicd_passes_total", "Looks at what is wanted and what is there, since the daemon started: about a dozen in a quiet hour.", fmt.Sprintf(" %d", s.Meters.Passes))
	var changes, repairs []string
	for _, result := range changeResults {
		changes = append(changes, fmt.Sprintf("{result=%q} %d", result, s.Meters.Changes[result]))
	}
	e.metric("counter", "multinicd_changes_total", "Changes of the object since the daemon started, by how the first pass over each ended.", changes...)
	for _, what := range repaired {
		for _, result := range repairResults {
			repairs = append(repairs, fmt.Sprintf("{what=%q,result=%q} %d", what, result, s.Meters.Repairs[what+" "+result]))
		}
	}
	e.metric("counter", "multinicd_repairs_total", "Things that somebody had changed and that were put back, or could not be, since the daemon started.", repairs...)
	e.WriteString(s.Meters.Change.text("multinicd_change_duration_seconds", "From when the node was told of a change until every NIC was verified."))
	e.WriteString(s.Meters.Repair.text("multinicd_repair_duration_seconds", "From the kernel's event until a repair was verified."))
}
