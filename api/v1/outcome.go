package v1

import (
	"cmp"
	"fmt"
	"slices"
)

// The exit codes of `multinicd apply`. The results of runs and Jobs carry them too. If there are
// several, the gravest counts, in the order of Gravest.
const (
	ExitDone           = 0
	ExitFailed         = 1 // failed before any change
	ExitUsage          = 2
	ExitRolledBack     = 3
	ExitRollbackFailed = 4
	ExitWaiting        = 5 // some NICs wait, the others are done
	ExitRefused        = 6 // some NICs were refused, the others are done
	ExitLocked         = 7 // another multinicd is at work
)

// gravity of the exit codes, the least grave first.
var gravity = []int32{ExitDone, ExitWaiting, ExitRefused, ExitLocked, ExitUsage, ExitFailed, ExitRolledBack, ExitRollbackFailed}

// Gravest is the gravest of the codes; 0 if there is none. A code that is not one of ours counts as
// ExitFailed.
func Gravest(codes ...int32) int32 {
	place := func(c int32) int {
		if i := slices.Index(gravity, c); i >= 0 {
			return i
		}
		return slices.Index(gravity, ExitFailed)
	}
	worst := int32(ExitDone)
	for _, c := range codes {
		if place(c) > place(worst) {
			worst = gravity[place(c)]
		}
	}
	return worst
}

// Outcome is how a change ended that did not configure a NIC as wanted.
type Outcome string

// The outcomes. Only after RollbackFailed is the host neither as before nor as wanted.
const (
	OutcomeWaiting        Outcome = "Waiting"        // there was nothing to change yet
	OutcomeRefused        Outcome = "Refused"        // not begun
	OutcomeFailed         Outcome = "Failed"         // ended before anything was changed
	OutcomeRolledBack     Outcome = "RolledBack"     // failed, and undone
	OutcomeRollbackFailed Outcome = "RollbackFailed" // failed, and not undone completely
)

// ofOutcome has the exit code of each outcome.
var ofOutcome = map[Outcome]int32{
	OutcomeWaiting: ExitWaiting, OutcomeRefused: ExitRefused, OutcomeFailed: ExitFailed,
	OutcomeRolledBack: ExitRolledBack, OutcomeRollbackFailed: ExitRollbackFailed,
}

// ofReason is the exit code that a reason most likely means. A node of 0.1.0 reports no outcomes,
// so its reasons are all that is known.
var ofReason = map[string]int32{
	ReasonRollbackFailed: ExitRollbackFailed,
	ReasonRolledBack:     ExitRolledBack, ReasonProbeFailed: ExitRolledBack, ReasonVerificationFailed: ExitRolledBack, ReasonChangeCrashed: ExitRolledBack,
	ReasonApplyFailed: ExitFailed, ReasonValidationFailed: ExitFailed,
	// another writer keeps undoing our change: the NIC is not as wanted, and nothing is waited for
	ReasonDriftFighting:  ExitFailed,
	ReasonCleanupRefused: ExitRefused,
}

// exitCode is the exit code that a NIC's row means.
func (n InterfaceStatus) exitCode() int32 {
	switch {
	case n.Status == StateConfigured:
		return ExitDone
	case n.Reason == ReasonDriftFighting:
		return ExitFailed
	case n.Status == StatePending || n.Status == StateInProgress:
		return ExitWaiting
	}
	if code, known := ofOutcome[n.Outcome]; known {
		return code
	}
	if code, known := ofReason[n.Reason]; known {
		return code
	}
	return ExitRefused
}

// exitCode is the exit code that a remark means: ExitDone, unless the remark is about a change.
func (m Remark) exitCode() int32 {
	if code, known := ofOutcome[m.Outcome]; known {
		return code
	}
	return ofReason[m.Reason]
}

// Graver says whether m means something worse than o. o may be nil.
func (m Remark) Graver(o *Remark) bool {
	if o == nil {
		return true
	}
	code, than := m.exitCode(), o.exitCode()
	return code != than && Gravest(code, than) == code
}

// Outcome is what a report says about a run of the action: the exit code, a reason and a message.
// Both texts are bounded as those of a report are. `multinicd apply` and `cleanup` end by the same
// function.
func (r Report) Outcome(action RunAction) (code int32, reason, message string) {
	code, reason, message = ExitDone, ReasonCompleted, fmt.Sprintf("%d interfaces are as wanted", len(r.Interfaces))
	graver := func(c int32, why, words string) {
		if c != code && Gravest(c, code) == c {
			code, reason, message = c, cmp.Or(why, ReasonApplyFailed), words
		}
	}
	if r.Refused != nil {
		graver(ExitRefused, r.Refused.Reason, r.Refused.Message)
	}
	for _, n := range r.Interfaces {
		graver(n.exitCode(), n.Reason, cmp.Or(n.Name, n.MACAddress)+": "+n.Message)
	}
	if r.Degraded != nil { // a NIC that has no row, because the object names it no more
		graver(r.Degraded.exitCode(), r.Degraded.Reason, r.Degraded.Message)
	}
	if r.Phase == PhaseApplying {
		graver(ExitWaiting, ReasonApplying, "the node is not done yet")
	}
	if action != ActionCleanup && r.Phase == PhaseRemoved {
		why := "every NIC was given back, and none is configured"
		if r.Degraded != nil && r.Degraded.Reason == ReasonRemoved {
			// by hand: the node says what ends it
			why = r.Degraded.Message
		}
		graver(ExitRefused, ReasonRemoved, why)
	}
	if action != ActionCleanup || code != ExitDone {
		return code, reason, message
	}
	if r.Phase != PhaseRemoved {
		return ExitFailed, ReasonApplyFailed, "some NICs could not be given back"
	}
	return code, reason, "every NIC was given back as it was found"
}

// Drifting says that a NIC of the object is not as wanted now, because somebody has changed it: the
// node is done with this generation, and at work on the NIC all the same.
func (c *MultiNicNodeConfig) Drifting(n InterfaceStatus) bool {
	s := c.Status
	return n.Reason == ReasonDriftFighting || n.Status == StateInProgress && s.ObservedGeneration == c.Generation && s.State != StateInProgress
}

// WithoutObject says what became of the NICs of a node that has no object: a reason, "" if the node
// has not said, and words for people.
func (r Report) WithoutObject() (reason, words string) {
	if r.Phase != PhaseRemoved {
		return "", "the node has not reported what became of its NICs"
	}
	if r.Degraded == nil || r.Degraded.Reason != ReasonRetained {
		return ReasonRemoved, "given back"
	}
	switch n := len(r.Interfaces); n {
	case 0: // the node runs an older version, which does not say which NICs
		return ReasonRetained, "NICs kept"
	case 1:
		return ReasonRetained, "1 NIC kept"
	default:
		return ReasonRetained, fmt.Sprintf("%d NICs kept", n)
	}
}
