package runs

import (
	"fmt"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

const (
	// keepRun is how long a run stays after it has ended.
	keepRun = time.Hour
	// runPatience is how long a node may leave a run unanswered.
	runPatience = time.Hour
)

// In is everything from which the bridge decides about a run.
type In struct {
	// Run is not changed.
	Run *v1.MultiNicNodeRun
	// Object of the node, with the status that was written last; nil if there is none.
	Object *v1.MultiNicNodeConfig
	// Report of the node.
	Report gather.Report
	// Now is the time by the bridge's clock.
	Now time.Time
}

// Out is what happens to a run.
type Out struct {
	// Delete the run. If false, Status is the status that it should have.
	Delete bool
	Status v1.MultiNicNodeRunStatus
	// Again is when to look again; 0: at the next event.
	Again time.Duration
}

// Judge decides. It is a pure function.
//
// Only a report that names the run's uid says how the run ended. A run that has ended never changes
// again.
func Judge(in In) Out {
	run := in.Run
	if gather.RunEnded(run) {
		left := keepRun
		if run.Status.FinishedAt != nil {
			left = run.Status.FinishedAt.Add(keepRun).Sub(in.Now)
		}
		return Out{Delete: left <= 0, Status: run.Status, Again: max(left, 0)}
	}
	end := func(code int32, generation int64, reason, message string) Out {
		now := gather.MetaTime(in.Now)
		s := v1.MultiNicNodeRunStatus{State: v1.RunFailed, ExitCode: &code, ObservedGeneration: generation, Reason: reason,
			Message: v1.Printable(message, gather.MaxConditionMessage), FinishedAt: &now}
		if code == v1.ExitDone {
			s.State = v1.RunSucceeded
		}
		return Out{Status: s, Again: keepRun}
	}
	if in.Object == nil {
		return end(v1.ExitFailed, 0, v1.ReasonNoObject, fmt.Sprintf("there is no MultiNicNodeConfig %s, by which the node could be asked", run.Spec.Node))
	}
	if r := in.Report.Said; r != nil && r.Run == string(run.UID) && r.Phase != v1.PhaseApplying {
		code, reason, message := r.Outcome(run.Spec.Action)
		return end(code, r.Generation, reason, message)
	}
	left := run.CreationTimestamp.Add(runPatience).Sub(in.Now)
	if left <= 0 {
		return end(v1.ExitFailed, 0, v1.ReasonRunUnanswered, "the node has not answered within an hour: is multinicd running there, and joined?")
	}
	s := v1.MultiNicNodeRunStatus{State: v1.RunPending, Reason: v1.ReasonQueued, Message: "an older run of this node comes first, or the brake lets other nodes give their NICs back first"}
	if in.Object.Status.RequestedRun == string(run.UID) {
		s = v1.MultiNicNodeRunStatus{State: v1.RunRunning, Reason: v1.ReasonAwaitingNode, Message: "the node has been asked"}
	}
	return Out{Status: s, Again: left}
}
