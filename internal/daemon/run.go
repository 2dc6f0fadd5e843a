package daemon

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

// due gives the run that is asked for and not yet done; nil where there is none.
func (w Wish) due() *Run {
	if w.Object == nil || w.Object.Status.RequestedRun == "" || slices.Contains(w.Ran, w.Object.Status.RequestedRun) {
		return nil
	}
	return &Run{w.Object.Status.RequestedRun, w.Object.Status.RequestedAction}
}

// begin notes that a run is being done, and what it asks for. A daemon that is killed in the midst
// does the pass again after its start, and reports on the run then. d.state.mu must be held.
func (d *Daemon) begin(run *Run) {
	d.tryNow()
	d.state.wish.Cleaned = run.Action == v1.ActionCleanup
	d.state.wish.Ran = append(slices.Clone(d.state.wish.Ran), run.UID)
	d.state.wish.Ran = d.state.wish.Ran[max(0, len(d.state.wish.Ran)-maxRan):]
	d.Log.Info("the cluster asks for a run", "node", d.Node, "run", run.UID, "action", string(run.Action))
}

// lastRun is the run that a report answers; empty where the node was never asked for one.
func (w Wish) lastRun() string {
	if len(w.Ran) == 0 {
		return ""
	}
	return w.Ran[len(w.Ran)-1]
}

const cleanedMessage = "every NIC was given back, as the cluster asked; the next change of the object, or a trigger, configures them again"
