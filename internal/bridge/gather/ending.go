package gather

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	v1 "multinicd/api/v1"
)

// DatesReleases says that the bridge that wrote s also writes releasedAt, and that the CRDs have
// that field. If another bridge released, nobody knows whether the node has settled since. Such a
// node counts as in change until it settles.
func DatesReleases(s v1.MultiNicNodeConfigStatus) bool { return s.ReportLevel > 0 }

// outside are the reasons of NICs that say nothing against the change. A neighbour, or another link
// of that host, is in the way, and nothing was touched. On a hostile segment anybody can claim an
// address.
var outside = []string{v1.ReasonAddressInUse, v1.ReasonAmbiguousMAC, v1.ReasonNameTaken}

// Ending says how a generation has ended on a node. The results are Settled, Failed and Outside of
// rollout.Node. settled is false as long as the generation has not ended.
func Ending(generation int64, s v1.MultiNicNodeConfigStatus) (settled, failed, blameless bool) {
	if s.ObservedGeneration != generation || s.State == "" {
		return false, false, false
	}
	if ready := meta.FindStatusCondition(s.Conditions, v1.ConditionReady); ready != nil && ready.Reason == v1.ReasonJobFailed {
		return true, true, false // the next Job, which is made in an hour, may do no better
	}
	has := func(what func(v1.InterfaceStatus) bool) bool { return slices.ContainsFunc(s.InterfaceStatuses, what) }
	// A fight about a NIC begins after the NIC was configured, and may last for ever.
	fights := has(func(i v1.InterfaceStatus) bool { return i.Reason == v1.ReasonDriftFighting })
	underWay := s.State == v1.StateInProgress && (!fights || has(func(i v1.InterfaceStatus) bool {
		return i.Status == v1.StateInProgress && i.Reason != v1.ReasonDriftFighting
	}))
	waits := has(func(i v1.InterfaceStatus) bool { return i.Reason == v1.ReasonWaitingForRelease })
	if underWay || waits || s.LastProcessed == nil {
		return false, false, false
	}
	if s.State != v1.StateFailed {
		return true, false, fights
	}
	// An object that was refused as a whole may have no NIC.
	blameless = has(func(i v1.InterfaceStatus) bool { return i.Status == v1.StateFailed }) &&
		!has(func(i v1.InterfaceStatus) bool {
			return i.Status == v1.StateFailed && !slices.Contains(outside, i.Reason)
		})
	return true, !blameless, blameless
}
