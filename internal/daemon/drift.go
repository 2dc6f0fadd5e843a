package daemon

import (
	"strings"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/pace"
	"multinicd/internal/daemon/status"
	"multinicd/plan"
)

// fight returns what is known of fights about the action's NIC, whether the NIC is in force as the
// action has it, so that the action can only be a repair, and whether it repairs the link. It
// starts a new record if the link was replaced or the wish changed, because then the action is not
// a repair.
func (d *Daemon) fight(a plan.Action) (f *pace.Fight, same, drift bool) {
	mac := a.NIC.MAC
	if a.Kind != plan.Configure || a.Link == nil {
		delete(d.own.pace.Fights, mac)
		return nil, false, false
	}
	f = d.own.pace.Fights[mac]
	had, known := d.Applier.Record().Find(mac)
	same = known && had.Applied && had.Config.Equal(a.NIC)
	if f == nil || f.Index != a.Link.Index || !same {
		d.own.pace.Fights[mac] = &pace.Fight{Index: a.Link.Index}
		return d.own.pace.Fights[mac], same, false
	}
	if drift = !a.Change.Empty(); drift && !f.Holds(d.now()) {
		f.By = status.Author(a, d.Whose) // before the repair, which is a change too, and may be made by NetworkManager
	}
	return f, same, drift
}

// edited says whether a NIC that is in force was as wanted on its link, and had files put right:
// somebody has changed them. At the start it may also be that an older version wrote them.
func (d *Daemon) edited(res apply.Result) bool {
	return d.own.started && res.Outcome == apply.Done && res.Action.Change.Empty() && len(res.Files) > 0
}

// drifted notes a repair, and says in the log what it was about and who was it, as far as that can
// be known.
func (d *Daemon) drifted(f *pace.Fight, res apply.Result) {
	a := res.Action
	d.countRepair(res)
	if a.Change.Empty() {
		f.By = status.Unknown // nobody says who writes a file
	}
	about, by := strings.Join(status.Repaired(res), "; "), f.By
	log := d.Log.With("node", d.Node, "nic", a.NIC.Name, "mac", a.NIC.MAC, "change", about, "by", by, "outcome", res.Outcome)
	if res.Err == nil {
		log.Info("put back what somebody changed")
		d.noteRepair(a.NIC.MAC, about+" (by "+by+")")
	} else {
		log.Info("what somebody changed is not put back yet")
	}
	if f.Repaired(d.now(), res.Err == nil, about+" (by "+by+")") {
		d.Log.Warn("another writer keeps changing a NIC; standing back", "node", d.Node, "nic", a.NIC.Name, "mac", a.NIC.MAC, "reason", v1.ReasonDriftFighting,
			"change", about, "by", by, "pause", f.Pause)
	}
}

// inMotion says whether the link of a NIC that is in force may be on its way to a Pod, or back. A
// NIC that is new, or is to be another than before, is not waited for; nor is any by who makes a
// single pass, or has not made the first yet.
func (d *Daemon) inMotion(a plan.Action) bool {
	had, known := d.Applier.Record().Find(a.NIC.MAC)
	ours := a.Kind == plan.Configure && a.Link != nil && known && had.Applied && had.Config.Equal(a.NIC)
	if !d.own.serves || !d.own.started || !ours || a.Change.Name == "" && !a.Change.Up {
		delete(d.own.pace.Motions, a.NIC.MAC)
		return false
	}
	return d.own.pace.InMotion(a, d.now())
}
