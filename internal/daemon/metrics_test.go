package daemon

import (
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "multinicd/api/v1"
)

func TestMetricsAreTextAndEachHasARow(t *testing.T) {
	at := time.Unix(1800000000, 0)
	s := Status{Version: "1", Backend: "netplan", Generation: 3, Delivered: true, Source: SourceStatus{Contact: at}, Credential: &Credential{Ends: at},
		NICs: []NICStatus{{Status: v1.StateConfigured}, {Status: v1.StateFailed, Difference: []string{"mtu"}}}}
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
# HELP multinicd_last_contact_timestamp_seconds When the API server last answered.
# TYPE multinicd_last_contact_timestamp_seconds gauge
multinicd_last_contact_timestamp_seconds 1800000000
# HELP multinicd_credential_expiry_timestamp_seconds When the node's token ends.
# TYPE multinicd_credential_expiry_timestamp_seconds gauge
multinicd_credential_expiry_timestamp_seconds 1800000000
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	names := func(pattern, text string) []string {
		var out []string
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			out = append(out, m[1])
		}
		slices.Sort(out)
		return out
	}
	if diff := cmp.Diff(names(`(?m)^# TYPE (\w+)`, got), names("(?m)^\\| `(multinicd_\\w+)`", string(doc))); diff != "" {
		t.Errorf("docs/metrics.md (-metrics +rows)\n%s", diff)
	}
}
