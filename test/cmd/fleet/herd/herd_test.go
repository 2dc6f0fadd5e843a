package herd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/controlplane"
)

var zero = time.Date(2026, 12, 2, 6, 0, 0, 0, time.UTC)

// at is so many seconds later.
func at(s float64) time.Time { return zero.Add(time.Duration(s * float64(time.Second))) }

// line is an entry of the audit log: of a node, received and answered.
func line(node, verb, stage, id string, received, answered float64, code int) controlplane.Request {
	r := controlplane.Request{Verb: verb, Stage: stage, AuditID: id, Received: at(received), StageTime: at(answered)}
	r.User.Username = nodeUser + node
	r.ObjectRef.Resource = objects
	r.ResponseStatus.Code = code
	return r
}

func TestWatchesAfterAnIncident(t *testing.T) {
	const began, ended = "ResponseStarted", "ResponseComplete"
	for name, row := range map[string]struct {
		log    []controlplane.Request
		killed float64 // 0: not
		want   reopened
	}{
		"nothing is in the log, and all are kept": {want: reopened{Kept: 2}},
		"a server that is killed ends all": {killed: 1, want: reopened{After: []float64{2, 5}}, log: []controlplane.Request{
			line("a", "watch", began, "1", 12, 12, 200), line("b", "watch", began, "2", 14.9, 15, 200)}},
		"one comes back, the other never": {killed: 1, want: reopened{After: []float64{2}, Never: 1}, log: []controlplane.Request{
			line("a", "watch", began, "1", 12, 12, 200)}},
		"what was written before the kill does not count": {killed: 1, want: reopened{Never: 2}, log: []controlplane.Request{
			line("a", "watch", began, "1", 0.5, 0.5, 200)}},
		"one that is back before the server counts as ready is kept": {killed: 1, want: reopened{Kept: 1, Never: 1}, log: []controlplane.Request{
			line("a", "watch", began, "1", 9, 9, 200)}},
		"one that ended meanwhile": {want: reopened{Kept: 1, After: []float64{1}}, log: []controlplane.Request{
			line("a", "watch", ended, "old", 0, 5, 200), line("a", "watch", began, "1", 11, 11, 200)}},
		"one that ended and was opened meanwhile": {want: reopened{Kept: 2}, log: []controlplane.Request{
			line("a", "watch", ended, "old", 0, 5, 200), line("a", "watch", began, "1", 6, 6, 200)}},
		"the end of an older one ends no newer one": {want: reopened{Kept: 2}, log: []controlplane.Request{
			line("a", "watch", began, "1", 6, 6, 200), line("a", "watch", ended, "0", 0, 7, 200)}},
		"it ended afterwards, as watches do": {want: reopened{Kept: 2}, log: []controlplane.Request{
			line("a", "watch", ended, "old", 0, 12, 200), line("a", "watch", began, "1", 13, 13, 200)}},
		"one that was refused first": {killed: 1, want: reopened{After: []float64{3}, Never: 1, Again: 1}, log: []controlplane.Request{
			line("a", "watch", ended, "1", 11, 11, 429), line("a", "watch", began, "2", 13, 13, 200)}},
		"a node that asks for its object anew": {killed: 1, want: reopened{After: []float64{3}, Never: 1, Anew: 1}, log: []controlplane.Request{
			line("a", "list", ended, "1", 11, 11, 200), line("a", "watch", began, "2", 13, 13, 200)}},
		"somebody else's watch": {killed: 1, want: reopened{Never: 2}, log: []controlplane.Request{line("c", "watch", began, "1", 11, 11, 200)}},
	} {
		t.Run(name, func(t *testing.T) {
			var killed time.Time
			if row.killed > 0 {
				killed = at(row.killed)
			}
			got := watches(row.log, []string{"a", "b"}, killed, at(10))
			if diff := cmp.Diff(row.want, got, cmpopts.SortSlices(func(a, b float64) bool { return a < b })); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestAnIncidentReadsTheLog(t *testing.T) {
	var log []controlplane.Request
	for i := range 100 { // nodes come back one after the other, ten a second, and each is refused once
		node, when := fmt.Sprintf("n%d", i), 10+float64(i)/10
		log = append(log, line(node, "watch", "ResponseComplete", node+"-refused", when, when, 429), line(node, "watch", "ResponseStarted", node, when+0.01, when+0.01, 200))
	}
	log = append(log, line("n1", "get", "ResponseComplete", "x", 15, 15, 503), line("n1", "get", "ResponseComplete", "y", 15, 15, 401))
	var nodes []string
	for i := range 100 {
		nodes = append(nodes, fmt.Sprintf("n%d", i))
	}
	var got Incident
	got.read(log, nodes, at(1), at(10), at(40))
	want := Incident{Cut: 100, First: 0.01, P50: 4.91, P99: 9.81, Last: 9.91, Peak: 10, Again: 100, PerTen: []int{202, 0, 0}, PeakSecond: 22, Throttled: 100, Refused: 1, Failed: 1}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-6)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRequestsAreCountedOnce(t *testing.T) {
	log := []controlplane.Request{line("a", "watch", "ResponseStarted", "1", 1, 1, 200), line("a", "watch", "ResponseComplete", "1", 1, 9, 200), line("a", "get", "ResponseComplete", "2", 2.5, 3, 200)}
	if got, want := perSecond(received(log), at(0), at(4.5)), []int{0, 1, 1, 0}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestStep(t *testing.T) {
	lease := func(second float64, code int, uri string) controlplane.Request {
		r := line("a", "patch", "ResponseComplete", "", second, second, code)
		r.ObjectRef.Resource, r.RequestURI = "leases", uri
		return r
	}
	for name, row := range map[string]struct {
		at   []controlplane.Request
		want Step
	}{
		"nothing":                     {nil, Step{}},
		"as many in each ten seconds": {[]controlplane.Request{lease(1, 200, ""), lease(11, 200, ""), lease(21, 200, ""), lease(31, 200, "")}, Step{1, 0, 1}},
		"all at once":                 {[]controlplane.Request{lease(1, 200, ""), lease(2, 200, ""), lease(3, 200, ""), lease(4, 200, "")}, Step{1, 1.7320508, 4}},
		"what failed, a dry run and later ones do not count": {[]controlplane.Request{lease(1, 200, ""), lease(2, 429, ""), lease(3, 200, "?dryRun=All"), lease(45, 200, "")}, Step{0.25, 1.7320508, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, stepOf(renewals(row.at), at(0), at(40)), cmpopts.EquateApprox(0, 1e-6)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	if got := (Step{Mean: 100}).chance(); got != 0.1 {
		t.Errorf("by chance: %v, want 0.1", got)
	}
}

func TestBackAtRest(t *testing.T) {
	var samples []used
	for i, cpu := range []float64{2, 2, 0.1, 0.1, 2, 0.1, 0.1, 0.1} {
		samples = append(samples, used{at(float64(i)), cpu})
	}
	for _, row := range []struct {
		limit, after, want float64
	}{{0.5, 0, 5}, {0.5, 1, 4}, {3, 0, 1}, {3, 2, 0}, {0.05, 0, -1}, {0.5, 7, -1}} {
		if got := settled(samples, 3, row.limit, at(row.after)); got != row.want {
			t.Errorf("%v from %v on: got %v, want %v", row.limit, row.after, got, row.want)
		}
	}
	if got := busiest(samples, 3); got != 4.1 {
		t.Errorf("the busiest three have %v, want 4.1", got)
	}
	if got := busiest(samples[:2], 3); got != 4 {
		t.Errorf("the busiest of two have %v, want 4", got)
	}
	if got := busiest(nil, 3); got != 0 {
		t.Errorf("none have %v, want 0", got)
	}
}

func TestTroubles(t *testing.T) {
	var all Troubles
	all.Add(1, "Unreachable")
	all.Add(1, "Unreachable")
	all.Add(2, "Server")
	got := all.Take()
	if diff := cmp.Diff(Trouble{Errors: 3, Nodes: 2, Most: 2, Classes: map[string]int{"Unreachable": 2, "Server": 1}}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got.words() != "Unreachable 2, Server 1" {
		t.Errorf("words are %q", got.words())
	}
	if again := all.Take(); again.Errors != 0 || again.words() != "" {
		t.Errorf("afterwards there are %+v", again)
	}
}

// Only a status of the change that is waited for, and of the present generation, counts.
func TestANoticeIsOfTheChange(t *testing.T) {
	n := &notices{waiting: map[string]notice{}}
	seen := make(chan time.Time, 1)
	n.waiting["a"] = notice{"new", seen}
	object := func(change func(*v1.MultiNicNodeConfig)) *v1.MultiNicNodeConfig {
		o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: "a", Generation: 2}}
		o.Spec.SpecHash, o.Status.ObservedSpecHash, o.Status.ObservedGeneration, o.Status.State = "new", "new", 2, v1.StateConfigured
		change(o)
		return o
	}
	for what, change := range map[string]func(*v1.MultiNicNodeConfig){
		"another node":         func(o *v1.MultiNicNodeConfig) { o.Name = "b" },
		"another change":       func(o *v1.MultiNicNodeConfig) { o.Spec.SpecHash, o.Status.ObservedSpecHash = "old", "old" },
		"the status before":    func(o *v1.MultiNicNodeConfig) { o.Status.ObservedSpecHash = "old" },
		"an older generation":  func(o *v1.MultiNicNodeConfig) { o.Status.ObservedGeneration = 1 },
		"a change in progress": func(o *v1.MultiNicNodeConfig) { o.Status.State = v1.StateInProgress },
	} {
		n.saw(object(change), at(1))
		if len(seen) > 0 {
			t.Fatalf("%s counts", what)
		}
	}
	n.saw(object(func(*v1.MultiNicNodeConfig) {}), at(2))
	n.saw(object(func(*v1.MultiNicNodeConfig) {}), at(3))
	if got := <-seen; !got.Equal(at(2)) {
		t.Errorf("it was seen at %v", got)
	}
}

func TestThePage(t *testing.T) {
	r := Results{Nodes: 2000, Cores: 2, Held: Step{166.7, 0.08, 1.2}, Requests: 464, Rest: 2.1,
		Incidents: []Incident{
			{What: "is killed and started at once", Lasts: 4, Cut: 2000, First: 0.1, P50: 3, P99: 8, Last: 9.5, Peak: 400, PerTen: []int{5000, 600}, PeakSecond: 900, Back: 12, Leases: Step{160, 0.1, 1.3},
				Troubles: Trouble{Errors: 5, Nodes: 4, Most: 2, Classes: map[string]int{"Unreachable": 5}}},
			{What: "runs for 20ms of each 200ms, for 1m0s", Kept: 2000, PerTen: []int{500}, Back: -1, Throttled: 7},
		},
		Starts: []Start{{"status", 2, 2.5, 4, 3, 160, 90}, {"credentials", 2, 2.5, 5, 3, 120, 90}}, Leader: Handover{16.2, 17},
		Mass: Mass{Things: 1999, Written: 9, First: 0.1, P50: 5, P99: 10, Last: 11, Bridge: 7, Requests: 8000, Writes: 3998, Before: probeOf([]time.Duration{time.Millisecond}), Probe: probeOf([]time.Duration{3e6, 1e6, 2e6})}}
	text := r.Text()
	for _, want := range []string{
		"| is killed and started at once | 4.0 | 0 | 2000 | 0.1 | 3.0 | 8.0 | 9.5 | 0 | 400 | 0 | 0 |",
		"| 900 | 0 | 0 | 0 | 4 | 5 (Unreachable 5) | 2 | 12.0 |",
		"| not while it was watched |",
		"| the API server | 0 | 10 |\n",
		"| runs for 20ms of each 200ms, for 1m0s | 500 |  |",
		"| before, while nothing happened | 166.7 | 0.08 | 0.08 | 1.20 |",
		"| after it was killed and started at once | 160.0 |",
		"| after it ran for 20ms",
		"| status | 2.0 | 2.5 | 4.0 | 2.00 | 3.00 | 1.50 | 160 | 80.00 | 90 |",
		"a status 16.2 s later, and a new Node has its identity 17.0 s later",
		"| of them statuses | 3998 | 2000.00 |",
		"| while all others change | 3 | 2 | 3 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	for _, f := range r.Figures() {
		if f.Value < 0 || f.Unit == "" {
			t.Errorf("figure %+v", f)
		}
	}
	if n := len(r.Figures()); n != 7 { // what was not back at rest has none
		t.Errorf("%d figures: %v", n, r.Figures())
	}
}
