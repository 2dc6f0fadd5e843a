package jobs

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

// job as the bridge makes it, running, and how a case changes it.
func job(key gather.JobKey, change ...func(*batchv1.Job)) batchv1.Job {
	j := *newJob(bridgetest.Node, key, Options{Image: "image"}, bridgetest.Noon)
	j.UID = types.UID(fmt.Sprintf("job-%d-%s", key.Generation, key.Run))
	for _, c := range change {
		c(&j)
	}
	return j
}

func leaving(j *batchv1.Job) { j.DeletionTimestamp = new(metav1.NewTime(bridgetest.Noon)) }

func TestJudgeJobs(t *testing.T) {
	byJobs := func(generation int64, phase v1.Phase, run string) gather.Report {
		r := bridgetest.Report(generation, bridgetest.Configured(1), bridgetest.Configured(2))
		r.Executor, r.Phase, r.Run = v1.ExecutorJob, phase, run
		return bridgetest.Said(t, r)
	}
	key := func(generation int64, run string) gather.JobKey {
		return gather.JobKey{UID: bridgetest.UID, Generation: generation, Run: run}
	}
	asks := func(o *v1.MultiNicNodeConfig) { o.Status.RequestedRun = "run" }
	annotated := func(e string) func(*v1.MultiNicNodeConfig) {
		return func(o *v1.MultiNicNodeConfig) { o.Annotations = map[string]string{v1.ExecutionAnnotation: e} }
	}
	released := func(generation int64) func(*v1.MultiNicNodeConfig) {
		return func(o *v1.MultiNicNodeConfig) { o.Status.ReleasedGeneration = generation }
	}
	const nothing = "nothing"
	for name, tt := range map[string]struct {
		in   In
		want string
	}{
		"a node without a daemon gets a Job for its generation":                 {In{Object: bridgetest.Object(2)}, "create 2"},
		"a node with a live daemon gets none":                                   {In{Object: bridgetest.Object(2), Alive: true}, nothing},
		"a node with a live daemon gets one where Jobs are to do it":            {In{Object: bridgetest.Object(2), Alive: true, Execution: ExecutionJob}, "create 2"},
		"a node gets none where daemons are to do it":                           {In{Object: bridgetest.Object(2), Execution: ExecutionDaemon}, nothing},
		"its annotation turns Jobs off":                                         {In{Object: bridgetest.Object(2, annotated("daemon")), Execution: ExecutionJob}, nothing},
		"its annotation turns Jobs on for a live daemon":                        {In{Object: bridgetest.Object(2, annotated("job")), Alive: true}, "create 2"},
		"its annotation turns nothing on where the bridge makes no Jobs at all": {In{Object: bridgetest.Object(2, annotated("job")), Execution: ExecutionDaemon}, nothing},
		"an annotation of another word counts for nothing":                      {In{Object: bridgetest.Object(2, annotated("yes"))}, "create 2"},
		"a report of this generation wants no Job":                              {In{Object: bridgetest.Object(2), Report: byJobs(2, v1.PhaseDone, "")}, nothing},
		"a report of an older generation wants one":                             {In{Object: bridgetest.Object(2), Report: byJobs(1, v1.PhaseDone, "")}, "create 2"},
		"a report of another object wants one":                                  {In{Object: bridgetest.Object(2, func(o *v1.MultiNicNodeConfig) { o.UID = "anew" }), Report: byJobs(2, v1.PhaseDone, "")}, "create 2"},
		"a report of a Job that was cut off in mid-change wants one":            {In{Object: bridgetest.Object(2), Report: byJobs(2, v1.PhaseApplying, "")}, "create 2"},
		"a report that cannot be used wants one":                                {In{Object: bridgetest.Object(2), Report: gather.ReadReport(bridgetest.Node, "{")}, "create 2"},
		"a run wants one although the generation is done":                       {In{Object: bridgetest.Object(2, asks), Report: byJobs(2, v1.PhaseDone, "other")}, "create 2 run"},
		"a run that is answered wants none":                                     {In{Object: bridgetest.Object(2, asks), Report: byJobs(2, v1.PhaseDone, "run")}, nothing},
		"a Job that runs is awaited":                                            {In{Object: bridgetest.Object(2), Jobs: []batchv1.Job{job(key(2, ""))}}, nothing},
		"a Job that has failed is not made again while it is there":             {In{Object: bridgetest.Object(2), Jobs: []batchv1.Job{job(key(2, ""), bridgetest.JobIs(batchv1.JobFailed, ""))}}, nothing},
		"a Job that succeeded without a report is not made again, either":       {In{Object: bridgetest.Object(2), Jobs: []batchv1.Job{job(key(2, ""), bridgetest.JobIs(batchv1.JobComplete, ""))}}, nothing},
		"an old Job's success is none of a newer generation":                    {In{Object: bridgetest.Object(2), Jobs: []batchv1.Job{job(key(1, ""), bridgetest.JobIs(batchv1.JobComplete, ""))}}, "create 2"},
		"a running Job of an older generation is ended first":                   {In{Object: bridgetest.Object(2), Jobs: []batchv1.Job{job(key(1, ""))}}, "delete job-1-"},
		"while it ends no other is made":                                        {In{Object: bridgetest.Object(2), Jobs: []batchv1.Job{job(key(1, ""), leaving)}}, nothing},
		"a Job of this generation that somebody deletes is awaited":             {In{Object: bridgetest.Object(2), Jobs: []batchv1.Job{job(key(2, ""), leaving)}}, nothing},
		"an ended Job that is deleted hinders nobody":                           {In{Object: bridgetest.Object(2), Jobs: []batchv1.Job{job(key(2, ""), leaving, bridgetest.JobIs(batchv1.JobComplete, ""))}}, "create 2"},
		"a Job of the object that was before is ended":                          {In{Object: bridgetest.Object(2, func(o *v1.MultiNicNodeConfig) { o.UID = "anew" }), Jobs: []batchv1.Job{job(key(2, ""))}}, "delete job-2-"},
		"a Job beside the wanted one is ended":                                  {In{Object: bridgetest.Object(2), Jobs: []batchv1.Job{job(key(2, "")), job(key(1, ""))}}, "delete job-1-"},
		"a Job that waits for NICs after its report is left until its deadline": {In{Object: bridgetest.Object(2), Report: byJobs(2, v1.PhaseDone, ""), Jobs: []batchv1.Job{job(key(2, ""))}}, nothing},
		"a run ends the Job that waits for NICs":                                {In{Object: bridgetest.Object(2, asks), Report: byJobs(2, v1.PhaseDone, ""), Jobs: []batchv1.Job{job(key(2, ""))}}, "delete job-2-"},
		"a daemon that appears in the middle ends the Job":                      {In{Object: bridgetest.Object(2), Alive: true, Jobs: []batchv1.Job{job(key(2, ""))}}, "delete job-2-"},
		"an object that is deleted ends its Job":                                {In{Jobs: []batchv1.Job{job(key(2, ""))}}, "delete job-2-"},
		"an object that is being deleted gets none":                             {In{Object: bridgetest.Object(2, func(o *v1.MultiNicNodeConfig) { o.DeletionTimestamp = new(metav1.NewTime(bridgetest.Noon)) })}, nothing},
		"a generation that the brake holds back gets none":                      {In{Object: bridgetest.Object(2), Braked: true}, nothing},
		"a Job of the released generation is let end while a newer one waits":   {In{Object: bridgetest.Object(3, released(2)), Braked: true, Jobs: []batchv1.Job{job(key(2, ""))}}, nothing},
		"also the Job of a run":                                                 {In{Object: bridgetest.Object(3, released(2)), Braked: true, Jobs: []batchv1.Job{job(key(2, "run"))}}, nothing},
		"the release of the newer one ends it":                                  {In{Object: bridgetest.Object(3, released(3)), Braked: true, Jobs: []batchv1.Job{job(key(2, ""))}}, "delete job-2-"},
		"a Job of a generation that is older than the released one is ended":    {In{Object: bridgetest.Object(3, released(2)), Braked: true, Jobs: []batchv1.Job{job(key(1, ""))}}, "delete job-1-"},
		"a daemon that appears ends the Job of the released generation":         {In{Object: bridgetest.Object(3, released(2)), Braked: true, Alive: true, Jobs: []batchv1.Job{job(key(2, ""))}}, "delete job-2-"},
		"a generation that the brake released gets one":                         {In{Object: bridgetest.Object(2, func(o *v1.MultiNicNodeConfig) { o.Status.ReleasedGeneration = 2 }), Braked: true}, "create 2"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.in.Node = true
			if tt.in.Execution == "" {
				tt.in.Execution = ExecutionAuto
			}
			if got := briefJobs(Judge(tt.in)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			tt.in.Node = false
			if got := briefJobs(Judge(tt.in)); strings.HasPrefix(got, "create") {
				t.Errorf("without a Node: %s", got)
			}
		})
	}
}

func briefJobs(out Out) string {
	switch {
	case out.Delete != nil && out.Create != nil:
		return "both"
	case out.Delete != nil:
		return "delete " + string(out.Delete.UID)
	case out.Create != nil:
		return strings.TrimSpace(fmt.Sprintf("create %d %s", out.Create.Generation, out.Create.Run))
	}
	return "nothing"
}

func TestJobNamesFitAndDiffer(t *testing.T) {
	at := time.Date(2025, 1, 21, 10, 32, 0, 0, time.UTC)
	if got, want := Name("worker-node-01", at), "multinic-agent-worker-node-01-20250121103200"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	seen := map[string]bool{}
	for _, name := range []string{"a", strings.Repeat("a", 33), strings.Repeat("a", 34), strings.Repeat("a", 63), strings.Repeat("a", 62) + "b",
		strings.Repeat("a.", 40) + "b", strings.Repeat("a-", 31) + "b", strings.Repeat("x", 200)} {
		got := Name(name, at)
		if errs := validation.IsDNS1123Subdomain(got); len(got) > 63 || len(errs) > 0 || seen[got] || !strings.HasSuffix(got, "-20250121103200") {
			t.Errorf("%s makes %s (%d): %v", name, got, len(got), errs)
		}
		seen[got] = true
		for k, v := range labelsOf(name) {
			if errs := validation.IsValidLabelValue(v); len(errs) > 0 {
				t.Errorf("%s makes the label %s=%s: %v", name, k, v, errs)
			}
		}
	}
}

// A bridge that starts finds the Lease of a daemon that is no more, and a Job in the middle of its change.
func TestABridgeThatStartsLeavesTheJobOfANodeThatHadADaemon(t *testing.T) {
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	for sentence, tt := range map[string]struct {
		executor v1.Executor
		moves    bool
		stays    bool
	}{
		"where the last report came from a Job":         {v1.ExecutorJob, false, true},
		"not where it came from a daemon":               {v1.ExecutorDaemon, false, false},
		"nor where a daemon is seen to renew the Lease": {v1.ExecutorJob, true, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			o := bridgetest.Object(2, func(o *v1.MultiNicNodeConfig) { o.Namespace = v1.SystemNamespace })
			r := bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))
			r.Executor = tt.executor
			said := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.ReportName(bridgetest.Node)}, Data: map[string]string{v1.ReportKey: bridgetest.Text(t, r)}}
			machine := gather.NodeShell()
			machine.Name = bridgetest.Node
			runs := newJob(bridgetest.Node, gather.JobKey{UID: bridgetest.UID, Generation: 2}, Options{Image: "x"}, bridgetest.Noon)
			cl := fake.NewClientBuilder().WithScheme(scheme).WithObjects(o, said, machine, runs).
				WithIndex(&batchv1.Job{}, gather.JobIndex, func(o client.Object) []string { return []string{gather.NodeOfJob(o)} }).Build()
			seen := gather.NewPulses()
			seen.Observe(bridgetest.Node, "long ago", bridgetest.Noon)
			if tt.moves {
				seen.Observe(bridgetest.Node, "now", bridgetest.Noon)
			}
			clock := func() time.Time { return bridgetest.Noon }
			l := &Loop{Client: cl, Reader: cl, Log: slog.New(slog.DiscardHandler), Now: clock, SilentAfter: v1.SilentAfter, Pulses: seen, Counted: prometheus.NewCounterVec(prometheus.CounterOpts{}, []string{"what"}),
				InForce: bridgetest.InForce, Options: Options{Execution: ExecutionAuto, Image: "x"}, last: map[string]time.Time{}}
			if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)}); err != nil {
				t.Fatal(err)
			}
			jobs, err := gather.Jobs(t.Context(), cl, bridgetest.Node)
			if err != nil || (len(jobs) == 1) != tt.stays {
				t.Errorf("there are %d Jobs, %v; the one stays: %v", len(jobs), err, tt.stays)
			}
		})
	}
}
