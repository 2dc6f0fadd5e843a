package status

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// In is everything from which a status is decided.
type In struct {
	// Object, with the status that was written last. Neither is changed.
	Object *v1.MultiNicNodeConfig
	// Report of the node.
	Report gather.Report
	// Pulse of the node's Lease.
	Pulse gather.Pulse
	// Jobs says that the bridge makes Jobs, for this node or for others.
	Jobs bool
	// Job of the object's present generation ("" for none), and what is wrong with it (nil for
	// nothing), see troubleOf.
	Job        string
	JobTrouble *v1.Remark
	// Released is the generation up to which the rollout brake lets the node act: -1 for none yet,
	// 0 if there is no brake. Reachable says that somebody there would act on a release.
	Released  int64
	Reachable bool
	// Runs of the node that are not deleted yet, in any order. Those in Wait are not to begin yet.
	Runs []v1.MultiNicNodeRun
	Wait map[types.UID]bool
	// Now is the time by the bridge's clock.
	Now time.Time
	// SilentAfter; 0 means the constant v1.SilentAfter.
	SilentAfter time.Duration
	// Behind is since when the bridge has seen that the status is of an older generation than the
	// object, or than the report, which the caches may show first. Zero means that it is not.
	Behind time.Time
}

// State is the API's.
type State = v1.State

// Out is what is said about a node.
type Out struct {
	Status v1.MultiNicNodeConfigStatus
	// Silent: the node counts as silent.
	Silent bool
	// Again is when silence would begin if the Lease stands still, or when the patience for a quick
	// change ends. It is 0 if the silence has begun, or if silence means nothing for this node.
	Again time.Duration
}

// Judge decides. It is a pure function: the same input gives the same output. If its own status is
// the input again, with a later clock, the output is the same too.
//
// Only a report with the object's uid and generation says how things are. A report with the uid and
// another generation says that the node has not come so far yet. If there is neither, what was
// known of this generation is kept.
func Judge(in In) Out {
	obj, prev := in.Object, in.Object.Status
	prev.Conditions = sorted(prev.Conditions)
	rep, err := in.Report.Said, in.Report.Err
	var out Out
	out.Silent, out.Again = silence(in, rep)
	var f finding
	counts := false
	switch {
	case rep != nil && rep.UID == obj.UID && rep.Generation == obj.Generation:
		counts = true
		f = reported(obj, rep)
	case in.Released != 0 && in.Released < obj.Generation && in.Reachable:
		f = heldBack(obj)
	case rep != nil && rep.UID == obj.UID:
		if left := in.mayBeQuick(rep, out.Silent); left > 0 {
			out.Status, out.Again = in.published(in.requested(prev, rep, out.Silent)), left
			return out
		}
		f = underway(obj)
	case prev.ObservedGeneration == obj.Generation && prev.State != "":
		if rep == nil && err == nil && in.Job == "" && !out.Silent && !gather.SaidSilent(obj) {
			out.Status = in.published(in.requested(prev, rep, out.Silent))
			return out
		}
		f = kept(prev)
	case prev.LastProcessed != nil:
		f = underway(obj)
	default:
		f = unheard(obj)
	}
	if err != nil {
		f.garbage = err.Error()
	}
	f.silent = out.Silent
	if !counts {
		f.job = in.jobTrouble()
	}

	next := v1.MultiNicNodeConfigStatus{
		ObservedGeneration: obj.Generation,
		ObservedSpecHash:   obj.Spec.SpecHash,
		LastProcessed:      prev.LastProcessed,
		LastJobName:        cmp.Or(in.Job, prev.LastJobName),
		State:              f.state,
		ReadyInterfaces:    fmt.Sprintf("%d/%d", f.count(v1.StateConfigured), len(f.nics)),
		InterfaceStatuses:  f.nics,
		Conditions:         f.conditions(obj.Generation, prev.Conditions, in.Now),
	}
	if counts {
		next.LastJobName = cmp.Or(rep.JobName, rep.Run, prev.LastJobName)
		if !equality.Semantic.DeepEqual(withoutReady(prev), withoutReady(next)) {
			now := gather.MetaTime(in.Now)
			next.LastProcessed = &now
		}
	}
	out.Status = in.published(in.requested(next, rep, out.Silent))
	return out
}

// quickChange is how long the status stays that of the older generation when an object changes.
// Most changes are reported within this time. They cost the API server one write of the status
// then, without InProgress in between, and Ready stays True.
const quickChange = time.Second

// mayBeQuick is how long the status may still stay that of the older generation, because the node
// is about to report. It is 0 unless a daemon is there, and acts on its own: with a brake, the node
// waits for the status.
func (in In) mayBeQuick(rep *v1.Report, silent bool) time.Duration {
	prev := in.Object.Status
	switch {
	case in.Behind.IsZero() || max(rep.Generation, in.Object.Generation) <= prev.ObservedGeneration || prev.LastProcessed == nil:
		return 0
	case rep.Executor != v1.ExecutorDaemon || silent || gather.SaidSilent(in.Object) || in.Job != "" || in.JobTrouble != nil:
		return 0
	case in.Released != 0 || prev.ReleasedGeneration != 0:
		return 0
	}
	return max(in.Behind.Add(quickChange).Sub(in.Now), 0)
}

// jobTrouble is what is wrong with the Jobs of the present generation. A failed Job is swept away
// after an hour, and another is made, which may do no better. So the failure counts until the node
// has reported. Otherwise failed nodes would not count as failed while the next Job runs.
func (in In) jobTrouble() *v1.Remark {
	before := meta.FindStatusCondition(in.Object.Status.Conditions, v1.ConditionReady)
	if before == nil || before.Reason != v1.ReasonJobFailed || in.Object.Status.ObservedGeneration != in.Object.Generation ||
		in.JobTrouble != nil && in.JobTrouble.Reason == v1.ReasonJobFailed {
		return in.JobTrouble
	}
	return &v1.Remark{Reason: before.Reason, Message: before.Message}
}

// withoutReady drops the fields of s that may change without a new report: the condition Ready, and
// what the bridge asks of the node.
func withoutReady(s v1.MultiNicNodeConfigStatus) v1.MultiNicNodeConfigStatus {
	s.RequestedRun, s.RequestedAction, s.ReleasedGeneration, s.ReleasedAt, s.ReportLevel = "", "", 0, nil, 0
	s.Conditions = slices.DeleteFunc(slices.Clone(s.Conditions), func(c metav1.Condition) bool {
		return c.Type == v1.ConditionReady
	})
	return s
}

// silence judges the Lease, which only a daemon renews. It says whether the node is silent, or else
// how long until it would be; 0 means that silence means nothing here. A node that Jobs work on is
// never silent. If no report can be read, but somebody has renewed the Lease and there is no Job,
// the node had a daemon.
//
// A bridge that has just started has not seen the Lease stand still. If a node was called silent
// before, it stays silent until the Lease moves.
func silence(in In, rep *v1.Report) (silent bool, left time.Duration) {
	byDaemon := in.Pulse.Renewed && in.Job == ""
	if rep != nil {
		byDaemon = rep.Executor == v1.ExecutorDaemon || in.Pulse.Renewed && !in.mayBeByJob()
	}
	if !byDaemon || in.Pulse.Seen.IsZero() {
		return false, 0
	}
	if !in.Pulse.Moved && gather.SaidSilent(in.Object) {
		return true, 0
	}
	left = in.Pulse.Seen.Add(cmp.Or(in.SilentAfter, v1.SilentAfter)).Sub(in.Now)
	return left <= 0, max(left, 0)
}

// mayBeByJob says whether a report may come from a Job, as the report says. Without a bridge that
// makes Jobs it cannot be so for long, and a node that was renewed after its report was taken over
// has a daemon. The word of the node alone would let a machine that is gone stay Ready for ever.
func (in In) mayBeByJob() bool {
	taken := in.Object.Status.LastProcessed // to the second
	return in.Jobs && (in.Job != "" || !in.Pulse.Moved || taken == nil || in.Pulse.Seen.Before(taken.Add(time.Second)))
}
