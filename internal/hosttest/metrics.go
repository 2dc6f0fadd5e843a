package hosttest

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// MetricsHaveRows compares the metrics that exposed, a text in Prometheus' exposition format, declares
// with those that begin with prefix in the tables of doc, the path of docs/metrics.md.
func MetricsHaveRows(t *testing.T, doc, prefix, exposed string) {
	t.Helper()
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	names := func(pattern, text string) []string {
		var out []string
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			out = append(out, m[1])
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	got, want := names(`(?m)^# TYPE (\w+)`, exposed), names("(?m)^\\| `("+prefix+"\\w+)`", string(text))
	if !slices.Equal(got, want) {
		t.Errorf("%s has rows of\n%q\nthere are the metrics\n%q", doc, want, got)
	}
}
