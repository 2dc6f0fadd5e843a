package status

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	v1 "multinicd/api/v1"
	"multinicd/internal/hosttest"
)

func TestMetricsAreTextAndEachHasARow(t *testing.T) {
	at := time.Unix(1800000000, 0)
	s := Node{Version: "1", Backend: "netplan", Generation: 3, Delivered: true, Goroutines: 12, Source: Source{Contact: at}, Credential: &Credential{Ends: at},
		Meters: Meters{Passes: 7, Changes: map[string]int64{"configured": 2}, Repairs: map[string]int64{"address done": 3, "mtu failed": 1}},
		NICs:   []NIC{{Status: v1.StateConfigured}, {Status: v1.StateFailed, Difference: []string{"mtu"}}}}
	s.Meters.Change.observe(20 * time.Millisecond)
	s.Meters.Change.observe(25 * time.Millisecond) // a bound is in its own bucket
	s.Meters.Change.observe(2 * time.Minute)
	got := s.Metrics()
	want := `# HELP multinicd_info Version of multinicd, and who configures the network on this host.
# TYPE multinicd_info gauge
multinicd_info{version="1",backend="netplan"} 1
# HELP multinicd_interfaces NICs that the object names, by status.
# TYPE multinicd_interfaces gauge
multinicd_interfaces{status="Pending"} 0
multinicd_interfaces{status="InProgress"} 0
multinicd_interfaces{status="Configured"} 1
multinicd_interfaces{status="Failed"} 1
# HELP multinicd_interfaces_different NICs that are not as wanted now.
# TYPE multinicd_interfaces_different gauge
multinicd_interfaces_different 1
# HELP multinicd_object_generation Generation of the object that the node works on.
# TYPE multinicd_object_generation gauge
multinicd_object_generation 3
# HELP multinicd_report_delivered 1 where the cluster has the last report.
# TYPE multinicd_report_delivered gauge
multinicd_report_delivered 1
# HELP multinicd_parts_down Parts of multinicd that do not work and are tried again.
# TYPE multinicd_parts_down gauge
multinicd_parts_down 0
# HELP multinicd_goroutines Goroutines of multinicd.
# TYPE multinicd_goroutines gauge
multinicd_goroutines 12
# HELP multinicd_last_contact_timestamp_seconds When the API server last answered.
# TYPE multinicd_last_contact_timestamp_seconds gauge
multinicd_last_contact_timestamp_seconds 1800000000
# HELP multinicd_credential_expiry_timestamp_seconds When the node's token ends.
# TYPE multinicd_credential_expiry_timestamp_seconds gauge
multinicd_credential_expiry_timestamp_seconds 1800000000
# HELP multinicd_passes_total Looks at what is wanted and what is there, since the daemon started: about a dozen in a quiet hour.
# TYPE multinicd_passes_total counter
multinicd_passes_total 7
# HELP multinicd_changes_total Changes of the object since the daemon started, by how the first pass over each ended.
# TYPE multinicd_changes_total counter
multinicd_changes_total{result="configured"} 2
multinicd_changes_total{result="failed"} 0
multinicd_changes_total{result="unsettled"} 0
multinicd_changes_total{result="waiting"} 0
# HELP multinicd_repairs_total Things that somebody had changed and that were put back, or could not be, since the daemon started.
# TYPE multinicd_repairs_total counter
multinicd_repairs_total{what="address",result="done"} 3
multinicd_repairs_total{what="address",result="failed"} 0
multinicd_repairs_total{what="conf",result="done"} 0
multinicd_repairs_total{what="conf",result="failed"} 0
multinicd_repairs_total{what="file",result="done"} 0
multinicd_repairs_total{what="file",result="failed"} 0
multinicd_repairs_total{what="mtu",result="done"} 0
multinicd_repairs_total{what="mtu",result="failed"} 1
multinicd_repairs_total{what="name",result="done"} 0
multinicd_repairs_total{what="name",result="failed"} 0
multinicd_repairs_total{what="other",result="done"} 0
multinicd_repairs_total{what="other",result="failed"} 0
multinicd_repairs_total{what="route",result="done"} 0
multinicd_repairs_total{what="route",result="failed"} 0
multinicd_repairs_total{what="rule",result="done"} 0
multinicd_repairs_total{what="rule",result="failed"} 0
multinicd_repairs_total{what="up",result="done"} 0
multinicd_repairs_total{what="up",result="failed"} 0
# HELP multinicd_change_duration_seconds From when the node was told of a change until every NIC was verified.
# TYPE multinicd_change_duration_seconds histogram
multinicd_change_duration_seconds_bucket{le="0.01"} 0
multinicd_change_duration_seconds_bucket{le="0.025"} 2
multinicd_change_duration_seconds_bucket{le="0.05"} 2
multinicd_change_duration_seconds_bucket{le="0.1"} 2
multinicd_change_duration_seconds_bucket{le="0.25"} 2
multinicd_change_duration_seconds_bucket{le="0.5"} 2
multinicd_change_duration_seconds_bucket{le="1"} 2
multinicd_change_duration_seconds_bucket{le="2.5"} 2
multinicd_change_duration_seconds_bucket{le="5"} 2
multinicd_change_duration_seconds_bucket{le="10"} 2
multinicd_change_duration_seconds_bucket{le="30"} 2
multinicd_change_duration_seconds_bucket{le="60"} 2
multinicd_change_duration_seconds_bucket{le="+Inf"} 3
multinicd_change_duration_seconds_sum 120.045
multinicd_change_duration_seconds_count 3
# HELP multinicd_repair_duration_seconds From the kernel's event until a repair was verified.
# TYPE multinicd_repair_duration_seconds histogram
multinicd_repair_duration_seconds_bucket{le="0.01"} 0
multinicd_repair_duration_seconds_bucket{le="0.025"} 0
multinicd_repair_duration_seconds_bucket{le="0.05"} 0
multinicd_repair_duration_seconds_bucket{le="0.1"} 0
multinicd_repair_duration_seconds_bucket{le="0.25"} 0
multinicd_repair_duration_seconds_bucket{le="0.5"} 0
multinicd_repair_duration_seconds_bucket{le="1"} 0
multinicd_repair_duration_seconds_bucket{le="2.5"} 0
multinicd_repair_duration_seconds_bucket{le="5"} 0
multinicd_repair_duration_seconds_bucket{le="10"} 0
multinicd_repair_duration_seconds_bucket{le="30"} 0
multinicd_repair_duration_seconds_bucket{le="60"} 0
multinicd_repair_duration_seconds_bucket{le="+Inf"} 0
multinicd_repair_duration_seconds_sum 0
multinicd_repair_duration_seconds_count 0
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if problems, err := promlint.New(strings.NewReader(got)).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	hosttest.MetricsHaveRows(t, "../../../docs/metrics.md", "multinicd_", got)
}
