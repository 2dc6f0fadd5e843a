package intake

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"

	"multinicd/internal/hosttest"
)

func TestEveryMetricHasARow(t *testing.T) {
	m := newMeters()
	m.count(200, time.Second, &audit{counts: counts{created: 2, refused: 1}})
	m.count(200, time.Second, &audit{dry: true, counts: counts{created: 5}})
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
	for _, line := range []string{`multinic_intake_nodes_total{result="created"} 2`, `multinic_intake_requests_total{code="200"} 2`} {
		if !strings.Contains(page.String(), line+"\n") {
			t.Errorf("there is no %s in\n%s", line, &page)
		}
	}
	hosttest.MetricsHaveRows(t, "../../docs/metrics.md", "multinic_intake_", page.String())
}
