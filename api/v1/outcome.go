package v1

import (
	"cmp"
	"fmt"
	"slices"
)

// The exit codes of `multinicd apply`, which the results of runs and Jobs carry
// too. Of several the gravest counts, in the order of Gravest.
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

// Gravest is that of the codes which counts; 0 where there is none. A code that
// is none of ours counts as ExitFailed.
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

// Outcome is what became of a change that did not bring a NIC to what is wanted.
type Outcome string

// The outcomes. Only after RollbackFailed the host is neither as before nor as
// wanted.
const (
	OutcomeWaiting        Outcome = "Waiting"        // there was nothing to change yet
	OutcomeRefused        Outcome = "Refused"        // not begun
	OutcomeFailed         Outcome = "Failed"         // ended before anything was changed
	OutcomeRolledBack     Outcome = "RolledBack"     // failed, and undone
	OutcomeRollbackFailed Outcome = "RollbackFailed" // failed, and not undone whole
)

// ofOutcome has the exit code of each outcome.
var ofOutcome = map[Outcome]int32{
	OutcomeWaiting: ExitWaiting, OutcomeRefused: ExitRefused, OutcomeFailed: ExitFailed,
	OutcomeRolledBack: ExitRolledBack, OutcomeRollbackFailed: ExitRollbackFailed,
}

// ofReason is what a reason most likely stands for: what is known of a change on
// a node of 0.1.0, which reports no outcomes.
var ofReason = map[string]int32{
	ReasonRollbackFailed: ExitRollbackFailed,
	ReasonRolledBack:     ExitRolledBack, ReasonProbeFailed: ExitRolledBack, ReasonVerificationFailed: ExitRolledBack, ReasonChangeCrashed: ExitRolledBack,
	ReasonApplyFailed: ExitFailed, ReasonValidationFailed: ExitFailed,
	ReasonDriftFighting: ExitFailed, // whoever undoes what we do has won for now: nothing is as wanted, and nothing is waited for
}

// exitCode is what a NIC's row stands for.
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

// exitCode is what a remark stands for: ExitDone, but for one about a change.
func (m Remark) exitCode() int32 {
	if code, known := ofOutcome[m.Outcome]; known {
		return code
	}
	return ofReason[m.Reason]
}

// Graver tells whether m stands for something worse than o; o may be nil.
func (m Remark) Graver(o *Remark) bool {
	if o == nil {
		return true
	}
	code, than := m.exitCode(), o.exitCode()
	return code != than && Gravest(code, than) == code
}

// Outcome is what a report says of a run of the action: the exit code, a reason
// and a message, bounded as those of a report are. By the same function
// `multinicd apply` and `cleanup` end.
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
	if r.Degraded != nil { // a NIC that has no row, since the object names it no more
		graver(r.Degraded.exitCode(), r.Degraded.Reason, r.Degraded.Message)
	}
	if r.Phase == PhaseApplying {
		graver(ExitWaiting, ReasonApplying, "the node is not done yet")
	}
	if action != ActionCleanup && r.Phase == PhaseRemoved {
		why := "every NIC was given back, and none is configured"
		if r.Degraded != nil && r.Degraded.Reason == ReasonRemoved { // by hand: the node says what ends it
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
