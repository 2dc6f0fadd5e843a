package herd

import (
	"math"
	"strings"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/controlplane"
)

// nodeUser begins the name of a node's user.
var nodeUser = "system:serviceaccount:" + v1.NodesNamespace + ":" + v1.ServiceAccountName("")

const objects = "multinicnodeconfigs"

// nodeOf is the node that makes a request; "" for others.
func nodeOf(r controlplane.Request) string {
	node, ok := strings.CutPrefix(r.User.Username, nodeUser)
	if !ok {
		return ""
	}
	return node
}

// isWatch says whether it is that of a node's object.
func isWatch(r controlplane.Request) bool {
	return r.Verb == "watch" && r.ObjectRef.Resource == objects && nodeOf(r) != ""
}

// reopened are the watches of nodes after an incident.
type reopened struct {
	After []float64 // of those that were cut, seconds from when the server answered again
	Kept  int       // were open then
	Never int
	Anew  int // nodes that asked for the object anew, in place of going on from where they were
	Again int // nodes that had to ask for a watch more than once until they had it
}

// watches follows the watches of nodes through the log. All of them are open at its beginning. killed, where it is not zero, ends them all.
func watches(log []controlplane.Request, nodes []string, killed, again time.Time) (out reopened) {
	type watch struct {
		open  bool
		id    string
		tries int
		anew  bool
		back  time.Time
	}
	state := map[string]*watch{}
	for _, n := range nodes {
		state[n] = &watch{open: killed.IsZero()}
	}
	var kept bool // counted
	count := func() {
		for _, w := range state {
			if w.open {
				out.Kept++
				w.back = again
			}
		}
		kept = true
	}
	for _, r := range log {
		if !killed.IsZero() && r.StageTime.Before(killed) {
			continue
		}
		if !kept && r.StageTime.After(again) {
			count()
		}
		w := state[nodeOf(r)]
		if w == nil {
			continue
		}
		waits := w.back.IsZero() && !r.Received.Before(again)
		switch {
		case !isWatch(r):
			w.anew = w.anew || waits && r.Verb == "list" && r.ObjectRef.Resource == objects
		case r.Stage == "ResponseStarted":
			w.open, w.id = true, r.AuditID
			if kept && w.back.IsZero() {
				w.back = r.StageTime
				w.tries++
			}
		case r.ResponseStatus.Code >= 400: // it never was open
			if waits {
				w.tries++
			}
		case w.id == "" || w.id == r.AuditID:
			w.open = false
		}
	}
	if !kept {
		count()
	}
	for _, w := range state {
		switch {
		case w.back.IsZero():
			out.Never++
		case !w.back.Equal(again):
			out.After = append(out.After, w.back.Sub(again).Seconds())
		}
		if w.anew {
			out.Anew++
		}
		if w.tries > 1 {
			out.Again++
		}
	}
	return out
}

// received are the times at which the requests came, of nodes and of all others.
func received(log []controlplane.Request) (at []time.Time) {
	once(log, func(r controlplane.Request) { at = append(at, r.Received) })
	return at
}

// once gives each request once: a watch is in the log as it begins and as it ends.
func once(log []controlplane.Request, see func(controlplane.Request)) {
	began := map[string]bool{}
	for _, r := range log {
		if r.Verb == "watch" {
			if began[r.AuditID] {
				continue
			}
			began[r.AuditID] = true
		}
		see(r)
	}
}

// renewals are the times at which a node's Lease was renewed.
func renewals(log []controlplane.Request) (at []time.Time) {
	for _, r := range log {
		if r.ObjectRef.Resource == "leases" && r.Verb == "patch" && r.ResponseStatus.Code == 200 && nodeOf(r) != "" && !strings.Contains(r.RequestURI, "dryRun") {
			at = append(at, r.StageTime)
		}
	}
	return at
}

// perSecond counts moments in each second between two others. A last part of a second is left out.
func perSecond(at []time.Time, from, to time.Time) []int {
	out := make([]int, max(0, int(to.Sub(from).Seconds())))
	for _, t := range at {
		if i := int(math.Floor(t.Sub(from).Seconds())); i >= 0 && i < len(out) {
			out[i]++
		}
	}
	return out
}

// perTen adds up ten seconds each. A last part of ten is left out.
func perTen(seconds []int) []int {
	out := make([]int, len(seconds)/ten)
	for i := range out {
		out[i] = sum(seconds[i*ten : (i+1)*ten])
	}
	return out
}

func sum[N int | float64](values []N) (all N) {
	for _, v := range values {
		all += v
	}
	return all
}

// Step says how far Leases are renewed in step: their renewals in each ten seconds.
type Step struct {
	Mean      float64 `json:"meanPer10s"`
	Variation float64 `json:"variation"` // standard deviation by mean; of renewals without any step it is 1 by the root of the mean
	Peak      float64 `json:"peakToMean"`
}

func stepOf(at []time.Time, from, to time.Time) Step {
	counts := perTen(perSecond(at, from, to))
	if len(counts) == 0 || sum(counts) == 0 {
		return Step{}
	}
	mean := float64(sum(counts)) / float64(len(counts))
	squares, most := 0.0, 0
	for _, c := range counts {
		squares += (float64(c) - mean) * (float64(c) - mean)
		most = max(most, c)
	}
	return Step{Mean: mean, Variation: math.Sqrt(squares/float64(len(counts))) / mean, Peak: float64(most) / mean}
}

// chance is the variation that renewals have which do not know of each other.
func (s Step) chance() float64 {
	if s.Mean == 0 {
		return 0
	}
	return 1 / math.Sqrt(s.Mean)
}

// busiest is the most that so many samples in a row have; all of them, where there are fewer.
func busiest(samples []used, n int) (most float64) {
	for i := range max(1, len(samples)-n+1) {
		all := 0.0
		for _, s := range samples[i:min(i+n, len(samples))] {
			all += s.cpu
		}
		most = max(most, all)
	}
	return most
}

// settled is how many seconds after a moment the first so many samples in a row begin that have at most limit together; -1 where there are none.
func settled(samples []used, n int, limit float64, after time.Time) float64 {
	for i := range samples {
		if samples[i].from.Before(after) || i+n > len(samples) {
			continue
		}
		all := 0.0
		for _, s := range samples[i : i+n] {
			all += s.cpu
		}
		if all <= limit {
			return samples[i].from.Sub(after).Seconds()
		}
	}
	return -1
}
