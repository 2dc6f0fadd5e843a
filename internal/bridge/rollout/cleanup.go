package rollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// Cleanup is a run that has its node give all NICs back, and that has not ended.
type Cleanup struct {
	Node string
	Run  types.UID
	Made time.Time
	// Asked: the node was asked. Held is how long ago, as far as is known.
	Asked bool
	Held  time.Duration
	// Reachable: somebody there would act on it now.
	Reachable bool
}

// NextCleanups are the nodes to be asked now, beside those that were. It is a pure function.
//
// No more nodes give their NICs back at once than may be in change at once, out of limit. The
// oldest run comes first. A node that has not answered within the patience takes no place any more,
// and a node where nobody would act is not asked.
func NextCleanups(all []Cleanup, limit int, patience time.Duration) []Cleanup {
	var waiting []Cleanup
	for _, c := range all {
		switch {
		case c.Asked && c.Held < patience:
			limit--
		case !c.Asked && c.Reachable:
			waiting = append(waiting, c)
		}
	}
	slices.SortFunc(waiting, func(a, b Cleanup) int { return cmp.Or(a.Made.Compare(b.Made), cmp.Compare(a.Node, b.Node)) })
	return waiting[:min(max(limit, 0), len(waiting))]
}

// MayAsk says whether the node of a run may be asked for a cleanup. r.mu must not be held.
func (r *Loop) MayAsk(run types.UID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, may := r.asked[run]
	return may
}

// cleanups decides about cleanups. It returns the nodes that may be asked now, and whether others
// wait. reachable has the nodes that have an object. r.mu must be held.
func (r *Loop) cleanups(ctx context.Context, objects map[types.UID]*v1.MultiNicNodeConfig, reachable map[string]bool, now time.Time) (next []Cleanup, wait bool, err error) {
	var list v1.MultiNicNodeRunList
	if err := r.Client.List(ctx, &list, client.InNamespace(v1.SystemNamespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, false, fmt.Errorf("listing runs: %w", err)
	}
	requested := map[string]string{}
	for _, o := range objects {
		requested[o.Name] = o.Status.RequestedRun
	}
	asked := map[types.UID]time.Time{} // of the runs that are still there
	var all []Cleanup
	for i := range list.Items {
		run := &list.Items[i]
		who, ours := reachable[run.Spec.Node]
		if !ours || run.Spec.Action != v1.ActionCleanup || run.DeletionTimestamp != nil || gather.RunEnded(run) {
			continue
		}
		c := Cleanup{Node: run.Spec.Node, Run: run.UID, Made: run.CreationTimestamp.Time, Reachable: who}
		since, known := r.asked[run.UID]
		if !known && requested[c.Node] == string(run.UID) {
			since, known = now, true // another bridge has asked
		}
		if known {
			c.Asked, c.Held = true, now.Sub(since)
			asked[run.UID] = since
		}
		all = append(all, c)
	}
	r.asked = asked
	limit, err := r.Options.Limit(len(objects))
	if err != nil {
		return nil, false, err
	}
	next = NextCleanups(all, limit, cmp.Or(r.Options.Patience, Patience))
	return next, len(all)-len(asked) > len(next), nil
}
