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

// Patience is how long a node that was released may take until it counts as
// failed.
const Patience = 10 * time.Minute

// Options brake changes of many nodes. The zero value brakes nothing.
type Options struct {
	// Max nodes may be in change at once; "" brakes nothing, else "5" or "10%" of
	// the objects there are, at least one.
	Max string
	// StopAfter so many failed nodes nothing more is released; 0: never.
	StopAfter int
	// Patience with a node that was released and does not settle; 0 means the
	// constant.
	Patience time.Duration
}

// On: there is a brake.
func (o Options) On() bool { return o.Max != "" }

// Check tells whether Max can be read, and StopAfter and Patience mean something.
func (o Options) Check() error {
	if o.Patience < 0 {
		return fmt.Errorf("a patience of %s means nothing", o.Patience)
	}
	if o.StopAfter < 0 {
		return fmt.Errorf("to stop after %d failed nodes means nothing; 0: never", o.StopAfter)
	}
	_, err := o.limit(1)
	return err
}

// limit is how many of total nodes may be in change at once.
func (o Options) limit(total int) (int, error) {
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

// Node is what of a node's object counts for the brake.
type Node struct {
	Name       string
	UID        types.UID
	Generation int64
	// Released is the generation up to which the node may act.
	Released int64
	// Held is how long the node could have acted on that.
	Held time.Duration
	// Settled: the node has said how this generation ended, other than that it
	// waits for the release. Failed: it ended in failure. Outside: it ended in one
	// that the change is not to blame for, or in a fight with another writer.
	Settled, Failed, Outside bool
	// Reachable: somebody there would act on a release now.
	Reachable bool
}

// Out is what the brake decides.
type Out struct {
	// Release these, sorted by name.
	Release []Node
	// Waiting for a release after these, Changing with these, Failed with those that
	// are stuck, Outside: with trouble that the change is not to blame for.
	Waiting, Changing, Failed, Outside int
	// Stuck, sorted by name: released, and not settled in time, whether they are
	// there or not. They hold up nobody, and count as failed.
	Stuck []Node
	// FailedNodes are the names of those that count as failed, sorted.
	FailedNodes []string
	// Again is when the next one would be stuck; 0: none can be.
	Again time.Duration
	// Stopped: something waits, and nothing is released any more because too many
	// have failed.
	Stopped bool
}

// Judge decides whom to release. It is a pure function of the objects: nothing is
// counted anywhere else, so that nothing can be forgotten.
//
// A node that was released and has not settled is in change, unless nobody is
// there who could settle it. One that does not settle within the patience counts as
// failed from then on, so that nobody holds up all others, and so that a change after
// which nobody is heard any more is stopped too. As many are never released as could, by failing,
// bring more than StopAfter failures together: a bad change is stopped by the
// first ones. A failed node that gets another generation counts no more, so that
// the mended change goes on by itself.
func Judge(nodes []Node, o Options) (Out, error) {
	var out Out
	limit, err := o.limit(len(nodes))
	if err != nil {
		return out, err
	}
	patience := cmp.Or(o.Patience, Patience)
	var waiting []Node
	lost := 0 // in change, and nobody is there: they hold no place, and may yet prove to have failed
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

// nodeOf reads an object. released is what was decided meanwhile and does
// not stand in the object yet.
func nodeOf(obj *v1.MultiNicNodeConfig, released int64, reachable bool) Node {
	s := obj.Status
	n := Node{Name: obj.Name, UID: obj.UID, Generation: obj.Generation, Released: max(s.ReleasedGeneration, released), Reachable: reachable}
	n.Settled, n.Failed, n.Outside = gather.Ending(obj.Generation, s)
	if s.ReleasedGeneration == obj.Generation && s.ReleasedAt == nil && gather.DatesReleases(s) {
		n.Settled = true // it has settled before, and repairs something now
	}
	return n
}
