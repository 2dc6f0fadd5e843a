package gather

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	v1 "multinicd/api/v1"
)

// JobKey is what a Job works on: a generation of one object, and the run that is asked for ("" for
// none). A second Job of a key is never made while the first one is there.
type JobKey struct {
	UID        types.UID
	Generation int64
	Run        string
}

// JobKeyOf reads the key from the annotations of a Job. If the generation is zero, the Job is not
// ours.
func JobKeyOf(j *batchv1.Job) JobKey {
	k := JobKey{UID: types.UID(j.Annotations[v1.ObjectUIDAnnotation]), Run: j.Annotations[v1.RunAnnotation]}
	// leaves 0 if the annotation is no number
	_, _ = fmt.Sscan(j.Annotations[v1.GenerationAnnotation], &k.Generation)
	return k
}

// JobEnded says that nothing of a Job runs any more.
func JobEnded(j *batchv1.Job) bool {
	return JobCondition(j, batchv1.JobComplete) != nil || JobCondition(j, batchv1.JobFailed) != nil
}

// JobCondition is a condition of a Job that is true; nil if there is none.
func JobCondition(j *batchv1.Job, kind batchv1.JobConditionType) *batchv1.JobCondition {
	for i, c := range j.Status.Conditions {
		if c.Type == kind && c.Status == corev1.ConditionTrue {
			return &j.Status.Conditions[i]
		}
	}
	return nil
}

// NodeOfJob is the node that a Job, or a Pod of a Job, belongs to; "" for none.
func NodeOfJob(o client.Object) string { return o.GetAnnotations()[v1.NodeNameAnnotation] }

// JobIndex is the caches' index of Jobs and Pods by node.
const JobIndex = "node"

// IndexJobs makes the caches' index of Jobs, or also of their Pods: of all kinds that are given.
// Call it before the caches start. Only what has an index is cached.
func IndexJobs(mgr manager.Manager, kinds ...client.Object) error {
	for _, o := range kinds {
		err := mgr.GetFieldIndexer().IndexField(context.Background(), o, JobIndex, func(o client.Object) []string { return []string{NodeOfJob(o)} })
		if err != nil {
			return err
		}
	}
	return nil
}

// Jobs lists a node's Jobs.
func Jobs(ctx context.Context, c client.Reader, node string) ([]batchv1.Job, error) {
	var list batchv1.JobList
	if err := c.List(ctx, &list, client.InNamespace(v1.NodesNamespace), client.MatchingFields{JobIndex: node}); err != nil {
		return nil, fmt.Errorf("listing the Jobs of %s: %w", node, err)
	}
	return list.Items, nil
}

// Pods lists the Pods of a node's Jobs.
func Pods(ctx context.Context, c client.Reader, node string) ([]corev1.Pod, error) {
	var list corev1.PodList
	if err := c.List(ctx, &list, client.InNamespace(v1.NodesNamespace), client.MatchingFields{JobIndex: node}); err != nil {
		return nil, fmt.Errorf("listing the Pods of %s: %w", node, err)
	}
	return list.Items, nil
}
