package controller

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "multinicd/api/v1"
)

// Execution says by whom a node's NICs are configured.
type Execution string

// The ways of execution.
const (
	// ExecutionDaemon: by the daemon on the node; no Job is ever made.
	ExecutionDaemon Execution = "daemon"
	// ExecutionJob: by Jobs.
	ExecutionJob Execution = "job"
	// ExecutionAuto: by the daemon where one lives, else by Jobs.
	ExecutionAuto Execution = "auto"
)

// ParseExecution reads one of the three words.
func ParseExecution(s string) (Execution, error) {
	switch e := Execution(s); e {
	case ExecutionDaemon, ExecutionJob, ExecutionAuto:
		return e, nil
	}
	return "", fmt.Errorf("%q is none of daemon, job, auto", s)
}

// of is the way of a node's object, which its annotation may say otherwise. An
// annotation that says none of the three counts for nothing.
func (e Execution) of(obj *v1.MultiNicNodeConfig) Execution {
	if own, err := ParseExecution(obj.Annotations[v1.ExecutionAnnotation]); err == nil && e != ExecutionDaemon {
		return own
	}
	return e
}

// JobKey is what a Job works on: a generation of one object, and the run that is
// asked for, "" for none. Two Jobs of one key are never made while the first is
// there.
type JobKey struct {
	UID        types.UID
	Generation int64
	Run        string
}

// JobIn is all from which the bridge decides about a node's Jobs.
type JobIn struct {
	// Execution as configured; the object's annotation is looked at here.
	Execution Execution
	// Object with the status that was written last; nil where there is none.
	Object *v1.MultiNicNodeConfig
	// Node: there is a Node of the name.
	Node bool
	// Alive: a daemon renews the node's Lease.
	Alive bool
	// Braked: the rollout brake is on, so that a generation has to be released.
	Braked bool
	// Report is what stands in the node's report, unread.
	Report string
	// Jobs of the node, also those that are being deleted.
	Jobs []batchv1.Job
}

// JobOut is what is to be done. Both may be empty; Create never comes together
// with a Job that is still there and not ended.
type JobOut struct {
	// Delete this Job and what it runs; nil: none.
	Delete *batchv1.Job
	// Create one with this key; nil: none.
	Create *JobKey
	// Why of either, for the log.
	Why string
}

// JudgeJobs decides. It is a pure function.
func JudgeJobs(in JobIn) JobOut {
	want, why := wantedJob(in)
	var live *batchv1.Job // of another key than wanted
	for i := range in.Jobs {
		j := &in.Jobs[i]
		switch {
		case want != nil && jobKey(j) == *want && j.DeletionTimestamp == nil:
			return deleteStale(in, want) // it runs, or has ended: either way one is enough
		case live == nil && !jobEnded(j):
			live = j
		}
	}
	switch {
	case live == nil && want != nil:
		return JobOut{Create: want, Why: why}
	case live == nil || live.DeletionTimestamp != nil:
		return JobOut{}
	case want == nil && in.Object != nil && in.Node && satisfiedBy(in, live):
		return JobOut{} // its Pod is about to end, or waits for NICs until the deadline
	case want == nil && in.Object != nil && in.Node && releasedTo(in, live):
		return JobOut{} // it may be in the middle of a change
	}
	return JobOut{Delete: live, Why: cmp.Or(why, "a newer generation or run is wanted")}
}

// deleteStale ends a Job of another key beside the one that is wanted: it was
// made by a bridge that knew no better.
func deleteStale(in JobIn, want *JobKey) JobOut {
	for i := range in.Jobs {
		if j := &in.Jobs[i]; jobKey(j) != *want && !jobEnded(j) && j.DeletionTimestamp == nil {
			return JobOut{Delete: j, Why: "a newer generation or run is wanted"}
		}
	}
	return JobOut{}
}

// satisfiedBy: the report answers the key of the Job that still runs, which is
// the present one.
func satisfiedBy(in JobIn, j *batchv1.Job) bool {
	k := jobKey(j)
	return k.UID == in.Object.UID && k.Generation == in.Object.Generation && byJob(in)
}

// releasedTo: the Job works on the generation that is released, while a newer one
// waits for its release.
func releasedTo(in JobIn, j *batchv1.Job) bool {
	k, o := jobKey(j), in.Object
	return in.Braked && byJob(in) && k.UID == o.UID && k.Generation == o.Status.ReleasedGeneration && k.Generation < o.Generation
}

// byJob: Jobs are to work on the node at all.
func byJob(in JobIn) bool {
	switch in.Execution.of(in.Object) {
	case ExecutionJob:
		return true
	case ExecutionAuto:
		return !in.Alive
	}
	return false
}

// wantedJob is the key of the Job that is to be there; nil where none is, and
// why.
func wantedJob(in JobIn) (*JobKey, string) {
	o := in.Object
	switch {
	case o == nil || o.DeletionTimestamp != nil:
		return nil, "the object is gone"
	case !in.Node:
		return nil, "the Node is gone"
	case !byJob(in):
		return nil, "the node's daemon lives, or Jobs are switched off for it"
	case in.Braked && o.Status.ReleasedGeneration < o.Generation:
		return nil, "the generation is not released"
	}
	key := &JobKey{UID: o.UID, Generation: o.Generation, Run: o.Status.RequestedRun}
	r, err := v1.ParseReport([]byte(in.Report))
	if err == nil && r.Node == o.Name && r.UID == o.UID && r.Generation == o.Generation && r.Phase != v1.PhaseApplying &&
		(key.Run == "" || key.Run == r.Run) {
		return nil, ""
	}
	return key, "the node has not reported on this generation or run"
}

func jobKey(j *batchv1.Job) JobKey {
	k := JobKey{UID: types.UID(j.Annotations[v1.ObjectUIDAnnotation]), Run: j.Annotations[v1.RunAnnotation]}
	_, _ = fmt.Sscan(j.Annotations[v1.GenerationAnnotation], &k.Generation) // 0 for one that is none of ours
	return k
}

// jobEnded: nothing of it runs any more.
func jobEnded(j *batchv1.Job) bool {
	return jobCondition(j, batchv1.JobComplete) != nil || jobCondition(j, batchv1.JobFailed) != nil
}

func jobCondition(j *batchv1.Job, kind batchv1.JobConditionType) *batchv1.JobCondition {
	for i, c := range j.Status.Conditions {
		if c.Type == kind && c.Status == corev1.ConditionTrue {
			return &j.Status.Conditions[i]
		}
	}
	return nil
}

// JobName names a Job of a node: multinic-agent-<node>-<timestamp>, where the
// node's name is cut and gets a hash if the whole would be longer than the 63
// characters that a Job may have.
func JobName(node string, at time.Time) string {
	const prefix, most = "multinic-agent-", 63
	stamp := "-" + at.UTC().Format("20060102150405")
	if len(prefix)+len(node)+len(stamp) <= most {
		return prefix + node + stamp
	}
	sum := sha256.Sum256([]byte(node))
	end := "-" + hex.EncodeToString(sum[:4]) + stamp
	return prefix + strings.TrimRight(node[:most-len(prefix)-len(end)], "-.") + end
}

// JobTrouble is what is wrong with the Job of the object's present generation, or
// nil: it failed, or its Pod cannot start. It counts only while the node has not
// reported: what the node says counts more.
func JobTrouble(obj *v1.MultiNicNodeConfig, jobs []batchv1.Job, pods []corev1.Pod) (job string, trouble *v1.Remark) {
	var newest *batchv1.Job
	for i := range jobs {
		j := &jobs[i]
		if k := jobKey(j); k.UID == obj.UID && k.Generation == obj.Generation && j.DeletionTimestamp == nil &&
			(newest == nil || newest.CreationTimestamp.Before(&j.CreationTimestamp)) {
			newest = j
		}
	}
	if newest == nil {
		return "", nil
	}
	words := lastWords(newest, pods)
	if failed := jobCondition(newest, batchv1.JobFailed); failed != nil {
		return newest.Name, &v1.Remark{Reason: v1.ReasonJobFailed, Message: strings.Join(slices.DeleteFunc([]string{
			"Job " + newest.Name + ": " + cmp.Or(failed.Message, failed.Reason), words}, func(s string) bool { return s == "" }), "; ")}
	}
	if words != "" && jobCondition(newest, batchv1.JobComplete) == nil {
		return newest.Name, &v1.Remark{Reason: v1.ReasonJobStuck, Message: "Job " + newest.Name + ": " + words}
	}
	return newest.Name, nil
}

// lastWords is what the newest Pod of a Job said at its end, or why it cannot
// start; "" where there is nothing to say.
func lastWords(j *batchv1.Job, pods []corev1.Pod) string {
	var newest *corev1.Pod
	for i := range pods {
		p := &pods[i]
		if p.Labels[batchv1.JobNameLabel] == j.Name && (newest == nil || newest.CreationTimestamp.Before(&p.CreationTimestamp)) {
			newest = p
		}
	}
	if newest == nil {
		return ""
	}
	for _, c := range newest.Status.ContainerStatuses {
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			return strings.TrimSuffix(fmt.Sprintf("Pod %s ended with exit code %d: %s", newest.Name, t.ExitCode, cmp.Or(t.Message, t.Reason)), ": ")
		}
		if w := c.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			return strings.TrimSuffix(fmt.Sprintf("Pod %s cannot start: %s: %s", newest.Name, w.Reason, w.Message), ": ")
		}
	}
	if newest.Status.Phase == corev1.PodFailed {
		return strings.TrimSuffix(fmt.Sprintf("Pod %s failed: %s: %s", newest.Name, newest.Status.Reason, newest.Status.Message), ": ")
	}
	return ""
}
