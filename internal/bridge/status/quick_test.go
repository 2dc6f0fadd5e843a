package status

import (
	"context"
	"log/slog"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

// A daemon that reports within a second needs no status in between. Whoever else is behind is said to be at once, or after that second.
func TestAChangeThatIsReportedSoonIsNotInProgress(t *testing.T) {
	const before, now = "Configured 1", "InProgress 2"
	configured := []v1.InterfaceStatus{bridgetest.Configured(1), bridgetest.Configured(2)}
	by := func(change func(*v1.Report)) gather.Report {
		r := bridgetest.Report(1, configured...)
		change(&r)
		return bridgetest.Said(t, r)
	}
	for sentence, test := range map[string]struct {
		change func(*In)
		want   string
	}{
		"the bridge has just seen the change":             {nil, before},
		"a second has passed":                             {func(in *In) { in.Behind = bridgetest.Clock(-time.Second) }, now},
		"nobody knows since when":                         {func(in *In) { in.Behind = time.Time{} }, now},
		"a Job made the last change":                      {func(in *In) { in.Report = by(bridgetest.FromJob) }, now},
		"a Job is there":                                  {func(in *In) { in.Job = "job" }, now},
		"there is trouble with Jobs":                      {func(in *In) { in.JobTrouble = &v1.Remark{Reason: v1.ReasonJobStuck} }, now},
		"the node is silent":                              {func(in *In) { in.Pulse.Seen = bridgetest.Clock(-v1.SilentAfter) }, now},
		"the rollout holds it back":                       {func(in *In) { in.Released, in.Reachable = 1, true }, "Pending 2"},
		"the rollout has released it":                     {func(in *In) { in.Released, in.Reachable = 2, true }, now},
		"the rollout is braked no more":                   {func(in *In) { in.Object.Status.ReleasedGeneration = 1 }, now},
		"the node has gone back":                          {func(in *In) { in.Object.Status.ObservedGeneration = 2 }, now},
		"the report is of a generation that is not there": {func(in *In) { in.Report = by(func(r *v1.Report) { r.Generation = 3 }) }, before},
		"that was seen ahead of the object": {func(in *In) {
			in.Object = bridgetest.Object(1, func(o *v1.MultiNicNodeConfig) { o.Status = in.Object.Status })
			in.Report = by(func(r *v1.Report) { r.Generation = 2 })
		}, before},
		"no node has spoken about the object": {func(in *In) { in.Report = gather.Report{} }, now},
		"the object is another":               {func(in *In) { in.Report = by(func(r *v1.Report) { r.UID = "before" }) }, now},
		"it is reported":                      {func(in *In) { in.Report = bridgetest.Said(t, bridgetest.Report(2, configured...)) }, "Configured 2"},
	} {
		t.Run(sentence, func(t *testing.T) {
			first := bridgetest.Object(1)
			pulse := gather.Pulse{Seen: bridgetest.Clock(-time.Minute), Moved: true, Renewed: true}
			report := bridgetest.Said(t, bridgetest.Report(1, configured...))
			in := In{Object: bridgetest.Object(2), Report: report, Pulse: pulse, Now: bridgetest.Noon, Behind: bridgetest.Noon}
			in.Object.Status = Status(In{Object: first, Report: report, Pulse: pulse, Now: bridgetest.Clock(-time.Hour)})
			if test.change != nil {
				test.change(&in)
			}
			out := Judge(in)
			if got := string(out.Status.State) + " " + string(rune('0'+out.Status.ObservedGeneration)); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if soon := out.Again > 0 && out.Again <= quickChange; soon != (test.want == before) {
				t.Errorf("it looks again in %v", out.Again)
			}
		})
	}
}

// The loop writes once for a change that is reported within a second, and twice for another, however often the object changes meanwhile.
func TestAQuickChangeCostsOneWrite(t *testing.T) {
	o := bridgetest.StoredObject()
	report := bridgetest.StoredReport(t)
	writes := 0
	cl := bridgetest.NewBuilder(t).WithObjects(o, report).WithInterceptorFuncs(interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			writes++
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	}).Build()
	now := bridgetest.Noon
	w := bridgetest.World{Client: cl, Now: func() time.Time { return now }, Pulses: gather.NewPulses(), Log: slog.New(slog.DiscardHandler)}
	w.Pulses.Observe(bridgetest.Node, "renewed", now)
	l := newLoop(w)
	key := reconcile.Request{NamespacedName: bridgetest.ObjectKey}
	generation := int64(1)
	look := func() time.Duration {
		t.Helper()
		r, err := l.Reconcile(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return r.RequeueAfter
	}
	change := func() {
		t.Helper()
		if err := cl.Get(t.Context(), bridgetest.ObjectKey, o); err != nil {
			t.Fatal(err)
		}
		generation++
		o.Generation = generation // the fake client counts none
		o.Spec.SpecHash += "x"
		if err := cl.Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	say := func() {
		t.Helper()
		report.Data = map[string]string{v1.ReportKey: bridgetest.Text(t, bridgetest.Report(generation, bridgetest.Configured(1), bridgetest.Configured(2)))}
		if err := cl.Update(t.Context(), report); err != nil {
			t.Fatal(err)
		}
	}
	since := metav1.NewTime(now)
	look()
	writes = 0
	cost := func(what string, want int, state v1.State) {
		t.Helper()
		if writes != want {
			t.Errorf("%s: %d writes, want %d", what, writes, want)
		}
		writes = 0
		var have v1.MultiNicNodeConfig
		if err := cl.Get(t.Context(), bridgetest.ObjectKey, &have); err != nil {
			t.Fatal(err)
		}
		if have.Status.State != state {
			t.Errorf("%s: the state is %s, want %s", what, have.Status.State, state)
		}
	}
	for range 3 {
		change()
		if again := look(); again != quickChange {
			t.Errorf("a change: it looks again in %v, want %v", again, quickChange)
		}
		now = now.Add(quickChange - time.Millisecond)
		say()
		look()
		cost("a quick change", 1, v1.StateConfigured)
	}
	var have v1.MultiNicNodeConfig
	if err := cl.Get(t.Context(), bridgetest.ObjectKey, &have); err != nil {
		t.Fatal(err)
	}
	for _, c := range have.Status.Conditions {
		if !c.LastTransitionTime.Equal(&since) || c.ObservedGeneration != generation {
			t.Errorf("%s is of generation %d, since %v", c.Type, c.ObservedGeneration, c.LastTransitionTime)
		}
	}

	generation++
	say() // the cache has the report first
	generation--
	if again := look(); again != quickChange {
		t.Errorf("a report of a generation that is not there yet: it looks again in %v", again)
	}
	change()
	look()
	cost("a report that comes first", 1, v1.StateConfigured)

	change()
	look()
	now = now.Add(quickChange)
	look()
	cost("a slow change, before it is reported", 1, v1.StateInProgress)
	say()
	look()
	cost("a slow change, once it is", 1, v1.StateConfigured)

	for range 10 { // the node never gets so far
		change()
		look()
		now = now.Add(quickChange / 10)
	}
	look()
	cost("an object that changes all the time", 1, v1.StateInProgress)

	l.forget(bridgetest.Node)
	if len(l.behind) > 0 {
		t.Errorf("%d are kept", len(l.behind))
	}
}
