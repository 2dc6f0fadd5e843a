package status

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// requested is s with what the node is to do: the next run that it is asked for, and the generation
// that it may act on.
func (in In) requested(s v1.MultiNicNodeConfigStatus, rep *v1.Report, silent bool) v1.MultiNicNodeConfigStatus {
	done := ""
	if rep != nil {
		done = rep.Run
	}
	s.ReleasedGeneration, s.ReleasedAt, s.ReportLevel = in.Released, in.releasedAt(s, silent), v1.ReportLevel
	s.RequestedRun, s.RequestedAction = "", ""
	if run := nextRun(in.Runs, done); run != nil && !in.Wait[run.UID] {
		s.RequestedRun, s.RequestedAction = string(run.UID), run.Spec.Action
	}
	return s
}

// releasedAt is the time since when the node can act on the release of the present generation, as
// long as the node has not settled. s is the status that is being decided. The time is kept in the
// object, so that a bridge that starts does not begin to count anew. A node that has settled never
// gets another time for this generation. If a bridge of 0.1.0 has released, the time counts from
// when this bridge first sees the release.
func (in In) releasedAt(s v1.MultiNicNodeConfigStatus, silent bool) *metav1.Time {
	prev := in.Object.Status
	settled, _, _ := gather.Ending(in.Object.Generation, s)
	back := gather.SaidSilent(in.Object) && !silent
	switch {
	case in.Released != in.Object.Generation || settled:
		return nil
	case in.Released == prev.ReleasedGeneration && gather.DatesReleases(prev) && (prev.ReleasedAt == nil || !back):
		return prev.ReleasedAt
	}
	return new(gather.MetaTime(in.Now))
}

// nextRun is the run that the node is to do: the oldest that has not ended. It is nil if none is
// left. reported is the run that the node's report answers. That run has ended, even if its status
// does not say so yet.
func nextRun(runs []v1.MultiNicNodeRun, reported string) *v1.MultiNicNodeRun {
	var open []v1.MultiNicNodeRun
	for _, r := range runs {
		if !gather.RunEnded(&r) && string(r.UID) != reported && r.DeletionTimestamp == nil {
			open = append(open, r)
		}
	}
	if len(open) == 0 {
		return nil
	}
	oldest := slices.MinFunc(open, func(a, b v1.MultiNicNodeRun) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
	})
	return &oldest
}
