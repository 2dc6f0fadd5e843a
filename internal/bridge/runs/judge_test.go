package runs

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

func TestJudgeRun(t *testing.T) {
	answers := func(run string, change ...func(*v1.Report)) gather.Report {
		r := bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))
		r.Run = run
		for _, c := range change {
			c(&r)
		}
		return bridgetest.Said(t, r)
	}
	failed := func(reason string) func(*v1.Report) {
		return func(r *v1.Report) { r.Interfaces[1] = bridgetest.NIC(2, v1.StateFailed, reason, "why") }
	}
	asked := func(in *In) { in.Object.Status.RequestedRun = "run" }
	for name, tt := range map[string]struct {
		change func(*In)
		want   string
	}{
		"a run that the node was not asked for yet is queued":    {func(in *In) { in.Report = answers("other") }, "Pending - Queued again in 1h0m0s"},
		"a run that the node was asked for runs":                 {asked, "Running - AwaitingNode again in 1h0m0s"},
		"an answer to another run is none":                       {func(in *In) { asked(in); in.Report = answers("other") }, "Running - AwaitingNode again in 1h0m0s"},
		"an answer while the node is at work is none":            {func(in *In) { in.Report = answers("run", func(r *v1.Report) { r.Phase = v1.PhaseApplying }) }, "Pending - Queued again in 1h0m0s"},
		"an answer about another object is one: the node did it": {func(in *In) { in.Report = answers("run", func(r *v1.Report) { r.UID = "old" }) }, "Succeeded 0 Completed again in 1h0m0s"},
		"an answer that speaks for another node is none":         {func(in *In) { in.Report = answers("run", func(r *v1.Report) { r.Node = "x" }) }, "Pending - Queued again in 1h0m0s"},
		"all as wanted is 0":                                     {func(in *In) { in.Report = answers("run") }, "Succeeded 0 Completed again in 1h0m0s"},
		"a NIC that waits is 5": {func(in *In) {
			in.Report = answers("run", func(r *v1.Report) { r.Interfaces[0] = bridgetest.NIC(1, v1.StatePending, v1.ReasonWaitingForNIC, "") })
		}, "Failed 5 WaitingForNIC again in 1h0m0s"},
		"a NIC that was refused is 6":        {func(in *In) { in.Report = answers("run", failed(v1.ReasonProtectedLink)) }, "Failed 6 ProtectedLink again in 1h0m0s"},
		"a change that was rolled back is 3": {func(in *In) { in.Report = answers("run", failed(v1.ReasonProbeFailed)) }, "Failed 3 ProbeFailed again in 1h0m0s"},
		"a rollback that failed is 4":        {func(in *In) { in.Report = answers("run", failed(v1.ReasonRollbackFailed)) }, "Failed 4 RollbackFailed again in 1h0m0s"},
		"a failure before any change is 1":   {func(in *In) { in.Report = answers("run", failed(v1.ReasonApplyFailed)) }, "Failed 1 ApplyFailed again in 1h0m0s"},
		"an object that was refused whole is 6": {func(in *In) {
			in.Report = answers("run", func(r *v1.Report) { r.Refused = &v1.Remark{Reason: v1.ReasonIdentityMismatch} })
		}, "Failed 6 IdentityMismatch again in 1h0m0s"},
		"a node without an object cannot be asked":      {func(in *In) { in.Object = nil }, "Failed 1 NoObject again in 1h0m0s"},
		"after an hour without an answer it has failed": {func(in *In) { asked(in); in.Now = bridgetest.Clock(time.Hour) }, "Failed 1 RunUnanswered again in 1h0m0s"},
		"what has ended stays as it is":                 {func(in *In) { end(in, time.Minute); in.Report = answers("run", failed(v1.ReasonApplyFailed)) }, "Succeeded 0 Completed again in 59m0s"},
		"an hour after its end it is deleted":           {func(in *In) { end(in, time.Hour) }, "deleted"},
		"a cleanup that gave all back is 0":             {cleaned(answers("run", func(r *v1.Report) { r.Phase, r.Interfaces = v1.PhaseRemoved, nil })), "Succeeded 0 Completed again in 1h0m0s"},
		"a node that gave all back by hand does nothing for a trigger: 6": {func(in *In) {
			in.Report = answers("run", func(r *v1.Report) {
				r.Phase, r.Interfaces, r.Degraded = v1.PhaseRemoved, nil, &v1.Remark{Reason: v1.ReasonRemoved, Message: "restart it"}
			})
		}, "Failed 6 Removed again in 1h0m0s"},
		"and so it is where it does not say that it was by hand": {func(in *In) {
			in.Report = answers("run", func(r *v1.Report) { r.Phase, r.Interfaces = v1.PhaseRemoved, nil })
		}, "Failed 6 Removed again in 1h0m0s"},
		"a cleanup that finds all given back by hand is 0": {cleaned(answers("run", func(r *v1.Report) {
			r.Phase, r.Interfaces, r.Degraded = v1.PhaseRemoved, nil, &v1.Remark{Reason: v1.ReasonRemoved}
		})), "Succeeded 0 Completed again in 1h0m0s"},
		"a cleanup that could not give all back says how and why": {cleaned(answers("run", func(r *v1.Report) {
			r.Interfaces, r.Degraded = nil, &v1.Remark{Reason: v1.ReasonRolledBack}
		})), "Failed 3 RolledBack again in 1h0m0s"},
		"a cleanup that leaves a NIC, nobody knows why, is 1": {cleaned(answers("run", func(r *v1.Report) { r.Interfaces = nil })), "Failed 1 ApplyFailed again in 1h0m0s"},
		"a NIC that the object names no more and that could not be given back counts, though it has no row": {func(in *In) {
			in.Report = answers("run", func(r *v1.Report) {
				r.Degraded = &v1.Remark{Reason: v1.ReasonApplyFailed, Message: "multinic7: why", Outcome: v1.OutcomeRolledBack}
			})
		}, "Failed 3 ApplyFailed again in 1h0m0s"},
		"a note is no failure": {func(in *In) {
			in.Report = answers("run", func(r *v1.Report) { r.Degraded = &v1.Remark{Reason: v1.ReasonIdentityUnverified} })
		}, "Succeeded 0 Completed again in 1h0m0s"},
		"what the node says of the outcome counts for more than the reason": {func(in *In) {
			in.Report = answers("run", failed(v1.ReasonApplyFailed), func(r *v1.Report) { r.Interfaces[1].Outcome = v1.OutcomeRolledBack })
		}, "Failed 3 ApplyFailed again in 1h0m0s"},
		"an outcome that is not known yet counts for nothing": {func(in *In) {
			in.Report = answers("run", failed(v1.ReasonProbeFailed), func(r *v1.Report) { r.Interfaces[1].Outcome = "Postponed" })
		}, "Failed 3 ProbeFailed again in 1h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			in := In{Run: bridgetest.Run("run", v1.ActionTrigger, bridgetest.Noon), Object: bridgetest.Object(1), Now: bridgetest.Noon}
			tt.change(&in)
			out := Judge(in)
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
			if once := Judge(in); !out.Delete && !cmp.Equal(once.Status, out.Status) {
				t.Errorf("its own output changes it: %s", cmp.Diff(out.Status, once.Status))
			}
			bridgetest.QuietHours(t, bridgetest.Noon, bridgetest.FewLooks, func(now time.Time) reconcile.Result {
				in := in
				in.Run, in.Now = in.Run.DeepCopy(), now
				return gather.Again(Judge(in).Again)
			})
		})
	}
}

// A pipeline makes an object and asks for a run of it in the next moment, before the cache has it.
func TestARunOfAnObjectThatTheCacheDoesNotHaveYet(t *testing.T) {
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	o := bridgetest.Object(1, func(o *v1.MultiNicNodeConfig) { o.Namespace = v1.SystemNamespace })
	for sentence, tt := range map[string]struct {
		stored []client.Object
		want   string
	}{
		"waits for the node":        {[]client.Object{o}, v1.ReasonQueued},
		"fails where there is none": {nil, v1.ReasonNoObject},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := bridgetest.Run("run", v1.ActionTrigger, bridgetest.Noon)
			r.Namespace = v1.SystemNamespace
			cached := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(r).WithObjects(r).Build()
			stored := fake.NewClientBuilder().WithScheme(scheme).WithObjects(tt.stored...).Build()
			l := &Loop{Client: cached, Reader: stored, Events: events.NewFakeRecorder(10), Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return bridgetest.Noon }, Ended: prometheus.NewCounterVec(prometheus.CounterOpts{}, []string{"action", "exit_code"})}
			if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(r)}); err != nil {
				t.Fatal(err)
			}
			if err := cached.Get(t.Context(), client.ObjectKeyFromObject(r), r); err != nil || r.Status.Reason != tt.want {
				t.Errorf("it is %s, %v; want %s", r.Status.Reason, err, tt.want)
			}
		})
	}
}

func end(in *In, ago time.Duration) {
	in.Run.Status = v1.MultiNicNodeRunStatus{State: v1.RunSucceeded, ExitCode: new(int32(0)), Reason: v1.ReasonCompleted, FinishedAt: new(metav1.NewTime(bridgetest.Clock(-ago)))}
}

func cleaned(report gather.Report) func(*In) {
	return func(in *In) { in.Run.Spec.Action, in.Report = v1.ActionCleanup, report }
}
