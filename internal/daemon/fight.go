package daemon

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/plan"
)

// fight watches over the repairs of one NIC, and holds them back while another writer undoes each. It knows no clock but what it is told.
//
// So many repairs within a short time are a fight: then nothing is done for a pause. After that comes one repair more, on trial: if what it
// repaired stays for a while, peace has returned, and otherwise the next pause is twice as long.
type fight struct {
	index   int         // ifindex of the link at the last look; another one has no past
	repairs []time.Time // the latest
	pause   time.Duration
	until   time.Time // nothing is repaired before
	tried   bool      // the repair on trial has been made
	calm    time.Time // peace, if nothing was to be repaired by then
	about   string    // what differed, and who did it, when the fight was seen
	by      string    // who did what is repaired now
}

const (
	fightRepairs = 8                // of one NIC,
	fightTime    = 10 * time.Second // within this time, are a fight
	pauseMin     = 5 * time.Second
	pauseMax     = time.Minute
	trial        = 5 * time.Second
)

// fighting says whether a fight was seen and peace has not returned yet.
func (f *fight) fighting() bool { return f != nil && f.pause > 0 }

// holds says that nothing may be repaired now.
func (f *fight) holds(now time.Time) bool { return f.fighting() && now.Before(f.until) }

// repaired notes a repair that was made now, or that another undid before it could even be verified; true: a fight begins, or goes on.
func (f *fight) repaired(now time.Time, verified bool, about string) bool {
	f.repairs = append(slices.DeleteFunc(f.repairs, func(t time.Time) bool { return now.Sub(t) > fightTime }), now)
	if !verified { // it is tried again after a while only: two of them must do
		f.repairs = append(f.repairs, slices.Repeat([]time.Time{now}, fightRepairs/2-1)...)
	}
	switch {
	case f.fighting() && !f.tried:
		f.tried, f.calm = true, now.Add(trial)
		return false
	case !f.fighting() && len(f.repairs) < fightRepairs:
		return false
	case !f.fighting():
		f.about = about
	}
	f.pause = min(max(2*f.pause, pauseMin), pauseMax)
	f.until, f.tried, f.repairs = now.Add(f.pause), false, nil
	f.calm = f.until.Add(trial)
	return true
}

// peace says, of a NIC of which nothing was to be repaired now, whether a fight has ended with that.
func (f *fight) peace(now time.Time) bool {
	if !f.fighting() || now.Before(f.calm) {
		return false
	}
	*f = fight{index: f.index}
	return true
}

// next is when a NIC must be looked at again; zero: an event will tell.
func (f *fight) next(now time.Time) time.Time {
	switch {
	case !f.fighting():
		return time.Time{}
	case now.Before(f.until):
		return f.until
	}
	return f.calm
}

func (f *fight) message() string {
	return fmt.Sprintf("another writer keeps changing it: %s; multinicd stands back, and tries again by and by", f.about)
}

// fight returns what is known of fights about the action's NIC, and whether the action is a repair.
// It starts a new record if the link was replaced or the wish changed, because then the action is
// not a repair.
func (d *Daemon) fight(a plan.Action) (f *fight, drift bool) {
	mac := a.NIC.MAC
	if a.Kind != plan.Configure || a.Link == nil {
		delete(d.own.fights, mac)
		return nil, false
	}
	f = d.own.fights[mac]
	had, known := d.Applier.Record().Find(mac)
	same := known && had.Applied && had.Config.Equal(a.NIC)
	if f == nil || f.index != a.Link.Index || !same {
		d.own.fights[mac] = &fight{index: a.Link.Index}
		return d.own.fights[mac], false
	}
	if drift = !a.Change.Empty(); drift && !f.holds(d.now()) {
		f.by = d.whose(a) // before the repair, which is a change too, and may be made by NetworkManager
	}
	return f, drift
}

// drifted does a repair, and says in the log what it was about and who was it, as far as that can be known.
func (d *Daemon) drifted(f *fight, res apply.Result) {
	a := res.Action
	d.countRepair(res)
	about, by := strings.Join(differences(a), "; "), f.by
	log := d.Log.With("node", d.Node, "nic", a.NIC.Name, "mac", a.NIC.MAC, "change", about, "by", by, "outcome", res.Outcome)
	if res.Err == nil {
		log.Info("put back what somebody changed")
	} else {
		log.Info("what somebody changed is not put back yet")
	}
	if f.repaired(d.now(), res.Err == nil, about+" (by "+by+")") {
		d.Log.Warn("another writer keeps changing a NIC; standing back", "node", d.Node, "nic", a.NIC.Name, "mac", a.NIC.MAC, "reason", v1.ReasonDriftFighting,
			"change", about, "by", by, "pause", f.pause)
	}
}

// differences says what a repair was about, as Verify would.
func differences(a plan.Action) (out []string) {
	after := plan.Owned{}
	if a.After != nil {
		after = *a.After
	}
	for _, m := range plan.Verify(a.NIC, *a.Link, after) {
		out = append(out, m.String())
	}
	if out == nil {
		out = strings.Split(strings.TrimSpace(a.Change.String()), "\n")
	}
	return out
}
