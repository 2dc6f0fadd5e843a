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

// exitOf is the exit code that one NIC's reason stands for.
func exitOf(n InterfaceStatus) int32 {
	switch {
	case n.Status == StateConfigured:
		return ExitDone
	case n.Status == StatePending || n.Status == StateInProgress:
		return ExitWaiting
	}
	switch n.Reason {
	case ReasonRollbackFailed:
		return ExitRollbackFailed
	case ReasonRolledBack, ReasonProbeFailed, ReasonVerificationFailed, ReasonChangeCrashed:
		return ExitRolledBack
	case ReasonApplyFailed, ReasonValidationFailed, ReasonDriftFighting:
		return ExitFailed
	}
	return ExitRefused
}

// Outcome is what a report says of a run of the action: the exit code, a reason
// and a message, bounded as those of a report are.
func (r Report) Outcome(action RunAction) (code int32, reason, message string) {
	if action == ActionCleanup {
		if r.Phase == PhaseRemoved {
			return ExitDone, ReasonCompleted, "every NIC was given back as it was found"
		}
		if r.Degraded != nil {
			return ExitFailed, r.Degraded.Reason, r.Degraded.Message
		}
		return ExitFailed, ReasonApplyFailed, "some NICs could not be given back"
	}
	if r.Refused != nil {
		return ExitRefused, r.Refused.Reason, r.Refused.Message
	}
	var worst *InterfaceStatus
	for _, n := range r.Interfaces {
		if c := exitOf(n); c != ExitDone && Gravest(c, code) == c && (worst == nil || c != code) {
			code, worst = c, &n
		}
	}
	if worst != nil {
		return code, cmp.Or(worst.Reason, ReasonApplyFailed), fmt.Sprintf("%s: %s", worst.Name, worst.Message)
	}
	return ExitDone, ReasonCompleted, fmt.Sprintf("%d interfaces are as wanted", len(r.Interfaces))
}
