package status

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	// Job of the object's present generation ("" for none), and what is wrong with it (nil for
	// nothing), see troubleOf.
	Job        string
	JobTrouble *v1.Remark
	// Released is the generation up to which the rollout brake lets the node act: -1 for none yet,
	// 0 if there is no brake. Reachable says that somebody there would act on a release.
	Released  int64
	Reachable bool
	// Runs of the node that are not deleted yet, in any order.
	Runs []v1.MultiNicNodeRun
	// Now is the time by the bridge's clock.
	Now time.Time
	// SilentAfter; 0 means the constant v1.SilentAfter.
	SilentAfter time.Duration
}

// finding is what is known of a node before it is put into words.
type finding struct {
	state State
	nics  []v1.InterfaceStatus
	// refused and degraded as in the report.
	refused, degraded *v1.Remark
	// note is the last note that was reported: good to know, but nobody needs to act.
	note string
	// garbage says why the report cannot be used; "" if it can.
	garbage string
	silent  bool
	// removed says that every NIC was given back, and what ends that. It is "" if they were not.
	removed string
	// unheard: no node has spoken about this object.
	unheard bool
	// job is what is wrong with the Job that is to make the node speak. It is nil if the node has
	// spoken, or if nothing is wrong.
	job *v1.Remark
}

// State is the API's.
type State = v1.State

// Out is what is said about a node.
type Out struct {
	Status v1.MultiNicNodeConfigStatus
	// Silent: the node counts as silent.
	Silent bool
	// Again is when silence would begin if the Lease stands still. It is 0 if the silence has
	// begun, or if silence means nothing for this node.
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
		f = underway(obj)
	case prev.ObservedGeneration == obj.Generation && prev.State != "":
		if rep == nil && err == nil && in.Job == "" && !out.Silent && !gather.SaidSilent(obj) {
			out.Status = in.requested(prev, rep, out.Silent)
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
	out.Status = in.requested(next, rep, out.Silent)
	return out
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

// requested is s with what the node is to do: the next run that it is asked for, and the generation
// that it may act on.
func (in In) requested(s v1.MultiNicNodeConfigStatus, rep *v1.Report, silent bool) v1.MultiNicNodeConfigStatus {
	done := ""
	if rep != nil {
		done = rep.Run
	}
	s.ReleasedGeneration, s.ReleasedAt, s.ReportLevel = in.Released, in.releasedAt(s, silent), v1.ReportLevel
	s.RequestedRun, s.RequestedAction = "", ""
	if run := nextRun(in.Runs, done); run != nil {
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
		byDaemon = rep.Executor == v1.ExecutorDaemon
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

// reported is what the node says of exactly this generation. The object says which NICs there are;
// the report says only how they are.
func reported(obj *v1.MultiNicNodeConfig, rep *v1.Report) finding {
	nics, errs := obj.Validate()
	f := finding{nics: rows(nics), refused: rep.Refused, degraded: rep.Degraded}
	said, waits := map[string]v1.InterfaceStatus{}, false
	for _, n := range rep.Interfaces {
		if n.MACAddress != v1.NoMAC { // nobody knows which entry a row without a MAC is about
			said[n.MACAddress] = n
		}
		waits = waits || n.Reason == v1.ReasonWaitingForRelease
	}
	wrong := unreadable(nics, errs)
	for i := range f.nics {
		n := &f.nics[i]
		switch s, ok := said[n.MACAddress]; {
		case ok:
			s.ID, s.Name, s.MACAddress = n.ID, n.Name, n.MACAddress
			*n = s
		case rep.Refused != nil:
			n.Status, n.Reason, n.Message = v1.StateFailed, rep.Refused.Reason, rep.Refused.Message
		case rep.Phase == v1.PhaseApplying:
			n.Status, n.Reason = v1.StateInProgress, v1.ReasonApplying
		case rep.Phase == v1.PhaseRemoved:
			n.Status, n.Reason = v1.StatePending, v1.ReasonRemoved
			f.removed = "every NIC was given back, as the cluster asked; multinic-bridge trigger, or the next change of the object, configures them again"
			if rep.Degraded != nil && rep.Degraded.Reason == v1.ReasonRemoved {
				// by hand: the node says what ends it
				f.removed = rep.Degraded.Message
			}
		case waits:
			n.Status, n.Reason, n.Message = v1.StatePending, v1.ReasonWaitingForRelease, v1.WaitingForReleaseMessage
		case wrong[n.MACAddress] != "":
			n.Status, n.Reason, n.Message = v1.StateFailed, v1.ReasonInvalidSpec, wrong[n.MACAddress]
		default:
			n.Status, n.Reason, n.Message = v1.StatePending, v1.ReasonNoReport, "the node did not report on this NIC"
		}
	}
	switch {
	case rep.Refused != nil || f.count(v1.StateFailed) > 0:
		f.state = v1.StateFailed
	case f.count(v1.StatePending) > 0:
		f.state = v1.StatePending
	case rep.Phase == v1.PhaseApplying || f.count(v1.StateInProgress) > 0:
		f.state = v1.StateInProgress
	default:
		f.state = v1.StateConfigured
	}
	return f
}

// unreadable says what is wrong with the entries that today's rules refuse. The key is macAddress
// as it is wanted. If the macAddress of an entry is no address, the node cannot name the entry.
// What it says about that entry is then in no row of its own.
func unreadable(nics []v1.Normal, errs v1.FieldErrors) map[string]string {
	out := map[string]string{}
	for _, e := range errs {
		if e.Index < 0 {
			continue
		}
		if mac := nics[e.Index].MACAddress; out[mac] == "" {
			out[mac] = v1.Printable(e.Error(), v1.MaxMessage)
		}
	}
	return out
}

// underway: the node knows the object, but has not spoken about this generation.
func underway(obj *v1.MultiNicNodeConfig) finding {
	f := finding{state: v1.StateInProgress, nics: wanted(obj)}
	for i := range f.nics {
		f.nics[i].Status, f.nics[i].Reason = v1.StateInProgress, v1.ReasonApplying
		for _, before := range obj.Status.InterfaceStatuses {
			if before.MACAddress == f.nics[i].MACAddress {
				f.nics[i].LastConfigured = before.LastConfigured
			}
		}
	}
	return f
}

// heldBack: the rollout has not released this generation, and the node has not spoken about it.
func heldBack(obj *v1.MultiNicNodeConfig) finding {
	f := underway(obj)
	f.state = v1.StatePending
	for i := range f.nics {
		f.nics[i].Status, f.nics[i].Reason, f.nics[i].Message = v1.StatePending, v1.ReasonWaitingForRelease, v1.WaitingForReleaseMessage
	}
	return f
}

func unheard(obj *v1.MultiNicNodeConfig) finding {
	f := finding{state: v1.StatePending, nics: wanted(obj), unheard: true}
	for i := range f.nics {
		f.nics[i].Status, f.nics[i].Reason = v1.StatePending, v1.ReasonNoReport
	}
	return f
}

// kept is what was said of this generation before.
func kept(prev v1.MultiNicNodeConfigStatus) finding {
	f := finding{state: prev.State, nics: prev.InterfaceStatuses, unheard: prev.LastProcessed == nil}
	if c := meta.FindStatusCondition(prev.Conditions, v1.ConditionDegraded); c != nil && c.Status == metav1.ConditionTrue &&
		!slices.Contains([]string{v1.ReasonInterfacesFailed, v1.ReasonReportRefused, v1.ReasonJobFailed, v1.ReasonJobStuck}, c.Reason) {
		f.degraded = &v1.Remark{Reason: c.Reason, Message: c.Message}
	} else if c != nil && c.Status == metav1.ConditionFalse {
		f.note = c.Message
	}
	if c := meta.FindStatusCondition(prev.Conditions, v1.ConditionReady); c != nil && c.Reason == v1.ReasonRemoved {
		f.removed = c.Message
	}
	return f
}

// wanted are the NICs of the object when nothing is known about them.
func wanted(obj *v1.MultiNicNodeConfig) []v1.InterfaceStatus {
	nics, _ := obj.Validate()
	return rows(nics)
}

// rows are the NICs of an object, sorted by id.
func rows(nics []v1.Normal) []v1.InterfaceStatus {
	var out []v1.InterfaceStatus
	for _, n := range nics {
		if n.ID < 0 || n.ID > v1.MaxID {
			n.ID, n.Name = 0, "" // no name that a link can have
		}
		out = append(out, v1.InterfaceStatus{ID: n.ID, Name: n.Name, MACAddress: n.MACAddress})
	}
	slices.SortStableFunc(out, func(a, b v1.InterfaceStatus) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.MACAddress, b.MACAddress))
	})
	return out
}

func (f finding) count(s State) int {
	n := 0
	for _, nic := range f.nics {
		if nic.Status == s {
			n++
		}
	}
	return n
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
