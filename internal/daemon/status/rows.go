package status

import (
	"fmt"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/pace"
)

// triedAgain ends the message of a change that failed. It names no point in time: the report would
// be another one at each try.
var triedAgain = fmt.Sprintf("; tried again by itself within %d min", pace.RetryMax/time.Minute)

// Said is the status in the words of the wire, as far as they follow from it alone: how far the
// node is, a row for each NIC of the object, why the whole object was refused, and what became of
// NICs that it names no more.
func (s Node) Said() v1.Report {
	r := v1.Report{Schema: v1.ReportSchema, Phase: v1.PhaseDone}
	if s.Reason != "" {
		r.Refused = &v1.Remark{Reason: s.Reason, Message: s.Message}
	}
	for _, n := range s.NICs {
		if !n.NextTry.IsZero() {
			n.Message = v1.Printable(n.Message, v1.MaxMessage-len(triedAgain)) + triedAgain
		}
		if n.Unwanted || n.Reason == v1.ReasonDriftFighting {
			m := v1.Remark{Reason: n.Reason, Message: n.Name + ": " + n.Message}
			if n.Unwanted {
				m.Outcome = v1.Outcome(n.Outcome)
			}
			if m.Graver(r.Degraded) {
				r.Degraded = &m
			}
		}
		if !n.Unwanted { // the status of the object has no row for one that is
			r.Interfaces = append(r.Interfaces, n.row())
		}
	}
	switch s.State {
	case string(v1.PhaseRemoved):
		r.Phase = v1.PhaseRemoved
		if len(s.NICs) > 0 {
			r.Phase = v1.PhaseApplying // some could not be given back yet
		}
	case string(v1.StatePending):
		if Overall(s.NICs) != v1.StatePending { // the newest object waits for its release, whatever is said of the NICs of the one in force
			r.Phase = v1.PhaseApplying
		}
	}
	return r
}

// row is what the report has of a NIC.
func (n NIC) row() v1.InterfaceStatus {
	is := v1.InterfaceStatus{ID: int32(n.ID), Name: n.Name, MACAddress: n.MAC, Status: n.Status, Reason: n.Reason, Message: n.Message}
	if n.Status == v1.StateFailed {
		is.Outcome = v1.Outcome(n.Outcome)
	}
	if n.Have == nil || n.Reason == v1.ReasonDriftFighting { // what it has is another thing each time
		return is
	}
	is.MTU, is.Address = int32(n.Have.MTU), n.address
	return is
}

// ExitCode is what `multinicd apply`, rollback and cleanup end with after this status, and what a
// run's status says of the report on it.
func (s Node) ExitCode() int {
	r := s.Said()
	switch s.State {
	case string(v1.StateConfigured), string(v1.StatePending), string(v1.StateInProgress), string(v1.PhaseRemoved):
	case string(v1.StateFailed):
		if r.Refused == nil && Overall(s.NICs) != v1.StateFailed { // told by a daemon of 0.1.0, which gives no reason
			return v1.ExitRefused
		}
	default: // nothing was done, and nothing is known of the NICs
		return v1.ExitFailed
	}
	action := v1.ActionTrigger
	if s.State == string(v1.PhaseRemoved) { // that is what was asked for, or what the deleted object stands for
		action = v1.ActionCleanup
	}
	code, _, _ := r.Outcome(action)
	return int(code)
}
