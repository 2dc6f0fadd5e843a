package controller

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
)

// job as the bridge makes it, running, and how a case changes it.
func job(key JobKey, change ...func(*batchv1.Job)) batchv1.Job {
	j := *newJob(node, key, JobOptions{Image: "image"}, noon)
	j.UID = types.UID(fmt.Sprintf("job-%d-%s", key.Generation, key.Run))
	for _, c := range change {
		c(&j)
	}
	return j
}

func jobIs(kind batchv1.JobConditionType, message string) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, Message: message})
	}
}

func leaving(j *batchv1.Job) { j.DeletionTimestamp = new(metav1.NewTime(noon)) }

func TestJudgeJobs(t *testing.T) {
	byJobs := func(generation int64, phase v1.Phase, run string) string {
		r := report(generation, configured(1), configured(2))
		r.Executor, r.Phase, r.Run = v1.ExecutorJob, phase, run
		return text(t, r)
	}
	key := func(generation int64, run string) JobKey { return JobKey{UID: uid, Generation: generation, Run: run} }
	asks := func(o *v1.MultiNicNodeConfig) { o.Status.RequestedRun = "run" }
	annotated := func(e string) func(*v1.MultiNicNodeConfig) {
		return func(o *v1.MultiNicNodeConfig) { o.Annotations = map[string]string{v1.ExecutionAnnotation: e} }
	}
	released := func(generation int64) func(*v1.MultiNicNodeConfig) {
		return func(o *v1.MultiNicNodeConfig) { o.Status.ReleasedGeneration = generation }
	}
	const nothing = "nothing"
	for name, tt := range map[string]struct {
		in   JobIn
		want string
	}{
		"a node without a daemon gets a Job for its generation":                 {JobIn{Object: object(2)}, "create 2"},
		"a node with a live daemon gets none":                                   {JobIn{Object: object(2), Alive: true}, nothing},
		"a node with a live daemon gets one where Jobs are to do it":            {JobIn{Object: object(2), Alive: true, Execution: ExecutionJob}, "create 2"},
		"a node gets none where daemons are to do it":                           {JobIn{Object: object(2), Execution: ExecutionDaemon}, nothing},
		"its annotation turns Jobs off":                                         {JobIn{Object: object(2, annotated("daemon")), Execution: ExecutionJob}, nothing},
		"its annotation turns Jobs on for a live daemon":                        {JobIn{Object: object(2, annotated("job")), Alive: true}, "create 2"},
		"its annotation turns nothing on where the bridge makes no Jobs at all": {JobIn{Object: object(2, annotated("job")), Execution: ExecutionDaemon}, nothing},
		"an annotation of another word counts for nothing":                      {JobIn{Object: object(2, annotated("yes"))}, "create 2"},
		"a report of this generation wants no Job":                              {JobIn{Object: object(2), Report: byJobs(2, v1.PhaseDone, "")}, nothing},
		"a report of an older generation wants one":                             {JobIn{Object: object(2), Report: byJobs(1, v1.PhaseDone, "")}, "create 2"},
		"a report of another object wants one":                                  {JobIn{Object: object(2, func(o *v1.MultiNicNodeConfig) { o.UID = "anew" }), Report: byJobs(2, v1.PhaseDone, "")}, "create 2"},
		"a report of a Job that was cut off in mid-change wants one":            {JobIn{Object: object(2), Report: byJobs(2, v1.PhaseApplying, "")}, "create 2"},
		"a report that cannot be used wants one":                                {JobIn{Object: object(2), Report: "{"}, "create 2"},
		"a run wants one although the generation is done":                       {JobIn{Object: object(2, asks), Report: byJobs(2, v1.PhaseDone, "other")}, "create 2 run"},
		"a run that is answered wants none":                                     {JobIn{Object: object(2, asks), Report: byJobs(2, v1.PhaseDone, "run")}, nothing},
		"a Job that runs is awaited":                                            {JobIn{Object: object(2), Jobs: []batchv1.Job{job(key(2, ""))}}, nothing},
		"a Job that has failed is not made again while it is there":             {JobIn{Object: object(2), Jobs: []batchv1.Job{job(key(2, ""), jobIs(batchv1.JobFailed, ""))}}, nothing},
		"a Job that succeeded without a report is not made again, either":       {JobIn{Object: object(2), Jobs: []batchv1.Job{job(key(2, ""), jobIs(batchv1.JobComplete, ""))}}, nothing},
		"an old Job's success is none of a newer generation":                    {JobIn{Object: object(2), Jobs: []batchv1.Job{job(key(1, ""), jobIs(batchv1.JobComplete, ""))}}, "create 2"},
		"a running Job of an older generation is ended first":                   {JobIn{Object: object(2), Jobs: []batchv1.Job{job(key(1, ""))}}, "delete job-1-"},
		"while it ends no other is made":                                        {JobIn{Object: object(2), Jobs: []batchv1.Job{job(key(1, ""), leaving)}}, nothing},
		"a Job of this generation that somebody deletes is awaited":             {JobIn{Object: object(2), Jobs: []batchv1.Job{job(key(2, ""), leaving)}}, nothing},
		"an ended Job that is deleted hinders nobody":                           {JobIn{Object: object(2), Jobs: []batchv1.Job{job(key(2, ""), leaving, jobIs(batchv1.JobComplete, ""))}}, "create 2"},
		"a Job of the object that was before is ended":                          {JobIn{Object: object(2, func(o *v1.MultiNicNodeConfig) { o.UID = "anew" }), Jobs: []batchv1.Job{job(key(2, ""))}}, "delete job-2-"},
		"a Job beside the wanted one is ended":                                  {JobIn{Object: object(2), Jobs: []batchv1.Job{job(key(2, "")), job(key(1, ""))}}, "delete job-1-"},
		"a Job that waits for NICs after its report is left until its deadline": {JobIn{Object: object(2), Report: byJobs(2, v1.PhaseDone, ""), Jobs: []batchv1.Job{job(key(2, ""))}}, nothing},
		"a run ends the Job that waits for NICs":                                {JobIn{Object: object(2, asks), Report: byJobs(2, v1.PhaseDone, ""), Jobs: []batchv1.Job{job(key(2, ""))}}, "delete job-2-"},
		"a daemon that appears in the middle ends the Job":                      {JobIn{Object: object(2), Alive: true, Jobs: []batchv1.Job{job(key(2, ""))}}, "delete job-2-"},
		"an object that is deleted ends its Job":                                {JobIn{Jobs: []batchv1.Job{job(key(2, ""))}}, "delete job-2-"},
		"an object that is being deleted gets none":                             {JobIn{Object: object(2, func(o *v1.MultiNicNodeConfig) { o.DeletionTimestamp = new(metav1.NewTime(noon)) })}, nothing},
		"a generation that the brake holds back gets none":                      {JobIn{Object: object(2), Braked: true}, nothing},
		"a Job of the released generation is let end while a newer one waits":   {JobIn{Object: object(3, released(2)), Braked: true, Jobs: []batchv1.Job{job(key(2, ""))}}, nothing},
		"also the Job of a run":                                                 {JobIn{Object: object(3, released(2)), Braked: true, Jobs: []batchv1.Job{job(key(2, "run"))}}, nothing},
		"the release of the newer one ends it":                                  {JobIn{Object: object(3, released(3)), Braked: true, Jobs: []batchv1.Job{job(key(2, ""))}}, "delete job-2-"},
		"a Job of a generation that is older than the released one is ended":    {JobIn{Object: object(3, released(2)), Braked: true, Jobs: []batchv1.Job{job(key(1, ""))}}, "delete job-1-"},
		"a daemon that appears ends the Job of the released generation":         {JobIn{Object: object(3, released(2)), Braked: true, Alive: true, Jobs: []batchv1.Job{job(key(2, ""))}}, "delete job-2-"},
		"a generation that the brake released gets one":                         {JobIn{Object: object(2, func(o *v1.MultiNicNodeConfig) { o.Status.ReleasedGeneration = 2 }), Braked: true}, "create 2"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.in.Node = true
			if tt.in.Execution == "" {
				tt.in.Execution = ExecutionAuto
			}
			if got := briefJobs(JudgeJobs(tt.in)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			tt.in.Node = false
			if got := briefJobs(JudgeJobs(tt.in)); strings.HasPrefix(got, "create") {
				t.Errorf("without a Node: %s", got)
			}
		})
	}
}

func briefJobs(out JobOut) string {
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
	if got, want := JobName("worker-node-01", at), "multinic-agent-worker-node-01-20250121103200"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	seen := map[string]bool{}
	for _, name := range []string{"a", strings.Repeat("a", 33), strings.Repeat("a", 34), strings.Repeat("a", 63), strings.Repeat("a", 62) + "b",
		strings.Repeat("a.", 40) + "b", strings.Repeat("a-", 31) + "b", strings.Repeat("x", 200)} {
		got := JobName(name, at)
		if errs := validation.IsDNS1123Subdomain(got); len(got) > 63 || len(errs) > 0 || seen[got] || !strings.HasSuffix(got, "-20250121103200") {
			t.Errorf("%s makes %s (%d): %v", name, got, len(got), errs)
		}
		seen[got] = true
		for k, v := range jobLabels(name) {
			if errs := validation.IsValidLabelValue(v); len(errs) > 0 {
				t.Errorf("%s makes the label %s=%s: %v", name, k, v, errs)
			}
		}
	}
}

func TestJobTrouble(t *testing.T) {
	key := JobKey{UID: uid, Generation: 1}
	pod := func(change func(*corev1.ContainerState)) []corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod", Labels: map[string]string{batchv1.JobNameLabel: JobName(node, noon)}}}
		p.Status.ContainerStatuses = make([]corev1.ContainerStatus, 1)
		change(&p.Status.ContainerStatuses[0].State)
		return []corev1.Pod{p}
	}
	ended := func(code int32, words string) []corev1.Pod {
		return pod(func(s *corev1.ContainerState) {
			s.Terminated = &corev1.ContainerStateTerminated{ExitCode: code, Message: words, Reason: "Error"}
		})
	}
	waits := func(reason string) []corev1.Pod {
		return pod(func(s *corev1.ContainerState) {
			s.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: "why"}
		})
	}
	for name, tt := range map[string]struct {
		jobs []batchv1.Job
		pods []corev1.Pod
		want string
	}{
		"no Job, no trouble":                   {nil, nil, ""},
		"a Job that runs is none":              {[]batchv1.Job{job(key)}, nil, ""},
		"a Job that succeeded is none":         {[]batchv1.Job{job(key, jobIs(batchv1.JobComplete, ""))}, ended(5, "old"), ""},
		"a Job of another generation is none":  {[]batchv1.Job{job(JobKey{UID: uid, Generation: 2}, jobIs(batchv1.JobFailed, "x"))}, nil, ""},
		"a Job that failed says so":            {[]batchv1.Job{job(key, jobIs(batchv1.JobFailed, "too often"))}, nil, "JobFailed Job NAME: too often"},
		"and the last words of its Pod":        {[]batchv1.Job{job(key, jobIs(batchv1.JobFailed, "too often"))}, ended(1, "no bus"), "JobFailed Job NAME: too often; Pod pod ended with exit code 1: no bus"},
		"a Pod that failed and is tried again": {[]batchv1.Job{job(key)}, ended(137, ""), "JobStuck Job NAME: Pod pod ended with exit code 137: Error"},
		"a Pod whose image is missing":         {[]batchv1.Job{job(key)}, waits("ErrImagePull"), "JobStuck Job NAME: Pod pod cannot start: ErrImagePull: why"},
		"a Pod that is being made is none":     {[]batchv1.Job{job(key)}, waits("ContainerCreating"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, trouble := JobTrouble(object(1), tt.jobs, tt.pods)
			got := ""
			if trouble != nil {
				got = trouble.Reason + " " + strings.ReplaceAll(trouble.Message, JobName(node, noon), "NAME")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStatusTellsOfAJobOnlyWhileTheNodeIsSilentOnThisGeneration(t *testing.T) {
	failed := &v1.Remark{Reason: v1.ReasonJobFailed, Message: "last words"}
	in := Gathered{Object: object(1), Job: "job-1", JobTrouble: failed, Now: noon}
	s := Status(in)
	ready, degraded := meta.FindStatusCondition(s.Conditions, v1.ConditionReady), meta.FindStatusCondition(s.Conditions, v1.ConditionDegraded)
	if ready.Reason != v1.ReasonJobFailed || ready.Status != metav1.ConditionFalse || degraded.Message != "last words" || s.State != v1.StatePending || s.LastJobName != "job-1" {
		t.Errorf("unheard: %s\n%s", s.LastJobName, brief(s))
	}
	in.Object.Status = s
	if again := Status(in); !cmp.Equal(again, s) {
		t.Errorf("its own output changes it: %s", cmp.Diff(s, again))
	}
	r := report(1, configured(1), configured(2))
	r.Executor, r.JobName = v1.ExecutorJob, "job-1"
	in.Report = text(t, r)
	if s := Status(in); s.State != v1.StateConfigured || meta.FindStatusCondition(s.Conditions, v1.ConditionReady).Status != metav1.ConditionTrue || meta.FindStatusCondition(s.Conditions, v1.ConditionDegraded).Status != metav1.ConditionFalse {
		t.Errorf("once the node has reported: %s", brief(s))
	}
	in.Report, in.Job, in.JobTrouble = "", "", nil
	if s := Status(in); meta.FindStatusCondition(s.Conditions, v1.ConditionReady).Reason != v1.ReasonJobFailed {
		t.Errorf("when the Job has been swept away, what was said stays: %s", brief(s))
	}
}

// A Job that failed is swept away after an hour, and another is made: the rollout that was stopped by it must not take that for a node that has done better.
func TestANodeWhoseJobFailedCountsAsFailedUntilItReports(t *testing.T) {
	says := func(generation int64) string {
		r := report(generation, configured(1), configured(2))
		r.Executor = v1.ExecutorJob
		return text(t, r)
	}
	trouble := func(reason, message string) *v1.Remark { return &v1.Remark{Reason: reason, Message: message} }
	for sentence, before := range map[string]string{"that had reported before": says(1), "that never reported": ""} {
		t.Run(sentence, func(t *testing.T) {
			o := object(2)
			if before != "" {
				o.Status.LastProcessed = new(metav1.NewTime(noon))
			}
			for i, step := range []struct {
				sentence, report, job string
				trouble               *v1.Remark
				want                  string
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
				o.Status = Status(Gathered{Object: o, Report: step.report, Job: step.job, JobTrouble: step.trouble, Released: o.Generation, Reachable: true, Now: clock(time.Duration(i) * time.Minute)})
				n, ready := rolloutNode(o, 0, true), meta.FindStatusCondition(o.Status.Conditions, v1.ConditionReady)
				got := "under way"
				if n.Failed {
					got = "failed " + ready.Message
				} else if n.Settled {
					got = "done"
				}
				if got != step.want {
					t.Errorf("%s: %s, want %s\n%s", step.sentence, got, step.want, brief(o.Status))
				}
			}
		})
	}
}

// A bridge that starts finds the Lease of a daemon that is no more, and a Job in the middle of its change.
func TestABridgeThatStartsLeavesTheJobOfANodeThatHadADaemon(t *testing.T) {
	scheme, err := newScheme()
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
			o := object(2, func(o *v1.MultiNicNodeConfig) { o.Namespace = v1.SystemNamespace })
			r := report(1, configured(1), configured(2))
			r.Executor = tt.executor
			said := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.ReportName(node)}, Data: map[string]string{v1.ReportKey: text(t, r)}}
			machine := nodeShell()
			machine.Name = node
			runs := newJob(node, JobKey{UID: uid, Generation: 2}, JobOptions{Image: "x"}, noon)
			cl := fake.NewClientBuilder().WithScheme(scheme).WithObjects(o, said, machine, runs).
				WithIndex(&batchv1.Job{}, jobIndex, func(o client.Object) []string { return []string{nodeOfJob(o)} }).Build()
			seen := newPulses()
			seen.observe(node, "long ago", noon)
			if tt.moves {
				seen.observe(node, "now", noon)
			}
			clock := func() time.Time { return noon }
			l := &jobLoop{client: cl, reader: cl, log: slog.New(slog.DiscardHandler), now: clock, silentAfter: SilentAfter, pulses: seen, counted: prometheus.NewCounterVec(prometheus.CounterOpts{}, []string{"what"}),
				inForce: inForce, options: JobOptions{Execution: ExecutionAuto, Image: "x"}, last: map[string]time.Time{}}
			if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)}); err != nil {
				t.Fatal(err)
			}
			jobs, err := cachedJobs(t.Context(), cl, node)
			if err != nil || (len(jobs) == 1) != tt.stays {
				t.Errorf("there are %d Jobs, %v; the one stays: %v", len(jobs), err, tt.stays)
			}
		})
	}
}

func TestADaemonLives(t *testing.T) {
	silent := object(1)
	silent.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Reason: v1.ReasonNodeSilent}}
	for name, tt := range map[string]struct {
		pulse Pulse
		obj   *v1.MultiNicNodeConfig
		alive bool
		left  time.Duration
	}{
		"not where nobody has ever renewed the Lease":               {Pulse{Seen: noon}, object(1), false, 0},
		"where the Lease moves":                                     {Pulse{Seen: clock(-time.Minute), Moved: true, Renewed: true}, object(1), true, 5 * time.Minute},
		"not where it has stopped":                                  {Pulse{Seen: clock(-SilentAfter), Moved: true, Renewed: true}, object(1), false, 0},
		"where a bridge that has just started has not seen it stop": {Pulse{Seen: noon, Renewed: true}, nil, true, SilentAfter},
		"not where it had stopped before that bridge started":       {Pulse{Seen: noon, Renewed: true}, silent, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if alive, left := lives(tt.pulse, tt.obj, noon, SilentAfter); alive != tt.alive || left != tt.left {
				t.Errorf("got %v %s, want %v %s", alive, left, tt.alive, tt.left)
			}
		})
	}
}
