package apply

import (
	"strings"

	"multinicd/plan"
)

// Outcome is how an action ended.
type Outcome string

// The outcomes. After RolledBack and Failed the host is as it was before.
const (
	Unchanged      Outcome = "Unchanged"      // nothing to do
	Done           Outcome = "Done"           // as wanted, verified and persisted
	Refused        Outcome = "Refused"        // not touched
	Waiting        Outcome = "Waiting"        // not there
	Failed         Outcome = "Failed"         // failed before anything was changed
	RolledBack     Outcome = "RolledBack"     // failed and undone
	RollbackFailed Outcome = "RollbackFailed" // failed and not undone completely
)

// Result is what became of one NIC.
type Result struct {
	Action  plan.Action
	Outcome Outcome
	Reason  plan.Reason
	Message string   // for a person: what failed, and what to do
	Steps   []string // names of the steps done, in order
	Files   []string // paths written or removed, in order
	// Set if something was tried: Failed, RolledBack, RollbackFailed, and a refusal by a neighbour.
	Err error
}

func (r Result) fail(o Outcome, reason plan.Reason, err error) Result {
	r.Outcome, r.Reason, r.Err = o, reason, err
	r.Message = strings.ReplaceAll(err.Error(), "\n", "; ") // several errors have a line each
	return r
}

// stepError gives a failed step its reason.
type stepError struct {
	reason plan.Reason
	err    error
}

func (e *stepError) Error() string { return e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }
