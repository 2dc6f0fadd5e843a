package bridge

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/rollout"
	"multinicd/internal/bridge/status"
	"multinicd/internal/hosttest"
)

// page is what a scrape of a fleet gives: one node of each kind that matters.
func page(t *testing.T) string {
	t.Helper()
	var objects []client.Object
	add := func(name string, in status.In) {
		o := in.Object
		o.Name, o.Namespace = name, v1.SystemNamespace
		o.Status = status.Judge(in).Status
		objects = append(objects, o)
	}
	add(bridgetest.Node, status.In{Object: bridgetest.Object(1), Report: bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))), Now: bridgetest.Noon})
	strange := bridgetest.Report(1)
	strange.Refused = &v1.Remark{Reason: "AWordThatOnlyThisNodeKnows"}
	add(bridgetest.Node, status.In{Object: bridgetest.Object(1), Report: bridgetest.Said(t, strange), Now: bridgetest.Noon})
	objects[1].SetName("strange")
	add("unheard", status.In{Object: bridgetest.Object(1), Now: bridgetest.Noon})
	scheme := runtime.NewScheme()
	if err := v1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	m := newMeters(fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&v1.MultiNicNodeConfig{}).Build(),
		func() rollout.Out {
			return rollout.Out{Waiting: 7, Changing: 2, Failed: 3, Outside: 4, Stuck: []rollout.Node{{Name: "a"}}, Stopped: true}
		})
	m.runs.WithLabelValues("trigger", "0").Inc()
	m.jobs.WithLabelValues("made").Inc()
	registry := prometheus.NewPedanticRegistry()
	for _, c := range append(m.collectors(Status), m.collectors(Credentials)...) {
		if err := registry.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	var b strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestMetricsCountTheFleetWithoutNamingAnybody(t *testing.T) {
	got := page(t)
	for _, line := range []string{
		`multinic_nodes{state="Configured"} 1`,
		`multinic_nodes{state="Failed"} 1`,
		`multinic_nodes{state="Pending"} 1`,
		`multinic_nodes{state="InProgress"} 0`,
		`multinic_nodes_ready{reason="AllInterfacesConfigured",status="True"} 1`,
		`multinic_nodes_ready{reason="other",status="False"} 1`,
		`multinic_nodes_ready{reason="NoReport",status="Unknown"} 1`,
		`multinic_nodes_degraded{reason="other"} 1`,
		`multinic_interfaces{status="Configured"} 2`,
		`multinic_rollout_nodes{phase="waiting"} 7`,
		`multinic_rollout_nodes{phase="stuck"} 1`,
		`multinic_rollout_nodes{phase="outside"} 4`,
		`multinic_rollout_stopped 1`,
		`multinic_runs_total{action="trigger",exit_code="0"} 1`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("there is no %s", line)
		}
	}
	if strings.Contains(got, bridgetest.Node) || strings.Contains(got, "AWordThat") {
		t.Error("a node, or a word of its own, is a label")
	}
	if t.Failed() {
		t.Log(got)
	}
}

func TestEveryMetricHasARow(t *testing.T) {
	hosttest.MetricsHaveRows(t, "../../docs/metrics.md", "multinic_", page(t), "multinic_intake_", "multinic_openstack_", "multinic_legacy_")
}

// An alert on a metric that has been renamed never fires, and says nothing about it.
func TestDashboardAndAlertsAskForMetricsThatAreThere(t *testing.T) {
	// Those of the libraries: client-go and controller-runtime register them in their own time, Go and Prometheus itself add theirs.
	theirs := []string{"controller_runtime_reconcile_errors_total", "controller_runtime_reconcile_total", "leader_election_master_status",
		"process_cpu_seconds_total", "process_resident_memory_bytes", "rest_client_requests_total", "up", "workqueue_depth"}
	ours := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\w+)`).FindAllStringSubmatch(page(t), -1) {
		ours[m[1]] = true
	}
	// What is left of an expression without strings, labels and functions is names of metrics.
	other := regexp.MustCompile(`"[^"]*"|\{[^}]*\}|\[\w+\]|\bby \([^)]*\)|\b(sum|max|min|time|rate|absent|histogram_quantile)\b`)
	// Those of the nodes and of the publisher: their own tests keep the page and the metrics together.
	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(multinicd_\\w+|multinic_openstack_\\w+|multinic_legacy_\\w+)`").FindAllStringSubmatch(string(doc), -1) {
		ours[m[1]], ours[m[1]+"_bucket"] = true, strings.HasSuffix(m[1], "_duration_seconds")
	}
	for file, pattern := range map[string]string{"dashboard.json": `(?m)^ *"expr": (".*"),?$`, "alerts.yaml": `(?m)^ *expr: (.*)$`} {
		text, err := os.ReadFile("../../charts/multinic/files/" + file)
		if err != nil {
			t.Fatal(err)
		}
		exprs := regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1)
		if len(exprs) < 5 || len(exprs) != len(regexp.MustCompile(`\bexpr"?:`).FindAll(text, -1)) {
			t.Fatalf("%s: %d expressions were understood", file, len(exprs))
		}
		for _, m := range exprs {
			expr := m[1]
			if file == "dashboard.json" {
				if err := json.Unmarshal([]byte(m[1]), &expr); err != nil {
					t.Fatal(err)
				}
			}
			for either := range strings.SplitSeq(expr, " or ") {
				names := regexp.MustCompile(`\b[a-z]\w+`).FindAllString(other.ReplaceAllString(either, " "), -1)
				if len(names) != 1 || (!ours[names[0]] && !slices.Contains(theirs, names[0])) {
					t.Errorf("%s: %s asks for %q", file, either, names)
				}
			}
		}
	}
}
