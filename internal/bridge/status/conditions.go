package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// conditions puts a finding into words, sorted by type. A condition's transition time moves only
// with its status. Conditions of types that are not ours stay as they are.
func (f finding) conditions(generation int64, prev []metav1.Condition, now time.Time) []metav1.Condition {
	out := []metav1.Condition{f.degradedCondition(), f.progressingCondition(generation), f.readyCondition(generation)}
	for i := range out {
		c := &out[i]
		c.ObservedGeneration = generation
		c.Message = v1.Printable(c.Message, gather.MaxConditionMessage)
		c.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
		if before := meta.FindStatusCondition(prev, c.Type); before != nil && before.Status == c.Status {
			c.LastTransitionTime = before.LastTransitionTime
		}
	}
	for _, c := range prev {
		if meta.FindStatusCondition(out, c.Type) == nil {
			out = append(out, c)
		}
	}
	return sorted(out)
}

// sorted is a copy in the order of the types. The API server keeps the order in which the
// conditions first came.
func sorted(conditions []metav1.Condition) []metav1.Condition {
	out := slices.Clone(conditions)
	slices.SortFunc(out, func(a, b metav1.Condition) int { return cmp.Compare(a.Type, b.Type) })
	return out
}

func (f finding) readyCondition(generation int64) metav1.Condition {
	c := metav1.Condition{Type: v1.ConditionReady, Status: metav1.ConditionFalse}
	switch {
	case f.silent:
		c.Status, c.Reason = metav1.ConditionUnknown, v1.ReasonNodeSilent
		c.Message = "the node has stopped renewing its Lease; what is said here is the last it said"
	case f.garbage != "":
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, v1.ReasonReportRefused, f.garbage
	case f.job != nil && f.job.Reason == v1.ReasonJobFailed:
		c.Reason, c.Message = f.job.Reason, f.job.Message
	case f.unheard:
		c.Status, c.Reason = metav1.ConditionUnknown, v1.ReasonNoReport
		c.Message = "the node has not reported on this object yet: is multinicd running and joined there?"
	case f.state == v1.StateConfigured:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1.ReasonAllInterfacesConfigured, f.allDone()
	case f.state == v1.StateInProgress && f.degraded != nil && f.degraded.Reason == v1.ReasonDriftFighting:
		c.Reason, c.Message = f.degraded.Reason, f.degraded.Message
	case f.state == v1.StateInProgress:
		c.Reason, c.Message = v1.ReasonApplying, fmt.Sprintf("generation %d is being applied", generation)
	case f.state == v1.StatePending && f.removed != "":
		c.Reason, c.Message = v1.ReasonRemoved, f.removed
	case f.state == v1.StatePending:
		c.Reason, c.Message = v1.ReasonInterfacesWaiting, f.list(v1.StatePending)
	case f.refused != nil:
		c.Reason, c.Message = f.refused.Reason, f.refused.Message
	default:
		c.Reason, c.Message = v1.ReasonInterfacesFailed, f.list(v1.StateFailed)
	}
	return c
}

func (f finding) progressingCondition(generation int64) metav1.Condition {
	c := metav1.Condition{Type: v1.ConditionProgressing, Status: metav1.ConditionFalse, Reason: v1.ReasonSettled}
	switch {
	case f.unheard:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1.ReasonNoReport, "waiting for the node's first report"
	case f.state == v1.StateInProgress:
		c.Status, c.Reason = metav1.ConditionTrue, v1.ReasonApplying
		c.Message = fmt.Sprintf("generation %d is being applied", generation)
	}
	return c
}

func (f finding) degradedCondition() metav1.Condition {
	c := metav1.Condition{Type: v1.ConditionDegraded, Status: metav1.ConditionTrue}
	switch {
	case f.garbage != "":
		c.Reason, c.Message = v1.ReasonReportRefused, f.garbage
	case f.refused != nil:
		c.Reason, c.Message = f.refused.Reason, f.refused.Message
	case f.count(v1.StateFailed) > 0:
		c.Reason, c.Message = v1.ReasonInterfacesFailed, f.list(v1.StateFailed)
	case f.degraded != nil && !f.degraded.IsNote():
		c.Reason, c.Message = f.degraded.Reason, f.degraded.Message
	case f.job != nil:
		c.Reason, c.Message = f.job.Reason, f.job.Message
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1.ReasonAsExpected, f.note
		if f.degraded != nil {
			c.Message = f.degraded.Reason + ": " + f.degraded.Message
		}
	}
	return c
}

func (f finding) allDone() string {
	switch n := len(f.nics); n {
	case 0:
		return "No interfaces are wanted"
	case 1:
		return "1 interface configured successfully"
	default:
		return fmt.Sprintf("All %d interfaces configured successfully", n)
	}
}

// list names the NICs in a state: "1 of 2 interfaces configured; multinic2: WaitingForNIC: no link
// has this MAC address".
func (f finding) list(s State) string {
	parts := []string{fmt.Sprintf("%d of %d interfaces configured", f.count(v1.StateConfigured), len(f.nics))}
	for _, n := range f.nics {
		if n.Status != s {
			continue
		}
		part := cmp.Or(n.Name, n.MACAddress) + ": " + n.Reason
		if n.Message != "" {
			part += ": " + n.Message
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}
