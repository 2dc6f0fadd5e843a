package openstack

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"

	"multinicd/internal/hosttest"
	"multinicd/internal/publish"
	"os"
)

func TestEveryMetricHasARow(t *testing.T) {
	m := newMeters()
	w, proofs := fleet(t, 5, 4)
	first := Judge(w, Memory{}, proofs, rules)
	w.Now = begin.Add(time.Minute)
	w.Machines = append(w.Machines, Machine{Name: "x", ProviderID: "aws:///i"})
	v := Judge(w, first.Memory, proofs, rules)
	m.count(v, []publish.Result{{Action: publish.Created}}, true, begin, time.Second)
	m.polls.WithLabelValues("failed").Inc()
	m.end(begin)
	m.requests.WithLabelValues("200").Inc()
	registry := prometheus.NewPedanticRegistry()
	if err := m.register(registry); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := promlint.NewWithMetricFamilies(families).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	var page strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&page, f); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{
		`multinic_openstack_nodes{reason="Followed"} 5`, `multinic_openstack_nodes{reason="NotOfCloud"} 1`, `multinic_openstack_ports{reason="Managed"} 10`,
		`multinic_openstack_ports{reason="RemovalHeld"} 4`, `multinic_openstack_removals_held 4`, `multinic_openstack_polls_total{result="whole"} 1`,
	} {
		if !strings.Contains(page.String(), line+"\n") {
			t.Errorf("there is no %s in\n%s", line, &page)
		}
	}
	hosttest.MetricsHaveRows(t, "../../docs/metrics.md", "multinic_openstack_", page.String())
}

// A user looks a reason up by its word.
func TestEveryReasonHasARow(t *testing.T) {
	code, err := os.ReadFile("port.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/openstack.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, m := range regexp.MustCompile(`(?m)^\t\w+ +Reason = "(\w+)"$`).FindAllStringSubmatch(string(code), -1) {
		want = append(want, m[1])
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]\\w+)` \\|").FindAllStringSubmatch(string(doc), -1) {
		got = append(got, m[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(want) < 15 || !slices.Equal(want, got) {
		t.Errorf("the constants are\n%q\nthe rows are of\n%q", want, got)
	}
}
