package status

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
)

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

func (f finding) count(s State) int {
	n := 0
	for _, nic := range f.nics {
		if nic.Status == s {
			n++
		}
	}
	return n
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
				f.nics[i].LastConfigured, f.nics[i].LastRepair = before.LastConfigured, before.LastRepair
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
