package legacy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
	"multinicd/internal/terminal"
)

// The conditions of an older object. docs/migration.md has a row for each.
const (
	// ConditionApplied: every entry is the object of its node.
	ConditionApplied = "Applied"
	// ConditionInProgress: some nodes are not done.
	ConditionInProgress = "InProgress"
	// ConditionReady: every node is Configured.
	ConditionReady = "Ready"
	// ConditionTooLarge: the status does not have every node. Absent otherwise.
	ConditionTooLarge = "TooLarge"
)

const (
	// maxObject bounds an older object with its status, in bytes of JSON. etcd takes requests of
	// 1.5 MiB (--max-request-bytes, 3.6), and the API server adds to what is written.
	maxObject = 1_400_000
	// maxNamed is how many entries a message names.
	maxNamed = 3
	// maxMessage bounds the message of a node, in bytes.
	maxMessage = 256
)

// Aggregate makes the status of an older object of its entries, as Judge gave them or as they became,
// and of the objects of nodes. It is a pure function. Entries of other objects are passed over.
// Nothing has a new time if nothing has changed.
func Aggregate(old *v1.MultiNicBizConfig, entries []Entry, objects []*v1.MultiNicNodeConfig, now time.Time) v1.MultiNicBizConfigStatus {
	of := World{Objects: objects}.byName()
	out := v1.MultiNicBizConfigStatus{ObservedGeneration: old.Generation, ObservedSpecHash: old.Spec.SpecHash, Summary: &v1.BizSummary{}}
	var refused []Entry
	readOnly := false
	for _, e := range entries {
		if e.Old != old {
			continue
		}
		if e.Action == publish.Refused {
			refused = append(refused, e)
			readOnly = readOnly || e.Reason == ReadOnly
		}
		s := e.status(of[e.Node])
		out.NodeStatuses = append(out.NodeStatuses, s)
		out.Summary.TotalNodes++
		switch s.State {
		case v1.StateConfigured:
			out.Summary.ConfiguredNodes++
		case v1.StateFailed:
			out.Summary.FailedNodes++
		default:
			out.Summary.PendingNodes++
		}
	}
	out.Conditions = conditions(old, *out.Summary, refused, readOnly, shrink(old, &out), now)
	return out
}

// status is what is said of the node of an entry. have is the node's object, nil for none.
func (e Entry) status(have *v1.MultiNicNodeConfig) v1.BizNodeStatus {
	s := v1.BizNodeStatus{AttachedNodeID: e.InstanceID, AttachedNodeName: cmp.Or(e.Name, e.Node), State: v1.StatePending}
	if have != nil {
		s.State, s.LastProcessed, s.LastJobName = stateOf(have), have.Status.LastProcessed, have.Status.LastJobName
		if ready := meta.FindStatusCondition(have.Status.Conditions, v1.ConditionReady); ready != nil && s.State != v1.StateConfigured {
			s.Reason, s.Message = ready.Reason, ready.Message
		}
	}
	switch {
	case e.Action == publish.Refused:
		s.Reason, s.Message = string(e.Reason), e.Message
		if !e.follows() {
			s.State = v1.StateFailed
		}
	case e.Action == publish.Changed: // have is the object of before
		s.State = v1.StateInProgress
	}
	s.Message = terminal.Line(s.Message, maxMessage)
	return s
}

// follows says that the node has what it shall have, or may get it, although the entry is refused:
// its state is that of its object.
func (e Entry) follows() bool {
	switch e.Reason {
	case publish.NotOurs, publish.AnotherProvider, publish.HandedOver, TakenOver, ReadOnly:
		return true
	}
	return e.Reason.Temporary()
}

// stateOf is the state of an object, which is that of an older generation until the node has spoken.
func stateOf(o *v1.MultiNicNodeConfig) v1.State {
	switch s := o.Status; {
	case s.ObservedGeneration == 0 || s.State == "":
		return v1.StatePending
	case s.ObservedGeneration < o.Generation:
		return v1.StateInProgress
	default:
		return s.State
	}
}

// shrink takes nodes off the status until the older object is small enough to be stored: first those
// that are Configured, then all. It says whether it did.
func shrink(old *v1.MultiNicBizConfig, s *v1.MultiNicBizConfigStatus) bool {
	bare := *old
	bare.Status = v1.MultiNicBizConfigStatus{}
	left := maxObject - size(bare)
	if size(s.NodeStatuses) <= left {
		return false
	}
	var worse []v1.BizNodeStatus
	for _, n := range s.NodeStatuses {
		if n.State != v1.StateConfigured {
			worse = append(worse, n)
		}
	}
	if size(worse) > left {
		worse = nil
	}
	s.NodeStatuses = worse
	return true
}

func size(v any) int {
	text, err := json.Marshal(v)
	if err != nil {
		return maxObject // these fields have no error
	}
	return len(text)
}

// conditions are those of before with what has changed.
func conditions(old *v1.MultiNicBizConfig, sum v1.BizSummary, refused []Entry, readOnly, tooLarge bool, now time.Time) []metav1.Condition {
	out := append([]metav1.Condition(nil), old.Status.Conditions...)
	set := func(kind string, is bool, reason, message string) {
		c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message, ObservedGeneration: old.Generation, LastTransitionTime: metav1.NewTime(now)}
		if is {
			c.Status = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&out, c)
	}
	switch {
	case readOnly:
		set(ConditionApplied, false, string(ReadOnly), "the object is read-only, and nothing is made of its entries any more: change the MultiNicNodeConfig of the node")
	case len(refused) > 0:
		set(ConditionApplied, false, "EntriesLeftOut", fmt.Sprintf("%d of %d entries are left out: %s", len(refused), sum.TotalNodes, named(refused)))
	default:
		set(ConditionApplied, true, "EntriesApplied", fmt.Sprintf("all %d entries are in the objects of their nodes", sum.TotalNodes))
	}
	pending := fmt.Sprintf("%d of %d nodes are not done", sum.PendingNodes, sum.TotalNodes)
	if sum.PendingNodes > 0 {
		set(ConditionInProgress, true, "NodesPending", pending)
	} else {
		set(ConditionInProgress, false, "NothingPending", "every node has said how its change ended")
	}
	switch {
	case sum.FailedNodes > 0:
		set(ConditionReady, false, "NodesFailed", fmt.Sprintf("%d of %d nodes failed: nodeStatuses says why", sum.FailedNodes, sum.TotalNodes))
	case sum.PendingNodes > 0:
		set(ConditionReady, false, "NodesPending", pending)
	default:
		set(ConditionReady, true, "AllNodesConfigured", fmt.Sprintf("all %d nodes are configured", sum.TotalNodes))
	}
	if tooLarge {
		set(ConditionTooLarge, true, "StatusTooLarge", "nodeStatuses leaves nodes out that are Configured, or all: with them the object would be too large to be stored")
	} else {
		meta.RemoveStatusCondition(&out, ConditionTooLarge)
	}
	return out
}

// named names some entries, with the reason of each.
func named(entries []Entry) string {
	var words []string
	for _, e := range entries[:min(len(entries), maxNamed)] {
		words = append(words, fmt.Sprintf("%s: %s", e.title(), e.Reason))
	}
	if more := len(entries) - maxNamed; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, "; ")
}

// title is the best name that an entry has.
func (e Entry) title() string {
	return terminal.Line(cmp.Or(e.Node, e.Name, e.InstanceID, fmt.Sprintf("nodeConfigs[%d]", e.Index)), 100)
}

// Freeze makes of entries that would be written such as are refused: the older object counts no more.
func Freeze(entries []Entry) []Entry {
	out := append([]Entry(nil), entries...)
	for i := range out {
		if e := &out[i]; e.Action == publish.Created || e.Action == publish.Changed {
			e.refuse(ReadOnly, "the older object counts no more, and the object of the node differs from the entry")
			e.Object = nil
		}
	}
	return out
}
