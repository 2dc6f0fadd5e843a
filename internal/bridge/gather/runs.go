package gather

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
)

// RunIndex is the caches' index of runs by node.
const RunIndex = "spec.node"

// IndexRuns makes the caches' index of runs. Call it before the caches start.
func IndexRuns(mgr manager.Manager) error {
	return mgr.GetFieldIndexer().IndexField(context.Background(), &v1.MultiNicNodeRun{}, RunIndex, func(o client.Object) []string {
		if run, ok := o.(*v1.MultiNicNodeRun); ok {
			return []string{run.Spec.Node}
		}
		return nil
	})
}

// Runs lists the runs of a node.
func Runs(ctx context.Context, c client.Client, node string) ([]v1.MultiNicNodeRun, error) {
	var list v1.MultiNicNodeRunList
	if err := c.List(ctx, &list, client.InNamespace(v1.SystemNamespace), client.MatchingFields{RunIndex: node}); err != nil {
		return nil, fmt.Errorf("listing the runs of %s: %w", node, err)
	}
	return list.Items, nil
}

// NodeOfRun wakes a loop of nodes.
func NodeOfRun(_ context.Context, o client.Object) []reconcile.Request {
	run, ok := o.(*v1.MultiNicNodeRun)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: v1.SystemNamespace, Name: run.Spec.Node}}}
}

// RunEnded says that a run has succeeded or failed.
func RunEnded(run *v1.MultiNicNodeRun) bool {
	return run.Status.State == v1.RunSucceeded || run.Status.State == v1.RunFailed
}
