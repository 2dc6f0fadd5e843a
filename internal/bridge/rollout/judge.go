package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// Patience is how long a released node may take until it counts as failed.
const Patience = 10 * time.Minute

// Options of the brake, which slows changes of many nodes. The zero value brakes nothing.
type Options struct {
	// Max is how many nodes may be in change at once: "5", or "10%" of all objects, but at least
	// one. "" brakes nothing.
	Max string
	// StopAfter is the number of failed nodes after which nothing more is released; 0: never.
	StopAfter int
	// Patience is how long a released node may take to settle; 0 means the constant Patience.
	Patience time.Duration
}

// On says that there is a brake.
func (o Options) On() bool { return o.Max != "" }

// Check says whether Max can be read, and whether StopAfter and Patience make sense.
func (o Options) Check() error {
	if o.Patience < 0 {
		return fmt.Errorf("a patience of %s means nothing", o.Patience)
	}
	if o.StopAfter < 0 {
		return fmt.Errorf("to stop after %d failed nodes means nothing; 0: never", o.StopAfter)
	}
	_, err := o.Limit(1)
	return err
}

// Limit is how many of total nodes may be in change at once.
func (o Options) Limit(total int) (int, error) {
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

// Node is what the brake needs to know of a node's object.
type Node struct {
	Name       string
	UID        types.UID
	Generation int64
	// Released is the generation up to which the node may act.
	Released int64
	// Held is how long the node could have acted on Released.
	Held time.Duration
	// Settled: the node has said how this generation ended; that it waits for the release does not
	// count. Failed: it ended in failure. Outside: it ended in a failure that the change is not to
	// blame for, or in a fight with another writer.
	Settled, Failed, Outside bool
	// Reachable: somebody there would act on a release now.
	Reachable bool
}

// Out is what the brake decides.
type Out struct {
	// Release these nodes, sorted by name.
	Release []Node
	// Counts after this release: Waiting for a release; Changing; Failed, including the stuck ones;
	// Outside, with trouble that the change is not to blame for.
	Waiting, Changing, Failed, Outside int
	// Stuck nodes, sorted by name: released, and not settled in time, whether they can be reached
	// or not. They hold nobody up, and count as failed.
	Stuck []Node
	// FailedNodes are the names of those that count as failed, sorted.
	FailedNodes []string
	// Again is when the next node would be stuck; 0: none can be.
	Again time.Duration
	// Stopped: something waits, but nothing more is released because too many have failed.
	Stopped bool
}

// Judge decides which nodes to release. It is a pure function of the objects. Nothing is counted
// anywhere else, so nothing can be forgotten.
//
// A node that was released and has not settled is in change, unless nobody is there who could
// settle it. A node that does not settle within the patience counts as failed from then on. So no
// node holds up all the others, and a change after which nodes are no longer heard is stopped too.
//
// Judge never releases so many nodes that, if all of them failed, there would be more than
// StopAfter failures. So the first nodes stop a bad change. A failed node that gets a new
// generation no longer counts, so that a corrected change goes on by itself.
func Judge(nodes []Node, o Options) (Out, error) {
	var out Out
	limit, err := o.Limit(len(nodes))
	if err != nil {
		return out, err
	}
	patience := cmp.Or(o.Patience, Patience)
	var waiting []Node
	// in change, and nobody is there: they take no place, but may yet prove to have failed
	lost := 0
	for _, n := range nodes {
		switch {
		case n.Released < n.Generation && n.Settled:
			out.Release = append(out.Release, n) // it was changed before there was a brake
		case n.Released < n.Generation && n.Reachable:
			waiting = append(waiting, n)
		case n.Released < n.Generation:
			out.Waiting++
		case !n.Settled && n.Held >= patience:
			out.Stuck = append(out.Stuck, n)
			n.Failed = true
		case !n.Settled:
			if n.Reachable {
				out.Changing++
			} else {
				lost++
			}
			if left := patience - n.Held; out.Again == 0 || left < out.Again {
				out.Again = left
			}
		}
		switch {
		case n.Failed:
			out.Failed++
			out.FailedNodes = append(out.FailedNodes, n.Name)
		case n.Outside:
			out.Outside++
		}
	}
	free := limit - out.Changing
	if o.StopAfter > 0 {
		free = min(free, o.StopAfter-out.Failed-out.Changing-lost)
		out.Stopped = out.Failed >= o.StopAfter && len(waiting) > 0
	}
	free = max(0, min(free, len(waiting)))
	byName := func(a, b Node) int { return cmp.Compare(a.Name, b.Name) }
	slices.SortFunc(waiting, byName)
	out.Release = append(out.Release, waiting[:free]...)
	slices.SortFunc(out.Release, byName)
	slices.SortFunc(out.Stuck, byName)
	slices.Sort(out.FailedNodes)
	if free > 0 && out.Again == 0 {
		out.Again = patience
	}
	out.Changing += free
	out.Waiting += len(waiting) - free
	return out, nil
}

// nodeOf reads an object. released is what was decided meanwhile and is not in the object yet.
func nodeOf(obj *v1.MultiNicNodeConfig, released int64, reachable bool) Node {
	s := obj.Status
	n := Node{Name: obj.Name, UID: obj.UID, Generation: obj.Generation, Released: max(s.ReleasedGeneration, released), Reachable: reachable}
	n.Settled, n.Failed, n.Outside = gather.Ending(obj.Generation, s)
	if s.ReleasedGeneration == obj.Generation && s.ReleasedAt == nil && gather.DatesReleases(s) {
		n.Settled = true // it has settled before, and repairs something now
	}
	return n
}
