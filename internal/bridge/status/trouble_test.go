package status

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

func TestJobTrouble(t *testing.T) {
	key := gather.JobKey{UID: bridgetest.UID, Generation: 1}
	pod := func(change func(*corev1.ContainerState)) []corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod", Labels: map[string]string{batchv1.JobNameLabel: "job-1"}}}
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
		"a Job that runs is none":              {[]batchv1.Job{someJob(key)}, nil, ""},
		"a Job that succeeded is none":         {[]batchv1.Job{someJob(key, bridgetest.JobIs(batchv1.JobComplete, ""))}, ended(5, "old"), ""},
		"a Job of another generation is none":  {[]batchv1.Job{someJob(gather.JobKey{UID: bridgetest.UID, Generation: 2}, bridgetest.JobIs(batchv1.JobFailed, "x"))}, nil, ""},
		"a Job that failed says so":            {[]batchv1.Job{someJob(key, bridgetest.JobIs(batchv1.JobFailed, "too often"))}, nil, "JobFailed Job NAME: too often"},
		"and the last words of its Pod":        {[]batchv1.Job{someJob(key, bridgetest.JobIs(batchv1.JobFailed, "too often"))}, ended(1, "no bus"), "JobFailed Job NAME: too often; Pod pod ended with exit code 1: no bus"},
		"a Pod that failed and is tried again": {[]batchv1.Job{someJob(key)}, ended(137, ""), "JobStuck Job NAME: Pod pod ended with exit code 137: Error"},
		"a Pod whose image is missing":         {[]batchv1.Job{someJob(key)}, waits("ErrImagePull"), "JobStuck Job NAME: Pod pod cannot start: ErrImagePull: why"},
		"a Pod that is being made is none":     {[]batchv1.Job{someJob(key)}, waits("ContainerCreating"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, trouble := troubleOf(bridgetest.Object(1), tt.jobs, tt.pods)
			got := ""
			if trouble != nil {
				got = trouble.Reason + " " + strings.ReplaceAll(trouble.Message, "job-1", "NAME")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStatusTellsOfAJobOnlyWhileTheNodeIsSilentOnThisGeneration(t *testing.T) {
	failed := &v1.Remark{Reason: v1.ReasonJobFailed, Message: "last words"}
	in := In{Object: bridgetest.Object(1), Job: "job-1", JobTrouble: failed, Now: bridgetest.Noon}
	s := Status(in)
	ready, degraded := meta.FindStatusCondition(s.Conditions, v1.ConditionReady), meta.FindStatusCondition(s.Conditions, v1.ConditionDegraded)
	if ready.Reason != v1.ReasonJobFailed || ready.Status != metav1.ConditionFalse || degraded.Message != "last words" || s.State != v1.StatePending || s.LastJobName != "job-1" {
		t.Errorf("unheard: %s\n%s", s.LastJobName, bridgetest.Brief(s))
	}
	in.Object.Status = s
	if again := Status(in); !cmp.Equal(again, s) {
		t.Errorf("its own output changes it: %s", cmp.Diff(s, again))
	}
	r := bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))
	r.Executor, r.JobName = v1.ExecutorJob, "job-1"
	in.Report = bridgetest.Said(t, r)
	if s := Status(in); s.State != v1.StateConfigured || meta.FindStatusCondition(s.Conditions, v1.ConditionReady).Status != metav1.ConditionTrue || meta.FindStatusCondition(s.Conditions, v1.ConditionDegraded).Status != metav1.ConditionFalse {
		t.Errorf("once the node has reported: %s", bridgetest.Brief(s))
	}
	in.Report, in.Job, in.JobTrouble = gather.Report{}, "", nil
	if s := Status(in); meta.FindStatusCondition(s.Conditions, v1.ConditionReady).Reason != v1.ReasonJobFailed {
		t.Errorf("when the Job has been swept away, what was said stays: %s", bridgetest.Brief(s))
	}
}

// someJob is a Job of the node that runs, and how a case changes it.
func someJob(key gather.JobKey, change ...func(*batchv1.Job)) batchv1.Job {
	j := batchv1.Job{ObjectMeta: bridgetest.InNodes("job-1")}
	j.Annotations = map[string]string{v1.ObjectUIDAnnotation: string(key.UID), v1.GenerationAnnotation: fmt.Sprint(key.Generation)}
	for _, c := range change {
		c(&j)
	}
	return j
}
