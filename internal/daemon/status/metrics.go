package status

import (
	"fmt"
	"strings"

	v1 "multinicd/api/v1"
)

// Metrics is the status in the text format that node_exporter's textfile collector reads (Prometheus exposition format 0.0.4). docs/metrics.md
// has a row for each.
func (s Node) Metrics() string {
	var b strings.Builder
	kind := "gauge"
	metric := func(name, help string, samples ...string) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
		for _, sample := range samples {
			b.WriteString(name + sample + "\n")
		}
	}
	metric("multinicd_info", "Version of multinicd, and who configures the network on this host.", fmt.Sprintf("{version=%q,backend=%q} 1", s.Version, s.Backend))
	counts, different := map[v1.State]int{}, 0
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
	metric("multinicd_interfaces", "NICs that the object names, by status.", samples...)
	metric("multinicd_interfaces_different", "NICs that are not as wanted now.", fmt.Sprintf(" %d", different))
	metric("multinicd_object_generation", "Generation of the object that the node works on.", fmt.Sprintf(" %d", s.Generation))
	delivered := 0
	if s.Delivered {
		delivered = 1
	}
	metric("multinicd_report_delivered", "1 where the cluster has the last report.", fmt.Sprintf(" %d", delivered))
	metric("multinicd_parts_down", "Parts of multinicd that do not work and are tried again.", fmt.Sprintf(" %d", len(s.Down)))
	metric("multinicd_goroutines", "Goroutines of multinicd.", fmt.Sprintf(" %d", s.Goroutines))
	if !s.Source.Contact.IsZero() {
		metric("multinicd_last_contact_timestamp_seconds", "When the API server last answered.", fmt.Sprintf(" %d", s.Source.Contact.Unix()))
	}
	if c := s.Credential; c != nil && !c.Ends.IsZero() {
		metric("multinicd_credential_expiry_timestamp_seconds", "When the node's token ends.", fmt.Sprintf(" %d", c.Ends.Unix()))
	}
	kind, samples = "counter", nil
	metric("multinicd_passes_total", "Looks at what is wanted and what is there, since the daemon started: about a dozen in a quiet hour.", fmt.Sprintf(" %d", s.Meters.Passes))
	for _, result := range changeResults {
		samples = append(samples, fmt.Sprintf("{result=%q} %d", result, s.Meters.Changes[result]))
	}
	metric("multinicd_changes_total", "Changes of the object since the daemon started, by how the first pass over each ended.", samples...)
	samples = nil
	for _, what := range repaired {
		for _, result := range repairResults {
			samples = append(samples, fmt.Sprintf("{what=%q,result=%q} %d", what, result, s.Meters.Repairs[what+" "+result]))
		}
	}
	metric("multinicd_repairs_total", "Things that somebody had changed and that were put back, or could not be, since the daemon started.", samples...)
	b.WriteString(s.Meters.Change.text("multinicd_change_duration_seconds", "From when the node was told of a change until every NIC was verified."))
	b.WriteString(s.Meters.Repair.text("multinicd_repair_duration_seconds", "From the kernel's event until a repair was verified."))
	return b.String()
}
