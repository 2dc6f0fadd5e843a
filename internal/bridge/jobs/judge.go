package jobs

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// Execution says who configures a node's NICs.
type Execution string

// The ways of execution.
const (
	// ExecutionDaemon: the daemon on the node. No Job is ever made.
	ExecutionDaemon Execution = "daemon"
	// ExecutionJob: Jobs.
	ExecutionJob Execution = "job"
	// ExecutionAuto: the daemon if one lives, otherwise Jobs.
	ExecutionAuto Execution = "auto"
)

// ParseExecution reads one of the three words.
func ParseExecution(s string) (Execution, error) {
	switch e := Execution(s); e {
	case ExecutionDaemon, ExecutionJob, ExecutionAuto:
		return e, nil
	}
	return "", fmt.Errorf("%q is none of daemon, job, auto", s)
}

// of is the way of execution for a node's object. The object's annotation may override e. An
// annotation that is none of the three words does not count.
func (e Execution) of(obj *v1.MultiNicNodeConfig) Execution {
	if own, err := ParseExecution(obj.Annotations[v1.ExecutionAnnotation]); err == nil && e != ExecutionDaemon {
		return own
	}
	return e
}

// In is everything from which the bridge decides about a node's Jobs.
type In struct {
	// Execution is what was configured. Judge looks at the object's annotation itself.
	Execution Execution
	// Object has the status that was written last. It is nil if there is no object.
	Object *v1.MultiNicNodeConfig
	// Node says that there is a Node of the name.
	Node bool
	// Alive says that a daemon renews the node's Lease.
	Alive bool
	// Braked says that the rollout brake is on. A generation then has to be released.
	Braked bool
	// Report of the node.
	Report gather.Report
	// Jobs of the node, including those that are being deleted.
	Jobs []batchv1.Job
}

// Out is what is to be done. Both may be empty. If Create is set, every Job of the node has ended
// or is gone.
type Out struct {
	// Delete is the Job to delete, with all that it runs; nil: none.
	Delete *batchv1.Job
	// Create is the key of the Job to make; nil: none.
	Create *gather.JobKey
	// Why is the reason of either, for the log.
	Why string
}

// Judge decides. It is a pure function.
func Judge(in In) Out {
	want, why := wantedJob(in)
	var live *batchv1.Job // has another key than the one wanted
	for i := range in.Jobs {
		j := &in.Jobs[i]
		switch {
		case want != nil && gather.JobKeyOf(j) == *want && j.DeletionTimestamp == nil:
			return deleteStale(in, want) // it runs or has ended: either way one is enough
		case live == nil && !gather.JobEnded(j):
			live = j
		}
	}
	switch {
	case live == nil && want != nil:
		return Out{Create: want, Why: why}
	case live == nil || live.DeletionTimestamp != nil:
		return Out{}
	case want == nil && in.Object != nil && in.Node && satisfiedBy(in, live):
		return Out{} // its Pod is about to end, or waits for NICs until the deadline
	case want == nil && in.Object != nil && in.Node && releasedTo(in, live):
		return Out{} // it may be in the middle of a change
	}
	return Out{Delete: live, Why: cmp.Or(why, "a newer generation or run is wanted")}
}

// deleteStale ends a Job of another key that stands beside the wanted one. A bridge made it that
// did not know better.
func deleteStale(in In, want *gather.JobKey) Out {
	for i := range in.Jobs {
		if j := &in.Jobs[i]; gather.JobKeyOf(j) != *want && !gather.JobEnded(j) && j.DeletionTimestamp == nil {
			return Out{Delete: j, Why: "a newer generation or run is wanted"}
		}
	}
	return Out{}
}

// satisfiedBy says that the report answers the key of the Job that still runs, and that this key is
// the present one.
func satisfiedBy(in In, j *batchv1.Job) bool {
	k := gather.JobKeyOf(j)
	return k.UID == in.Object.UID && k.Generation == in.Object.Generation && byJob(in)
}

// releasedTo says that the Job works on the generation that is released, while a newer one waits
// for its release.
func releasedTo(in In, j *batchv1.Job) bool {
	k, o := gather.JobKeyOf(j), in.Object
	return in.Braked && byJob(in) && k.UID == o.UID && k.Generation == o.Status.ReleasedGeneration && k.Generation < o.Generation
}

// byJob says that Jobs are to work on the node at all.
func byJob(in In) bool {
	switch in.Execution.of(in.Object) {
	case ExecutionJob:
		return true
	case ExecutionAuto:
		return !in.Alive
	}
	return false
}

// wantedJob is the key of the Job that should be there, and why. It is nil if there should be none.
func wantedJob(in In) (*gather.JobKey, string) {
	o := in.Object
	switch {
	case o == nil || o.DeletionTimestamp != nil:
		return nil, "the object is gone"
	case !in.Node:
		return nil, "the Node is gone"
	case !byJob(in):
		return nil, "the node's daemon lives, or Jobs are switched off for it"
	case in.Braked && o.Status.ReleasedGeneration < o.Generation:
		return nil, "the generation is not released"
	}
	key := &gather.JobKey{UID: o.UID, Generation: o.Generation, Run: o.Status.RequestedRun}
	r := in.Report.Said
	if r != nil && r.UID == o.UID && r.Generation == o.Generation && r.Phase != v1.PhaseApplying &&
		(key.Run == "" || key.Run == r.Run) {
		return nil, ""
	}
	return key, "the node has not reported on this generation or run"
}

// Name names a Job of a node: multinic-agent-<node>-<timestamp>. A Job's name has at most 63
// characters. If the whole would be longer, the node's name is cut and gets a hash.
func Name(node string, at time.Time) string {
	const prefix, most = "multinic-agent-", 63
	stamp := "-" + at.UTC().Format("20060102150405")
	if len(prefix)+len(node)+len(stamp) <= most {
		return prefix + node + stamp
	}
	sum := sha256.Sum256([]byte(node))
	end := "-" + hex.EncodeToString(sum[:4]) + stamp
	return prefix + strings.TrimRight(node[:most-len(prefix)-len(end)], "-.") + end
}
