package daemon

import (
	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/asked"
	"multinicd/nic"
	"multinicd/plan"
)

// nothingToDo says that a pass on this machine would come to the same results, and change nothing.
// m was read behind the changes that have these results: most of what the kernel has told until
// then is about those changes, and then it needs no pass of its own. When in doubt it says no.
func (d *Daemon) nothingToDo(desired asked.Desired, m plan.View, results []apply.Result) bool {
	was := map[nic.MAC]apply.Result{}
	for _, r := range results {
		was[r.Action.NIC.MAC] = r
	}
	for _, a := range d.plan(desired, m).Actions {
		if r, ok := was[a.NIC.MAC]; !ok || !d.stands(r, a) {
			return false
		}
	}
	return true
}

// stands says that a result is also that of the action that is planned by now.
func (d *Daemon) stands(r apply.Result, now plan.Action) bool {
	a := r.Action
	if a.Kind != now.Kind || (a.Link == nil) != (now.Link == nil) || a.Link != nil && a.Link.Index != now.Link.Index {
		return false
	}
	if _, half := d.halfway(now); half {
		return r.Outcome == apply.RollbackFailed // tried again at a pace of its own
	}
	if f := d.own.pace.Fights[now.NIC.MAC]; f.Holds(d.now()) && !now.Change.Empty() {
		return r.Reason == v1.ReasonDriftFighting
	}
	switch f, failed := d.own.pace.Failures[now.NIC.MAC]; {
	case now.Kind == plan.Refuse || now.Kind == plan.Wait:
		return r.Reason == now.Reason && a.Message == now.Message
	case failed:
		return f.Counts(now) && !f.Due(d.now())
	}
	return (r.Outcome == apply.Done || r.Outcome == apply.Unchanged) && now.Change.Empty()
}
