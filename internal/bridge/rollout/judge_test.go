package rollout

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
	"multinicd/internal/bridge/status"
)

func TestBrake(t *testing.T) {
	const (
		waits    = 'w' // for the release of its generation
		away     = 'a' // the same, but nobody is there
		changes  = 'c' // was released
		lost     = 'l' // was released too long ago, and nobody is there any more
		losing   = 'm' // was released, and since a moment nobody is there any more
		done     = 'd'
		failed   = 'f'
		old      = 'o' // settled before there was a brake
		oldWrong = 'x' // failed before there was a brake
		stuck    = 's' // was released too long ago, and does not settle
		blocked  = 'b' // something outside of the change is in its way
	)
	for name, tt := range map[string]struct {
		fleet string
		o     Options
		want  string
	}{
		"as many as the limit":                                 {"wwww", Options{Max: "2"}, "release 0 1, 2 wait, 2 change"},
		"those in change count":                                {"cwww", Options{Max: "2"}, "release 1, 2 wait, 2 change"},
		"none over the limit":                                  {"ccww", Options{Max: "2"}, "release, 2 wait, 2 change"},
		"none over a limit that was lowered":                   {"cccw", Options{Max: "2"}, "release, 1 wait, 3 change"},
		"a percentage of all":                                  {"wwwwwwwwww", Options{Max: "25%"}, "release 0 1, 8 wait, 2 change"},
		"a percentage is one at least":                         {"ww", Options{Max: "10%"}, "release 0, 1 wait, 1 change"},
		"what is done makes room":                              {"ddww", Options{Max: "2"}, "release 2 3, 0 wait, 2 change"},
		"nobody is waited for who is not there":                {"mwww", Options{Max: "1"}, "release 1, 2 wait, 1 change"},
		"nor is he when the patience is over":                  {"lwww", Options{Max: "1"}, "release 1, 2 wait, 1 change, 1 failed, stuck 0"},
		"a change that silences the nodes is stopped":          {"lllw", Options{Max: "5", StopAfter: 3}, "release, 1 wait, 0 change, 3 failed, stuck 0 1 2, stopped"},
		"as if those that fell silent a moment ago had failed": {"mmww", Options{Max: "5", StopAfter: 3}, "release 2, 1 wait, 1 change"},
		"so that nobody follows the last that may fail":        {"mw", Options{Max: "5", StopAfter: 1}, "release, 1 wait, 0 change"},
		"nobody is released who is not there":                  {"aw", Options{Max: "5"}, "release 1, 1 wait, 1 change"},
		"what was settled before the brake needs no room":      {"ooww", Options{Max: "1"}, "release 0 1 2, 1 wait, 1 change"},
		"failures up to the limit leave room for the rest":     {"fwww", Options{Max: "5", StopAfter: 3}, "release 1 2, 1 wait, 2 change, 1 failed"},
		"those in change may fail too":                         {"fcww", Options{Max: "5", StopAfter: 3}, "release 2, 1 wait, 2 change, 1 failed"},
		"after so many failures nothing more":                  {"fffw", Options{Max: "5", StopAfter: 3}, "release, 1 wait, 0 change, 3 failed, stopped"},
		"a failure that was there before the brake counts too": {"xxxw", Options{Max: "5", StopAfter: 3}, "release 0 1 2, 1 wait, 0 change, 3 failed, stopped"},
		"a mended node is no failure any more":                 {"wffw", Options{Max: "5", StopAfter: 3}, "release 0, 1 wait, 1 change, 2 failed"},
		"nothing is stopped where nothing waits":               {"fffd", Options{Max: "5", StopAfter: 3}, "release, 0 wait, 0 change, 3 failed"},
		"it never stops where it is told so":                   {"ffffw", Options{Max: "1"}, "release 4, 0 wait, 1 change, 4 failed"},
		"who does not settle in time holds up nobody":          {"sww", Options{Max: "1", StopAfter: 3}, "release 1, 1 wait, 1 change, 1 failed, stuck 0"},
		"also where a percentage is one":                       {"swwwwwwwww", Options{Max: "10%", StopAfter: 3}, "release 1, 8 wait, 1 change, 1 failed, stuck 0"},
		"who does not settle in time counts as failed":         {"sfsw", Options{Max: "5", StopAfter: 3}, "release, 1 wait, 0 change, 3 failed, stuck 0 2, stopped"},
		"also where one failure stops it":                      {"sw", Options{Max: "5", StopAfter: 1}, "release, 1 wait, 0 change, 1 failed, stuck 0, stopped"},
		"patience may be shorter":                              {"cw", Options{Max: "1", Patience: time.Nanosecond}, "release 1, 0 wait, 1 change, 1 failed, stuck 0"},
		"or longer":                                            {"sw", Options{Max: "1", Patience: Patience + 1}, "release, 1 wait, 1 change"},
		"what the change is not to blame for stops no fleet":   {"bbbbw", Options{Max: "1", StopAfter: 3}, "release 4, 0 wait, 1 change, 4 outside"},
		"no nodes": {"", Options{Max: "10%"}, "release, 0 wait, 0 change"},
	} {
		t.Run(name, func(t *testing.T) {
			var nodes []Node
			for i, c := range tt.fleet {
				n := Node{Name: fmt.Sprint(i), Generation: 2, Released: 2, Reachable: c != away && c != lost && c != losing, Failed: c == failed || c == oldWrong}
				n.Outside = c == blocked
				n.Settled = c == done || c == old || n.Failed || n.Outside
				if n.Held = time.Minute; c == stuck || c == lost {
					n.Held = Patience
				}
				if c == waits || c == away || c == old || c == oldWrong {
					n.Released = 1
				}
				nodes = append(nodes, n)
			}
			out, err := Judge(nodes, tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, briefRollout(out)); diff != "" {
				t.Error(diff)
			}
			if (out.Again > 0) != (out.Changing > 0 || strings.ContainsRune(tt.fleet, losing)) {
				t.Errorf("%d are in change, and it looks again in %s", out.Changing, out.Again)
			}
			bridgetest.QuietHours(t, bridgetest.Noon, bridgetest.FewLooks, func(now time.Time) reconcile.Result {
				later := slices.Clone(nodes)
				for i := range later {
					later[i].Held += now.Sub(bridgetest.Noon)
				}
				out, err := Judge(later, tt.o)
				if err != nil {
					t.Fatal(err)
				}
				if len(out.Release) > 0 {
					return gather.Again(0) // they are written, which wakes it
				}
				return gather.Again(out.Again)
			})
		})
	}
}

func briefRollout(out Out) string {
	var b strings.Builder
	b.WriteString("release")
	for _, n := range out.Release {
		b.WriteString(" " + n.Name)
	}
	fmt.Fprintf(&b, ", %d wait, %d change", out.Waiting, out.Changing)
	if out.Failed > 0 {
		fmt.Fprintf(&b, ", %d failed", out.Failed)
	}
	if out.Outside > 0 {
		fmt.Fprintf(&b, ", %d outside", out.Outside)
	}
	for i, n := range out.Stuck {
		b.WriteString([]string{", stuck ", " "}[min(i, 1)] + n.Name)
	}
	if out.Stopped {
		b.WriteString(", stopped")
	}
	return b.String()
}

func TestALimitIsANumberOrAPercentage(t *testing.T) {
	for _, bad := range []string{"0", "-1", "x", "0%", "101%", "5 %", "%"} {
		if (Options{Max: bad}).Check() == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestStatusTellsOfTheBrake(t *testing.T) {
	before := judged(status.In{Object: bridgetest.Object(1), Report: bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))), Released: 1, Reachable: true, Now: bridgetest.Noon})
	changed := bridgetest.Object(2, func(o *v1.MultiNicNodeConfig) { o.Status = before })
	old := bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2)))
	held := judged(status.In{Object: changed, Report: old, Released: 1, Reachable: true, Now: bridgetest.Noon})
	if held.State != v1.StatePending || held.ReleasedGeneration != 1 || held.InterfaceStatuses[0].Reason != v1.ReasonWaitingForRelease ||
		meta.FindStatusCondition(held.Conditions, v1.ConditionReady).Reason != v1.ReasonInterfacesWaiting {
		t.Errorf("held back: %s", bridgetest.Brief(held))
	}
	if n := nodeOf(bridgetest.Object(2, func(o *v1.MultiNicNodeConfig) { o.Status = held }), 0, true); n.Settled {
		t.Error("a node that waits for its release has settled")
	}
	free := judged(status.In{Object: changed, Report: old, Released: 2, Reachable: true, Now: bridgetest.Noon})
	if free.State != v1.StateInProgress || free.ReleasedGeneration != 2 {
		t.Errorf("released: %d %s", free.ReleasedGeneration, bridgetest.Brief(free))
	}
	if n := nodeOf(bridgetest.Object(2, func(o *v1.MultiNicNodeConfig) { o.Status = free }), 0, true); n.Settled {
		t.Error("a node that was released and has not spoken has settled")
	}
	off := judged(status.In{Object: bridgetest.Object(1, func(o *v1.MultiNicNodeConfig) { o.Status = before }), Report: old, Now: bridgetest.Noon})
	if off.ReleasedGeneration != 0 || !off.LastProcessed.Equal(before.LastProcessed) {
		t.Errorf("without a brake: released %d, processed %v", off.ReleasedGeneration, off.LastProcessed)
	}
	if n := nodeOf(bridgetest.Object(1, func(o *v1.MultiNicNodeConfig) { o.Status = before }), 0, true); !n.Settled || n.Failed {
		t.Errorf("a node that is done: %+v", n)
	}
	unheard := judged(status.In{Object: bridgetest.Object(1), Released: -1, Now: bridgetest.Noon})
	if meta.FindStatusCondition(unheard.Conditions, v1.ConditionReady).Reason != v1.ReasonNoReport || unheard.ReleasedGeneration != -1 {
		t.Errorf("nobody is there: %s", bridgetest.Brief(unheard))
	}
}

// What is in the report of a node that was released, and how the brake takes it.
func TestHowAGenerationHasEnded(t *testing.T) {
	failed := func(id int32, reason string) v1.InterfaceStatus {
		return bridgetest.NIC(id, v1.StateFailed, reason, "")
	}
	fight := bridgetest.NIC(1, v1.StateInProgress, v1.ReasonDriftFighting, "")
	for name, tt := range map[string]struct {
		report v1.Report
		change func(*status.In, *v1.Report)
		want   string
	}{
		"all are configured":                              {report: bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2)), want: "settled"},
		"a NIC is at work":                                {report: bridgetest.Report(1, bridgetest.Configured(1), bridgetest.NIC(2, v1.StateInProgress, v1.ReasonApplying, "")), want: "under way"},
		"a NIC is waited for":                             {report: bridgetest.Report(1, bridgetest.Configured(1), bridgetest.NIC(2, v1.StatePending, v1.ReasonWaitingForNIC, "")), want: "settled"},
		"it says that it waits for what it has":           {report: bridgetest.Report(1, bridgetest.Configured(1), bridgetest.NIC(2, v1.StatePending, v1.ReasonWaitingForRelease, "")), want: "under way"},
		"a drift fight holds no place":                    {report: bridgetest.Report(1, fight, bridgetest.Configured(2)), want: "settled, outside"},
		"a drift fight beside NICs at work does":          {report: bridgetest.Report(1, fight, bridgetest.NIC(2, v1.StateInProgress, v1.ReasonApplying, "")), want: "under way"},
		"a NIC failed":                                    {report: bridgetest.Report(1, bridgetest.Configured(1), failed(2, v1.ReasonProbeFailed)), want: "settled, failed"},
		"a NIC failed beside a drift fight":               {report: bridgetest.Report(1, fight, failed(2, v1.ReasonProbeFailed)), want: "settled, failed"},
		"a neighbour has the address":                     {report: bridgetest.Report(1, bridgetest.Configured(1), failed(2, v1.ReasonAddressInUse)), want: "settled, outside"},
		"two links have the MAC":                          {report: bridgetest.Report(1, bridgetest.Configured(1), failed(2, v1.ReasonAmbiguousMAC)), want: "settled, outside"},
		"another link has the name":                       {report: bridgetest.Report(1, bridgetest.Configured(1), failed(2, v1.ReasonNameTaken)), want: "settled, outside"},
		"a neighbour has the address, another NIC failed": {report: bridgetest.Report(1, failed(1, v1.ReasonVerificationFailed), failed(2, v1.ReasonAddressInUse)), want: "settled, failed"},
		"the object was refused": {report: bridgetest.Report(1), want: "settled, failed", change: func(_ *status.In, r *v1.Report) {
			r.Refused = &v1.Remark{Reason: v1.ReasonIdentityMismatch, Message: "this host is i-2"}
		}},
		"an object without NICs was refused": {report: bridgetest.Report(1), want: "settled, failed", change: func(in *status.In, r *v1.Report) {
			in.Object.Spec.Interfaces = nil
			r.Refused = &v1.Remark{Reason: v1.ReasonIdentityMismatch, Message: "this host is i-2"}
		}},
		"its report is of an older generation": {report: bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2)), want: "under way", change: func(in *status.In, _ *v1.Report) {
			in.Object.Generation, in.Released = 2, 2
		}},
		"its report cannot be read": {report: bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2)), want: "under way", change: func(_ *status.In, r *v1.Report) { r.Node = "another" }},
		"its Job failed": {report: bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2)), want: "settled, failed", change: func(in *status.In, r *v1.Report) {
			r.UID, in.Job, in.JobTrouble = "before", "job", &v1.Remark{Reason: v1.ReasonJobFailed, Message: "Job job: it failed"}
		}},
		"its Job cannot start": {report: bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2)), want: "under way", change: func(in *status.In, r *v1.Report) {
			r.UID, in.Job, in.JobTrouble = "before", "job", &v1.Remark{Reason: v1.ReasonJobStuck, Message: "Job job: no image"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			in := status.In{Object: bridgetest.Object(1), Released: 1, Reachable: true, Now: bridgetest.Noon}
			if tt.change != nil {
				tt.change(&in, &tt.report)
			}
			in.Report = bridgetest.Said(t, tt.report)
			s := judged(in)
			settled, failed, blameless := gather.Ending(in.Object.Generation, s)
			got := "under way"
			if settled {
				got = "settled"
			}
			if failed {
				got += ", failed"
			}
			if blameless {
				got += ", outside"
			}
			if got != tt.want {
				t.Errorf("it counts as %s, want %s:\n%s", got, tt.want, bridgetest.Brief(s))
			}
			if (s.ReleasedAt == nil) != settled {
				t.Errorf("released at %v, and settled: %v", s.ReleasedAt, settled)
			}
		})
	}
}

// The patience is counted from a time in the object. Nothing but a release and a
// return from silence begins it anew.
func TestTheTimeOfTheReleaseStays(t *testing.T) {
	old := bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2)))
	o := bridgetest.Object(2)
	step := func(name string, in status.In, want string) {
		t.Helper()
		in.Object, in.Reachable, in.SilentAfter = o, true, time.Minute
		o.Status = judged(in)
		got := "none"
		if o.Status.ReleasedAt != nil {
			got = o.Status.ReleasedAt.Sub(bridgetest.Noon).String()
		}
		if got != want {
			t.Errorf("%s: released at %s, want %s", name, got, want)
		}
	}
	alive := func(at time.Duration) gather.Pulse {
		return gather.Pulse{Seen: bridgetest.Clock(at), Moved: true, Renewed: true}
	}
	at := func(minutes int, rep gather.Report, released int64, p gather.Pulse) status.In {
		return status.In{Now: bridgetest.Clock(time.Duration(minutes) * time.Minute), Report: rep, Released: released, Pulse: p}
	}
	step("held back", at(0, old, 1, alive(0)), "none")
	step("released", at(1, old, 2, alive(time.Minute)), "1m0s")
	step("a moment later", at(2, old, 2, alive(2*time.Minute)), "1m0s")
	step("a bridge that has just started", at(3, old, 2, gather.Pulse{Seen: bridgetest.Clock(3 * time.Minute), Renewed: true}), "1m0s")
	step("it says that it waits", at(4, bridgetest.Said(t, bridgetest.Report(2, bridgetest.NIC(1, v1.StatePending, v1.ReasonWaitingForRelease, ""))), 2, alive(4*time.Minute)), "1m0s")
	step("it is silent", at(8, old, 2, alive(4*time.Minute)), "1m0s")
	step("it is back", at(9, old, 2, alive(9*time.Minute)), "9m0s")
	step("and stays", at(10, old, 2, alive(10*time.Minute)), "9m0s")
	step("it has settled", at(11, bridgetest.Said(t, bridgetest.Report(2, bridgetest.Configured(1), bridgetest.Configured(2))), 2, alive(11*time.Minute)), "none")
	step("it repairs something", at(12, bridgetest.Said(t, bridgetest.Report(2, bridgetest.NIC(1, v1.StateInProgress, v1.ReasonApplying, ""), bridgetest.Configured(2))), 2, alive(12*time.Minute)), "none")
	if n := nodeOf(o, 0, true); !n.Settled {
		t.Error("a repair counts as the change again")
	}
	o.Generation = 3
	step("a newer generation is held back", at(13, old, 2, alive(13*time.Minute)), "none")
	step("and released", at(14, old, 3, alive(14*time.Minute)), "14m0s")
	step("the brake is taken off", at(15, old, 0, alive(15*time.Minute)), "none")
	o.Generation = 4
	step("released under an older bridge", at(16, old, 4, alive(16*time.Minute)), "16m0s")
	older := o.Status.AtLevel(0)
	o.Status = older
	if n := nodeOf(o, 0, true); n.Settled {
		t.Error("what an older bridge has let through counts as settled: as many again are let through")
	}
	step("which has ended", at(20, old, 4, alive(20*time.Minute)), "20m0s")
	step("and not come back", at(21, old, 4, alive(21*time.Minute)), "20m0s")
	o.Status = older
	step("it had settled meanwhile", at(22, bridgetest.Said(t, bridgetest.Report(4, bridgetest.Configured(1), bridgetest.Configured(2))), 4, alive(22*time.Minute)), "none")
}

// A Job that failed is swept away after an hour, and another is made: the rollout that was stopped by it must not take that for a node that has done better.
func TestANodeWhoseJobFailedCountsAsFailedUntilItReports(t *testing.T) {
	says := func(generation int64) gather.Report {
		r := bridgetest.Report(generation, bridgetest.Configured(1), bridgetest.Configured(2))
		r.Executor = v1.ExecutorJob
		return bridgetest.Said(t, r)
	}
	trouble := func(reason, message string) *v1.Remark { return &v1.Remark{Reason: reason, Message: message} }
	for sentence, before := range map[string]gather.Report{"that had reported before": says(1), "that never reported": {}} {
		t.Run(sentence, func(t *testing.T) {
			o := bridgetest.Object(2)
			if before.Said != nil {
				o.Status.LastProcessed = new(metav1.NewTime(bridgetest.Noon))
			}
			for i, step := range []struct {
				sentence string
				report   gather.Report
				job      string
				trouble  *v1.Remark
				want     string
			}{
				{"its Job runs", before, "job-1", nil, "under way"},
				{"it fails", before, "job-1", trouble(v1.ReasonJobFailed, "one"), "failed one"},
				{"it is swept away", before, "", nil, "failed one"},
				{"the next one runs", before, "job-2", nil, "failed one"},
				{"its Pod cannot start", before, "job-2", trouble(v1.ReasonJobStuck, "no image"), "failed one"},
				{"it fails, too", before, "job-2", trouble(v1.ReasonJobFailed, "two"), "failed two"},
				{"the third one runs", before, "job-3", nil, "failed two"},
				{"the object changes", before, "", nil, "under way"},
				{"its Job fails", before, "job-4", trouble(v1.ReasonJobFailed, "four"), "failed four"},
				{"it has reported", says(3), "job-4", nil, "done"},
			} {
				if step.sentence == "the object changes" {
					o.Generation++
				}
				o.Status = judged(status.In{Object: o, Report: step.report, Job: step.job, JobTrouble: step.trouble, Released: o.Generation, Reachable: true, Now: bridgetest.Clock(time.Duration(i) * time.Minute)})
				n, ready := nodeOf(o, 0, true), meta.FindStatusCondition(o.Status.Conditions, v1.ConditionReady)
				got := "under way"
				if n.Failed {
					got = "failed " + ready.Message
				} else if n.Settled {
					got = "done"
				}
				if got != step.want {
					t.Errorf("%s: %s, want %s\n%s", step.sentence, got, step.want, bridgetest.Brief(o.Status))
				}
			}
		})
	}
}

// judged is what the status loop says of a node.
func judged(in status.In) v1.MultiNicNodeConfigStatus { return status.Judge(in).Status }
