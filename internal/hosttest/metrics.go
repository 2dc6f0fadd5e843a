package hosttest

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// MetricsHaveRows compares the metrics that exposed, a text in Prometheus' exposition format, declares
// with those that begin with prefix in the tables of doc, the path of docs/metrics.md. Those that
// begin with one of others are somebody else's.
func MetricsHaveRows(t *testing.T, doc, prefix, exposed string, others ...string) {
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
	want = slices.DeleteFunc(want, func(name string) bool {
		return slices.ContainsFunc(others, func(other string) bool { return strings.HasPrefix(name, other) })
	})
	if !slices.Equal(got, want) {
		t.Errorf("%s has rows of\n%q\nthere are the metrics\n%q", doc, want, got)
	}
}
