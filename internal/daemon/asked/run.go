package asked

import (
	"slices"

	v1 "multinicd/api/v1"
)

// maxRan is how many runs the node remembers to have done. Only the last is asked for again, and
// only by a bridge that has not read of it yet.
const maxRan = 8

// Run is what the cluster asks the node to do once.
type Run struct {
	UID    string // of the MultiNicNodeRun
	Action v1.RunAction
}

// Due gives the run that is asked for and not yet done; nil where there is none.
func (w Wish) Due() *Run {
	if w.Object == nil || w.Object.Status.RequestedRun == "" || slices.Contains(w.Ran, w.Object.Status.RequestedRun) {
		return nil
	}
	return &Run{w.Object.Status.RequestedRun, w.Object.Status.RequestedAction}
}

// Doing is the wish once a run is being done, with what the run asks for. keeps: this node gives its
// NICs back at nobody's word but its own.
func (w Wish) Doing(run *Run, keeps bool) Wish {
	cleanup := run.Action == v1.ActionCleanup
	w.Cleaned, w.Vetoed = cleanup && !keeps, cleanup && keeps
	w.Ran = append(slices.Clone(w.Ran), run.UID)
	w.Ran = w.Ran[max(0, len(w.Ran)-maxRan):]
	return w
}

// LastRun is the run that a report answers; empty where the node was never asked for one.
func (w Wish) LastRun() string {
	if len(w.Ran) == 0 {
		return ""
	}
	return w.Ran[len(w.Ran)-1]
}
