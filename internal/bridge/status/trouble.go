package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// troubleOf is what is wrong with the Job of the object's present generation: it failed, or its Pod
// cannot start. nil means nothing. It counts only as long as the node has not reported, because
// what the node says counts more.
func troubleOf(obj *v1.MultiNicNodeConfig, jobs []batchv1.Job, pods []corev1.Pod) (job string, trouble *v1.Remark) {
	var newest *batchv1.Job
	for i := range jobs {
		j := &jobs[i]
		if k := gather.JobKeyOf(j); k.UID == obj.UID && k.Generation == obj.Generation && j.DeletionTimestamp == nil &&
			(newest == nil || newest.CreationTimestamp.Before(&j.CreationTimestamp)) {
			newest = j
		}
	}
	if newest == nil {
		return "", nil
	}
	words := lastWords(newest, pods)
	if failed := gather.JobCondition(newest, batchv1.JobFailed); failed != nil {
		return newest.Name, &v1.Remark{Reason: v1.ReasonJobFailed, Message: strings.Join(slices.DeleteFunc([]string{
			"Job " + newest.Name + ": " + cmp.Or(failed.Message, failed.Reason), words}, func(s string) bool { return s == "" }), "; ")}
	}
	if words != "" && gather.JobCondition(newest, batchv1.JobComplete) == nil {
		return newest.Name, &v1.Remark{Reason: v1.ReasonJobStuck, Message: "Job " + newest.Name + ": " + words}
	}
	return newest.Name, nil
}

// lastWords is what the newest Pod of a Job said at its end, or why the Pod cannot start. It is ""
// if there is nothing to say.
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
