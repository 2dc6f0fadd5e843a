package controller

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	v1 "multinicd/api/v1"
)

// RolloutOptions brake changes of many nodes. The zero value brakes nothing.
type RolloutOptions struct {
	// Max nodes may be in change at once; "" brakes nothing, else "5" or "10%" of
	// the objects there are, at least one.
	Max string
	// StopAfter so many failed nodes nothing more is released; 0: never.
	StopAfter int
}

// On: there is a brake.
func (o RolloutOptions) On() bool { return o.Max != "" }

// Check tells whether Max can be read, and StopAfter means something.
func (o RolloutOptions) Check() error {
	if o.StopAfter < 0 {
		return fmt.Errorf("to stop after %d failed nodes means nothing; 0: never", o.StopAfter)
	}
	_, err := o.limit(1)
	return err
}

// limit is how many of total nodes may be in change at once.
func (o RolloutOptions) limit(total int) (int, error) {
	text, percent := strings.CutSuffix(o.Max, "%")
	n, err := strconv.Atoi(text)
	switch {
	case o.Max == "":
		return total, nil
	case err != nil || n < 1 || percent && n > 100:
		return 0, fmt.Errorf("%q is neither a number of nodes nor a percentage", o.Max)
	case percent:
		return max(1, total*n/100), nil
	}
	return n, nil
}

// RolloutNode is what of a node's object counts for the brake.
type RolloutNode struct {
	Name       string
	UID        types.UID
	Generation int64
	// Released is the generation up to which the node may act.
	Released int64
	// Settled: the node has said how this generation ended, other than that it
	// waits for the release. Failed: it ended in failure.
	Settled, Failed bool
	// Reachable: somebody there would act on a release now.
	Reachable bool
}

// Rollout is what the brake decides.
type Rollout struct {
	// Release these, sorted by name.
	Release []RolloutNode
	// Waiting for a release after these, Changing with these, Failed.
	Waiting, Changing, Failed int
	// Stopped: something waits, and nothing is released any more because too many
	// have failed.
	Stopped bool
}

// Brake decides whom to release. It is a pure function of the objects: nothing is
// counted anywhere else, so that nothing can be forgotten.
//
// A node that was released and has not settled is in change, unless nobody is
// there who could settle it. As many are never released as could, by failing,
// bring more than StopAfter failures together: a bad change is stopped by the
// first ones. A failed node that gets another generation counts no more, so that
// the mended change goes on by itself.
func Brake(nodes []RolloutNode, o RolloutOptions) (Rollout, error) {
	var out Rollout
	limit, err := o.limit(len(nodes))
	if err != nil {
		return out, err
	}
	var waiting []RolloutNode
	for _, n := range nodes {
		switch {
		case n.Released < n.Generation && n.Settled:
			out.Release = append(out.Release, n) // it was changed before there was a brake
		case n.Released < n.Generation && n.Reachable:
			waiting = append(waiting, n)
		case n.Released < n.Generation:
			out.Waiting++
		case !n.Settled && n.Reachable:
			out.Changing++
		}
		if n.Failed {
			out.Failed++
		}
	}
	free := limit - out.Changing
	if o.StopAfter > 0 {
		free = min(free, o.StopAfter-out.Failed-out.Changing)
		out.Stopped = out.Failed >= o.StopAfter && len(waiting) > 0
	}
	free = max(0, min(free, len(waiting)))
	byName := func(a, b RolloutNode) int { return cmp.Compare(a.Name, b.Name) }
	slices.SortFunc(waiting, byName)
	out.Release = append(out.Release, waiting[:free]...)
	slices.SortFunc(out.Release, byName)
	out.Changing += free
	out.Waiting += len(waiting) - free
	return out, nil
}

// rolloutNode reads an object. released is what was decided meanwhile and does
// not stand in the object yet.
func rolloutNode(obj *v1.MultiNicNodeConfig, released int64, reachable bool) RolloutNode {
	s := obj.Status
	n := RolloutNode{Name: obj.Name, UID: obj.UID, Generation: obj.Generation, Released: max(s.ReleasedGeneration, released), Reachable: reachable}
	n.Settled = s.ObservedGeneration == obj.Generation && s.State != "" && s.State != v1.StateInProgress && s.LastProcessed != nil &&
		!slices.ContainsFunc(s.InterfaceStatuses, func(i v1.InterfaceStatus) bool { return i.Reason == v1.ReasonWaitingForRelease })
	n.Failed = n.Settled && s.State == v1.StateFailed
	return n
}
