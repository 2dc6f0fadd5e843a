package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/plan"
)

// Meters are what the daemon has counted since it started; the text of Metrics has them. A change
// is one of the object, and is counted when the first pass over it has ended.
type Meters struct {
	Passes  int64            `json:"passes"`  // looks at what is wanted and what is there; a quiet hour makes about a dozen
	Changes map[string]int64 `json:"changes"` // by a word of changeResults
	// Repairs are counted once for each thing that differed: "address done", a word of repaired and
	// one of repairResults.
	Repairs map[string]int64 `json:"repairs"`
	Change  Histogram        `json:"changeSeconds"` // from when the node was told until all NICs were verified
	Repair  Histogram        `json:"repairSeconds"` // from the kernel's event until it was verified
}

// The words are all that there are, so that a label has so many values and no more.
var (
	changeResults = []string{"configured", "failed", "unsettled", "waiting"}
	repairResults = []string{"done", "failed"}
	repaired      = []string{"address", "conf", "file", "mtu", "name", "other", "route", "rule", "up"} // fields of plan.Mismatch, and our files
)

// bounds of the histograms, in seconds.
var bounds = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}

// Histogram counts spans. The zero value is empty.
type Histogram struct {
	Counts []int64 `json:"counts,omitempty"` // one for each of the bounds, and one for what is longer; none is in two
	Sum    float64 `json:"sum"`              // seconds
}

func (h *Histogram) observe(d time.Duration) {
	if h.Counts == nil {
		h.Counts = make([]int64, len(bounds)+1)
	}
	i, _ := slices.BinarySearch(bounds, d.Seconds())
	h.Counts[i]++
	h.Sum += d.Seconds()
}

// text is the histogram in the exposition format.
func (h Histogram) text(name, help string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name)
	sum := int64(0)
	for i := range len(bounds) + 1 {
		le := "+Inf"
		if i < len(bounds) {
			le = fmt.Sprint(bounds[i])
		}
		if h.Counts != nil {
			sum += h.Counts[i]
		}
		fmt.Fprintf(&b, "%s_bucket{le=%q} %d\n", name, le, sum)
	}
	fmt.Fprintf(&b, "%s_sum %g\n%s_count %d\n", name, h.Sum, name, sum)
	return b.String()
}

// Clone shares nothing with m.
func (m Meters) Clone() Meters {
	m.Changes, m.Repairs = maps.Clone(m.Changes), maps.Clone(m.Repairs)
	m.Change.Counts, m.Repair.Counts = slices.Clone(m.Change.Counts), slices.Clone(m.Repair.Counts)
	return m
}

// Changed counts a change of the object by the state with which the first pass over the object
// ended.
func (m *Meters) Changed(state v1.State, took time.Duration) {
	result := "unsettled"
	switch state {
	case v1.StateConfigured:
		result = "configured"
	case v1.StatePending:
		result = "waiting"
	case v1.StateFailed:
		result = "failed"
	}
	if m.Changes == nil {
		m.Changes = map[string]int64{}
	}
	m.Changes[result]++
	if result == "configured" {
		m.Change.observe(took)
	}
}

// Repaired counts a repair that was made, or tried. A negative took is not known.
func (m *Meters) Repaired(res apply.Result, took time.Duration) {
	if m.Repairs == nil {
		m.Repairs = map[string]int64{}
	}
	result := "done"
	if res.Err != nil {
		result = "failed"
	} else if took >= 0 {
		m.Repair.observe(took)
	}
	about := fields(res.Action)
	if len(res.Files) > 0 {
		if res.Action.Change.Empty() {
			about = nil
		}
		about = append(about, "file")
	}
	for _, field := range about {
		m.Repairs[field+" "+result]++
	}
}

// fields names each thing once that a repair was about.
func fields(a plan.Action) []string {
	after := plan.Owned{}
	if a.After != nil {
		after = *a.After
	}
	var out []string
	for _, m := range plan.Verify(a.NIC, *a.Link, after) {
		field := m.Field
		if !slices.Contains(repaired, field) {
			field = "other"
		}
		if !slices.Contains(out, field) {
			out = append(out, field)
		}
	}
	if out == nil {
		out = []string{"other"}
	}
	return out
}
