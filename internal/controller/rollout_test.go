package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
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
		o     RolloutOptions
		want  string
	}{
		"as many as the limit":                                 {"wwww", RolloutOptions{Max: "2"}, "release 0 1, 2 wait, 2 change"},
		"those in change count":                                {"cwww", RolloutOptions{Max: "2"}, "release 1, 2 wait, 2 change"},
		"none over the limit":                                  {"ccww", RolloutOptions{Max: "2"}, "release, 2 wait, 2 change"},
		"none over a limit that was lowered":                   {"cccw", RolloutOptions{Max: "2"}, "release, 1 wait, 3 change"},
		"a percentage of all":                                  {"wwwwwwwwww", RolloutOptions{Max: "25%"}, "release 0 1, 8 wait, 2 change"},
		"a percentage is one at least":                         {"ww", RolloutOptions{Max: "10%"}, "release 0, 1 wait, 1 change"},
		"what is done makes room":                              {"ddww", RolloutOptions{Max: "2"}, "release 2 3, 0 wait, 2 change"},
		"nobody is waited for who is not there":                {"mwww", RolloutOptions{Max: "1"}, "release 1, 2 wait, 1 change"},
		"nor is he when the patience is over":                  {"lwww", RolloutOptions{Max: "1"}, "release 1, 2 wait, 1 change, 1 failed, stuck 0"},
		"a change that silences the nodes is stopped":          {"lllw", RolloutOptions{Max: "5", StopAfter: 3}, "release, 1 wait, 0 change, 3 failed, stuck 0 1 2, stopped"},
		"as if those that fell silent a moment ago had failed": {"mmww", RolloutOptions{Max: "5", StopAfter: 3}, "release 2, 1 wait, 1 change"},
		"so that nobody follows the last that may fail":        {"mw", RolloutOptions{Max: "5", StopAfter: 1}, "release, 1 wait, 0 change"},
		"nobody is released who is not there":                  {"aw", RolloutOptions{Max: "5"}, "release 1, 1 wait, 1 change"},
		"what was settled before the brake needs no room":      {"ooww", RolloutOptions{Max: "1"}, "release 0 1 2, 1 wait, 1 change"},
		"failures up to the limit leave room for the rest":     {"fwww", RolloutOptions{Max: "5", StopAfter: 3}, "release 1 2, 1 wait, 2 change, 1 failed"},
		"those in change may fail too":                         {"fcww", RolloutOptions{Max: "5", StopAfter: 3}, "release 2, 1 wait, 2 change, 1 failed"},
		"after so many failures nothing more":                  {"fffw", RolloutOptions{Max: "5", StopAfter: 3}, "release, 1 wait, 0 change, 3 failed, stopped"},
		"a failure that was there before the brake counts too": {"xxxw", RolloutOptions{Max: "5", StopAfter: 3}, "release 0 1 2, 1 wait, 0 change, 3 failed, stopped"},
		"a mended node is no failure any more":                 {"wffw", RolloutOptions{Max: "5", StopAfter: 3}, "release 0, 1 wait, 1 change, 2 failed"},
		"nothing is stopped where nothing waits":               {"fffd", RolloutOptions{Max: "5", StopAfter: 3}, "release, 0 wait, 0 change, 3 failed"},
		"it never stops where it is told so":                   {"ffffw", RolloutOptions{Max: "1"}, "release 4, 0 wait, 1 change, 4 failed"},
		"who does not settle in time holds up nobody":          {"sww", RolloutOptions{Max: "1", StopAfter: 3}, "release 1, 1 wait, 1 change, 1 failed, stuck 0"},
		"also where a percentage is one":                       {"swwwwwwwww", RolloutOptions{Max: "10%", StopAfter: 3}, "release 1, 8 wait, 1 change, 1 failed, stuck 0"},
		"who does not settle in time counts as failed":         {"sfsw", RolloutOptions{Max: "5", StopAfter: 3}, "release, 1 wait, 0 change, 3 failed, stuck 0 2, stopped"},
		"also where one failure stops it":                      {"sw", RolloutOptions{Max: "5", StopAfter: 1}, "release, 1 wait, 0 change, 1 failed, stuck 0, stopped"},
		"patience may be shorter":                              {"cw", RolloutOptions{Max: "1", Patience: time.Nanosecond}, "release 1, 0 wait, 1 change, 1 failed, stuck 0"},
		"or longer":                                            {"sw", RolloutOptions{Max: "1", Patience: RolloutPatience + 1}, "release, 1 wait, 1 change"},
		"what the change is not to blame for stops no fleet":   {"bbbbw", RolloutOptions{Max: "1", StopAfter: 3}, "release 4, 0 wait, 1 change, 4 outside"},
		"no nodes": {"", RolloutOptions{Max: "10%"}, "release, 0 wait, 0 change"},
	} {
		t.Run(name, func(t *testing.T) {
			var nodes []RolloutNode
			for i, c := range tt.fleet {
				n := RolloutNode{Name: fmt.Sprint(i), Generation: 2, Released: 2, Reachable: c != away && c != lost && c != losing, Failed: c == failed || c == oldWrong}
				n.Outside = c == blocked
				n.Settled = c == done || c == old || n.Failed || n.Outside
				if n.Held = time.Minute; c == stuck || c == lost {
					n.Held = RolloutPatience
				}
				if c == waits || c == away || c == old || c == oldWrong {
					n.Released = 1
				}
				nodes = append(nodes, n)
			}
			out, err := Brake(nodes, tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, briefRollout(out)); diff != "" {
				t.Error(diff)
			}
			if (out.Again > 0) != (out.Changing > 0 || strings.ContainsRune(tt.fleet, losing)) {
				t.Errorf("%d are in change, and it looks again in %s", out.Changing, out.Again)
			}
			quietHours(t, noon, fewLooks, func(now time.Time) reconcile.Result {
				later := slices.Clone(nodes)
				for i := range later {
					later[i].Held += now.Sub(noon)
				}
				out, err := Brake(later, tt.o)
				if err != nil {
					t.Fatal(err)
				}
				if len(out.Release) > 0 {
					return again(0) // they are written, which wakes it
				}
				return again(out.Again)
			})
		})
	}
}

func briefRollout(out Rollout) string {
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
		if (RolloutOptions{Max: bad}).Check() == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestStatusTellsOfTheBrake(t *testing.T) {
	before := Status(Gathered{Object: object(1), Report: text(t, report(1, configured(1), configured(2))), Released: 1, Reachable: true, Now: noon})
	changed := object(2, func(o *v1.MultiNicNodeConfig) { o.Status = before })
	old := text(t, report(1, configured(1), configured(2)))
	held := Status(Gathered{Object: changed, Report: old, Released: 1, Reachable: true, Now: noon})
	if held.State != v1.StatePending || held.ReleasedGeneration != 1 || held.InterfaceStatuses[0].Reason != v1.ReasonWaitingForRelease ||
		meta.FindStatusCondition(held.Conditions, v1.ConditionReady).Reason != v1.ReasonInterfacesWaiting {
		t.Errorf("held back: %s", brief(held))
	}
	if n := rolloutNode(object(2, func(o *v1.MultiNicNodeConfig) { o.Status = held }), 0, true); n.Settled {
		t.Error("a node that waits for its release has settled")
	}
	free := Status(Gathered{Object: changed, Report: old, Released: 2, Reachable: true, Now: noon})
	if free.State != v1.StateInProgress || free.ReleasedGeneration != 2 {
		t.Errorf("released: %d %s", free.ReleasedGeneration, brief(free))
	}
	if n := rolloutNode(object(2, func(o *v1.MultiNicNodeConfig) { o.Status = free }), 0, true); n.Settled {
		t.Error("a node that was released and has not spoken has settled")
	}
	off := Status(Gathered{Object: object(1, func(o *v1.MultiNicNodeConfig) { o.Status = before }), Report: old, Now: noon})
	if off.ReleasedGeneration != 0 || !off.LastProcessed.Equal(before.LastProcessed) {
		t.Errorf("without a brake: released %d, processed %v", off.ReleasedGeneration, off.LastProcessed)
	}
	if n := rolloutNode(object(1, func(o *v1.MultiNicNodeConfig) { o.Status = before }), 0, true); !n.Settled || n.Failed {
		t.Errorf("a node that is done: %+v", n)
	}
	unheard := Status(Gathered{Object: object(1), Released: -1, Now: noon})
	if meta.FindStatusCondition(unheard.Conditions, v1.ConditionReady).Reason != v1.ReasonNoReport || unheard.ReleasedGeneration != -1 {
		t.Errorf("nobody is there: %s", brief(unheard))
	}
}

// What is in the report of a node that was released, and how the brake takes it.
func TestHowAGenerationHasEnded(t *testing.T) {
	failed := func(id int32, reason string) v1.InterfaceStatus { return nic(id, v1.StateFailed, reason, "") }
	fight := nic(1, v1.StateInProgress, v1.ReasonDriftFighting, "")
	for name, tt := range map[string]struct {
		report v1.Report
		change func(*Gathered, *v1.Report)
		want   string
	}{
		"all are configured":                              {report: report(1, configured(1), configured(2)), want: "settled"},
		"a NIC is at work":                                {report: report(1, configured(1), nic(2, v1.StateInProgress, v1.ReasonApplying, "")), want: "under way"},
		"a NIC is waited for":                             {report: report(1, configured(1), nic(2, v1.StatePending, v1.ReasonWaitingForNIC, "")), want: "settled"},
		"it says that it waits for what it has":           {report: report(1, configured(1), nic(2, v1.StatePending, v1.ReasonWaitingForRelease, "")), want: "under way"},
		"a drift fight holds no place":                    {report: report(1, fight, configured(2)), want: "settled, outside"},
		"a drift fight beside NICs at work does":          {report: report(1, fight, nic(2, v1.StateInProgress, v1.ReasonApplying, "")), want: "under way"},
		"a NIC failed":                                    {report: report(1, configured(1), failed(2, v1.ReasonProbeFailed)), want: "settled, failed"},
		"a NIC failed beside a drift fight":               {report: report(1, fight, failed(2, v1.ReasonProbeFailed)), want: "settled, failed"},
		"a neighbour has the address":                     {report: report(1, configured(1), failed(2, v1.ReasonAddressInUse)), want: "settled, outside"},
		"two links have the MAC":                          {report: report(1, configured(1), failed(2, v1.ReasonAmbiguousMAC)), want: "settled, outside"},
		"another link has the name":                       {report: report(1, configured(1), failed(2, v1.ReasonNameTaken)), want: "settled, outside"},
		"a neighbour has the address, another NIC failed": {report: report(1, failed(1, v1.ReasonVerificationFailed), failed(2, v1.ReasonAddressInUse)), want: "settled, failed"},
		"the object was refused": {report: report(1), want: "settled, failed", change: func(_ *Gathered, r *v1.Report) {
			r.Refused = &v1.Remark{Reason: v1.ReasonIdentityMismatch, Message: "this host is i-2"}
		}},
		"an object without NICs was refused": {report: report(1), want: "settled, failed", change: func(in *Gathered, r *v1.Report) {
			in.Object.Spec.Interfaces = nil
			r.Refused = &v1.Remark{Reason: v1.ReasonIdentityMismatch, Message: "this host is i-2"}
		}},
		"its report is of an older generation": {report: report(1, configured(1), configured(2)), want: "under way", change: func(in *Gathered, _ *v1.Report) {
			in.Object.Generation, in.Released = 2, 2
		}},
		"its report cannot be read": {report: report(1, configured(1), configured(2)), want: "under way", change: func(_ *Gathered, r *v1.Report) { r.Node = "another" }},
		"its Job failed": {report: report(1, configured(1), configured(2)), want: "settled, failed", change: func(in *Gathered, r *v1.Report) {
			r.UID, in.Job, in.JobTrouble = "before", "job", &v1.Remark{Reason: v1.ReasonJobFailed, Message: "Job job: it failed"}
		}},
		"its Job cannot start": {report: report(1, configured(1), configured(2)), want: "under way", change: func(in *Gathered, r *v1.Report) {
			r.UID, in.Job, in.JobTrouble = "before", "job", &v1.Remark{Reason: v1.ReasonJobStuck, Message: "Job job: no image"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			in := Gathered{Object: object(1), Released: 1, Reachable: true, Now: noon}
			if tt.change != nil {
				tt.change(&in, &tt.report)
			}
			in.Report = text(t, tt.report)
			s := Status(in)
			settled, failed, blameless := ending(in.Object.Generation, s)
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
				t.Errorf("it counts as %s, want %s:\n%s", got, tt.want, brief(s))
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
	old := text(t, report(1, configured(1), configured(2)))
	o := object(2)
	step := func(name string, in Gathered, want string) {
		t.Helper()
		in.Object, in.Reachable, in.SilentAfter = o, true, time.Minute
		o.Status = Status(in)
		got := "none"
		if o.Status.ReleasedAt != nil {
			got = o.Status.ReleasedAt.Sub(noon).String()
		}
		if got != want {
			t.Errorf("%s: released at %s, want %s", name, got, want)
		}
	}
	alive := func(at time.Duration) Pulse { return Pulse{Seen: clock(at), Moved: true, Renewed: true} }
	at := func(minutes int, rep string, released int64, p Pulse) Gathered {
		return Gathered{Now: clock(time.Duration(minutes) * time.Minute), Report: rep, Released: released, Pulse: p}
	}
	step("held back", at(0, old, 1, alive(0)), "none")
	step("released", at(1, old, 2, alive(time.Minute)), "1m0s")
	step("a moment later", at(2, old, 2, alive(2*time.Minute)), "1m0s")
	step("a bridge that has just started", at(3, old, 2, Pulse{Seen: clock(3 * time.Minute), Renewed: true}), "1m0s")
	step("it says that it waits", at(4, text(t, report(2, nic(1, v1.StatePending, v1.ReasonWaitingForRelease, ""))), 2, alive(4*time.Minute)), "1m0s")
	step("it is silent", at(8, old, 2, alive(4*time.Minute)), "1m0s")
	step("it is back", at(9, old, 2, alive(9*time.Minute)), "9m0s")
	step("and stays", at(10, old, 2, alive(10*time.Minute)), "9m0s")
	step("it has settled", at(11, text(t, report(2, configured(1), configured(2))), 2, alive(11*time.Minute)), "none")
	step("it repairs something", at(12, text(t, report(2, nic(1, v1.StateInProgress, v1.ReasonApplying, ""), configured(2))), 2, alive(12*time.Minute)), "none")
	if n := rolloutNode(o, 0, true); !n.Settled {
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
	if n := rolloutNode(o, 0, true); n.Settled {
		t.Error("what an older bridge has let through counts as settled: as many again are let through")
	}
	step("which has ended", at(20, old, 4, alive(20*time.Minute)), "20m0s")
	step("and not come back", at(21, old, 4, alive(21*time.Minute)), "20m0s")
	o.Status = older
	step("it had settled meanwhile", at(22, text(t, report(4, configured(1), configured(2))), 4, alive(22*time.Minute)), "none")
}
