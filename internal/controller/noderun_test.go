package controller

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
)

func run(uid string, action v1.RunAction, made time.Time) *v1.MultiNicNodeRun {
	return &v1.MultiNicNodeRun{
		ObjectMeta: metav1.ObjectMeta{Name: "r-" + uid, UID: types.UID(uid), CreationTimestamp: metav1.NewTime(made)},
		Spec:       v1.MultiNicNodeRunSpec{Node: node, Action: action},
	}
}

func TestJudgeRun(t *testing.T) {
	answers := func(run string, change ...func(*v1.Report)) string {
		r := report(1, configured(1), configured(2))
		r.Run = run
		for _, c := range change {
			c(&r)
		}
		return text(t, r)
	}
	failed := func(reason string) func(*v1.Report) {
		return func(r *v1.Report) { r.Interfaces[1] = nic(2, v1.StateFailed, reason, "why") }
	}
	asked := func(in *RunIn) { in.Object.Status.RequestedRun = "run" }
	for name, tt := range map[string]struct {
		change func(*RunIn)
		want   string
	}{
		"a run that the node was not asked for yet is queued":    {func(in *RunIn) { in.Report = answers("other") }, "Pending - Queued again in 1h0m0s"},
		"a run that the node was asked for runs":                 {asked, "Running - AwaitingNode again in 1h0m0s"},
		"an answer to another run is none":                       {func(in *RunIn) { asked(in); in.Report = answers("other") }, "Running - AwaitingNode again in 1h0m0s"},
		"an answer while the node is at work is none":            {func(in *RunIn) { in.Report = answers("run", func(r *v1.Report) { r.Phase = v1.PhaseApplying }) }, "Pending - Queued again in 1h0m0s"},
		"an answer about another object is one: the node did it": {func(in *RunIn) { in.Report = answers("run", func(r *v1.Report) { r.UID = "old" }) }, "Succeeded 0 Completed again in 1h0m0s"},
		"an answer that speaks for another node is none":         {func(in *RunIn) { in.Report = answers("run", func(r *v1.Report) { r.Node = "x" }) }, "Pending - Queued again in 1h0m0s"},
		"all as wanted is 0":                                     {func(in *RunIn) { in.Report = answers("run") }, "Succeeded 0 Completed again in 1h0m0s"},
		"a NIC that waits is 5": {func(in *RunIn) {
			in.Report = answers("run", func(r *v1.Report) { r.Interfaces[0] = nic(1, v1.StatePending, v1.ReasonWaitingForNIC, "") })
		}, "Failed 5 WaitingForNIC again in 1h0m0s"},
		"a NIC that was refused is 6":        {func(in *RunIn) { in.Report = answers("run", failed(v1.ReasonProtectedLink)) }, "Failed 6 ProtectedLink again in 1h0m0s"},
		"a change that was rolled back is 3": {func(in *RunIn) { in.Report = answers("run", failed(v1.ReasonProbeFailed)) }, "Failed 3 ProbeFailed again in 1h0m0s"},
		"a rollback that failed is 4":        {func(in *RunIn) { in.Report = answers("run", failed(v1.ReasonRollbackFailed)) }, "Failed 4 RollbackFailed again in 1h0m0s"},
		"a failure before any change is 1":   {func(in *RunIn) { in.Report = answers("run", failed(v1.ReasonApplyFailed)) }, "Failed 1 ApplyFailed again in 1h0m0s"},
		"an object that was refused whole is 6": {func(in *RunIn) {
			in.Report = answers("run", func(r *v1.Report) { r.Refused = &v1.Remark{Reason: v1.ReasonIdentityMismatch} })
		}, "Failed 6 IdentityMismatch again in 1h0m0s"},
		"a node without an object cannot be asked":      {func(in *RunIn) { in.Object = nil }, "Failed 1 NoObject again in 1h0m0s"},
		"after an hour without an answer it has failed": {func(in *RunIn) { asked(in); in.Now = clock(time.Hour) }, "Failed 1 RunUnanswered again in 1h0m0s"},
		"what has ended stays as it is":                 {func(in *RunIn) { end(in, time.Minute); in.Report = answers("run", failed(v1.ReasonApplyFailed)) }, "Succeeded 0 Completed again in 59m0s"},
		"an hour after its end it is deleted":           {func(in *RunIn) { end(in, time.Hour) }, "deleted"},
		"a cleanup that gave all back is 0":             {cleaned(answers("run", func(r *v1.Report) { r.Phase, r.Interfaces = v1.PhaseRemoved, nil })), "Succeeded 0 Completed again in 1h0m0s"},
		"a node that gave all back by hand does nothing for a trigger: 6": {func(in *RunIn) {
			in.Report = answers("run", func(r *v1.Report) {
				r.Phase, r.Interfaces, r.Degraded = v1.PhaseRemoved, nil, &v1.Remark{Reason: v1.ReasonRemoved, Message: "restart it"}
			})
		}, "Failed 6 Removed again in 1h0m0s"},
		"and so it is where it does not say that it was by hand": {func(in *RunIn) {
			in.Report = answers("run", func(r *v1.Report) { r.Phase, r.Interfaces = v1.PhaseRemoved, nil })
		}, "Failed 6 Removed again in 1h0m0s"},
		"a cleanup that finds all given back by hand is 0": {cleaned(answers("run", func(r *v1.Report) {
			r.Phase, r.Interfaces, r.Degraded = v1.PhaseRemoved, nil, &v1.Remark{Reason: v1.ReasonRemoved}
		})), "Succeeded 0 Completed again in 1h0m0s"},
		"a cleanup that could not give all back says how and why": {cleaned(answers("run", func(r *v1.Report) {
			r.Interfaces, r.Degraded = nil, &v1.Remark{Reason: v1.ReasonRolledBack}
		})), "Failed 3 RolledBack again in 1h0m0s"},
		"a cleanup that leaves a NIC, nobody knows why, is 1": {cleaned(answers("run", func(r *v1.Report) { r.Interfaces = nil })), "Failed 1 ApplyFailed again in 1h0m0s"},
		"a NIC that the object names no more and that could not be given back counts, though it has no row": {func(in *RunIn) {
			in.Report = answers("run", func(r *v1.Report) {
				r.Degraded = &v1.Remark{Reason: v1.ReasonApplyFailed, Message: "multinic7: why", Outcome: v1.OutcomeRolledBack}
			})
		}, "Failed 3 ApplyFailed again in 1h0m0s"},
		"a note is no failure": {func(in *RunIn) {
			in.Report = answers("run", func(r *v1.Report) { r.Degraded = &v1.Remark{Reason: v1.ReasonIdentityUnverified} })
		}, "Succeeded 0 Completed again in 1h0m0s"},
		"what the node says of the outcome counts for more than the reason": {func(in *RunIn) {
			in.Report = answers("run", failed(v1.ReasonApplyFailed), func(r *v1.Report) { r.Interfaces[1].Outcome = v1.OutcomeRolledBack })
		}, "Failed 3 ApplyFailed again in 1h0m0s"},
		"an outcome that is not known yet counts for nothing": {func(in *RunIn) {
			in.Report = answers("run", failed(v1.ReasonProbeFailed), func(r *v1.Report) { r.Interfaces[1].Outcome = "Postponed" })
		}, "Failed 3 ProbeFailed again in 1h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			in := RunIn{Run: run("run", v1.ActionTrigger, noon), Object: object(1), Now: noon}
			tt.change(&in)
			out := JudgeRun(in)
			got := "deleted"
			if !out.Delete {
				code := "-"
				if out.Status.ExitCode != nil {
					code = fmt.Sprint(*out.Status.ExitCode)
				}
				got = fmt.Sprintf("%s %s %s again in %s", out.Status.State, code, out.Status.Reason, out.Again)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			in.Run.Status = out.Status
			if once := JudgeRun(in); !out.Delete && !cmp.Equal(once.Status, out.Status) {
				t.Errorf("its own output changes it: %s", cmp.Diff(out.Status, once.Status))
			}
			quietHours(t, noon, fewLooks, func(now time.Time) reconcile.Result {
				in := in
				in.Run, in.Now = in.Run.DeepCopy(), now
				return again(JudgeRun(in).Again)
			})
		})
	}
}

// A pipeline makes an object and asks for a run of it in the next moment, before the cache has it.
func TestARunOfAnObjectThatTheCacheDoesNotHaveYet(t *testing.T) {
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	o := object(1, func(o *v1.MultiNicNodeConfig) { o.Namespace = v1.SystemNamespace })
	for sentence, tt := range map[string]struct {
		stored []client.Object
		want   string
	}{
		"waits for the node":        {[]client.Object{o}, v1.ReasonQueued},
		"fails where there is none": {nil, v1.ReasonNoObject},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := run("run", v1.ActionTrigger, noon)
			r.Namespace = v1.SystemNamespace
			cached := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(r).WithObjects(r).Build()
			stored := fake.NewClientBuilder().WithScheme(scheme).WithObjects(tt.stored...).Build()
			l := &runLoop{client: cached, reader: stored, events: events.NewFakeRecorder(10), log: slog.New(slog.DiscardHandler), now: func() time.Time { return noon }, ended: prometheus.NewCounterVec(prometheus.CounterOpts{}, []string{"action", "exit_code"})}
			if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(r)}); err != nil {
				t.Fatal(err)
			}
			if err := cached.Get(t.Context(), client.ObjectKeyFromObject(r), r); err != nil || r.Status.Reason != tt.want {
				t.Errorf("it is %s, %v; want %s", r.Status.Reason, err, tt.want)
			}
		})
	}
}

func end(in *RunIn, ago time.Duration) {
	in.Run.Status = v1.MultiNicNodeRunStatus{State: v1.RunSucceeded, ExitCode: new(int32(0)), Reason: v1.ReasonCompleted, FinishedAt: new(metav1.NewTime(clock(-ago)))}
}

func cleaned(report string) func(*RunIn) {
	return func(in *RunIn) { in.Run.Spec.Action, in.Report = v1.ActionCleanup, report }
}

func TestTheNodeIsAskedForOneRunAtATime(t *testing.T) {
	old, young, done := run("b", v1.ActionTrigger, noon), run("a", v1.ActionCleanup, clock(time.Second)), run("c", v1.ActionTrigger, clock(-time.Hour))
	done.Status.State = v1.RunFailed
	runs := []v1.MultiNicNodeRun{*young, *done, *old}
	answered := report(1, configured(1), configured(2))
	answered.Run = "b"
	for name, tt := range map[string]struct {
		runs   []v1.MultiNicNodeRun
		report string
		want   string
	}{
		"the oldest that has not ended":                        {runs, "", "b trigger"},
		"the next, once the report answers the oldest":         {runs, text(t, answered), "a cleanup"},
		"none where all have ended":                            {[]v1.MultiNicNodeRun{*done}, "", " "},
		"none where there are none, whatever was asked before": {nil, text(t, answered), " "},
	} {
		t.Run(name, func(t *testing.T) {
			o := object(1)
			o.Status.RequestedRun = "before"
			s := Status(Gathered{Object: o, Runs: tt.runs, Report: tt.report, Now: noon})
			if got := s.RequestedRun + " " + string(s.RequestedAction); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
