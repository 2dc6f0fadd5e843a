package daemon

import (
	"strings"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/pace"
	"multinicd/internal/daemon/status"
	"multinicd/plan"
)

// fight returns what is known of fights about the action's NIC, and whether the action is a repair.
// It starts a new record if the link was replaced or the wish changed, because then the action is
// not a repair.
func (d *Daemon) fight(a plan.Action) (f *pace.Fight, drift bool) {
	mac := a.NIC.MAC
	if a.Kind != plan.Configure || a.Link == nil {
		delete(d.own.pace.Fights, mac)
		return nil, false
	}
	f = d.own.pace.Fights[mac]
	had, known := d.Applier.Record().Find(mac)
	same := known && had.Applied && had.Config.Equal(a.NIC)
	if f == nil || f.Index != a.Link.Index || !same {
		d.own.pace.Fights[mac] = &pace.Fight{Index: a.Link.Index}
		return d.own.pace.Fights[mac], false
	}
	if drift = !a.Change.Empty(); drift && !f.Holds(d.now()) {
		f.By = status.Author(a, d.Whose) // before the repair, which is a change too, and may be made by NetworkManager
	}
	return f, drift
}

// drifted notes a repair, and says in the log what it was about and who was it, as far as that can
// be known.
func (d *Daemon) drifted(f *pace.Fight, res apply.Result) {
	a := res.Action
	d.countRepair(res)
	about, by := strings.Join(status.Differences(a), "; "), f.By
	log := d.Log.With("node", d.Node, "nic", a.NIC.Name, "mac", a.NIC.MAC, "change", about, "by", by, "outcome", res.Outcome)
	if res.Err == nil {
		log.Info("put back what somebody changed")
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
