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

// brake watches over the repairs of one NIC, and holds them back while another writer undoes each. It knows no clock but what it is told.
//
// So many repairs within a short time are a fight: then nothing is done for a pause. After that comes one repair more, on trial: if what it
// repaired stays for a while, peace has returned, and otherwise the next pause is twice as long.
type brake struct {
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
func (b *brake) fighting() bool { return b != nil && b.pause > 0 }

// holds says that nothing may be repaired now.
func (b *brake) holds(now time.Time) bool { return b.fighting() && now.Before(b.until) }

// repaired notes a repair that was made now, or that another undid before it could even be verified; true: a fight begins, or goes on.
func (b *brake) repaired(now time.Time, verified bool, about string) bool {
	b.repairs = append(slices.DeleteFunc(b.repairs, func(t time.Time) bool { return now.Sub(t) > fightTime }), now)
	if !verified { // it is tried again after a while only: two of them must do
		b.repairs = append(b.repairs, slices.Repeat([]time.Time{now}, fightRepairs/2-1)...)
	}
	switch {
	case b.fighting() && !b.tried:
		b.tried, b.calm = true, now.Add(trial)
		return false
	case !b.fighting() && len(b.repairs) < fightRepairs:
		return false
	case !b.fighting():
		b.about = about
	}
	b.pause = min(max(2*b.pause, pauseMin), pauseMax)
	b.until, b.tried, b.repairs = now.Add(b.pause), false, nil
	b.calm = b.until.Add(trial)
	return true
}

// peace says, of a NIC of which nothing was to be repaired now, whether a fight has ended with that.
func (b *brake) peace(now time.Time) bool {
	if !b.fighting() || now.Before(b.calm) {
		return false
	}
	*b = brake{index: b.index}
	return true
}

// next is when a NIC must be looked at again; zero: an event will tell.
func (b *brake) next(now time.Time) time.Time {
	switch {
	case !b.fighting():
		return time.Time{}
	case now.Before(b.until):
		return b.until
	}
	return b.calm
}

func (b *brake) message() string {
	return fmt.Sprintf("another writer keeps changing it: %s; multinicd stands back, and tries again by and by", b.about)
}

// brake finds that of the NIC of an action, and lets go one whose link is another by now or of which something else is wanted: that is no repair.
func (d *Daemon) brake(a plan.Action) (b *brake, drift bool) {
	mac := a.NIC.MAC
	if a.Kind != plan.Configure || a.Link == nil {
		delete(d.own.brakes, mac)
		return nil, false
	}
	b = d.own.brakes[mac]
	had, known := d.Applier.Record().Find(mac)
	same := known && had.Applied && had.Config.Equal(a.NIC)
	if b == nil || b.index != a.Link.Index || !same {
		d.own.brakes[mac] = &brake{index: a.Link.Index}
		return d.own.brakes[mac], false
	}
	if drift = !a.Change.Empty(); drift && !b.holds(d.now()) {
		b.by = d.whose(a) // before the repair, which is a change too, and may be made by NetworkManager
	}
	return b, drift
}

// drifted does a repair, and says in the log what it was about and who was it, as far as that can be known.
func (d *Daemon) drifted(b *brake, res apply.Result) {
	a := res.Action
	d.countRepair(res)
	about, by := strings.Join(differences(a), "; "), b.by
	log := d.Log.With("node", d.Node, "nic", a.NIC.Name, "mac", a.NIC.MAC, "change", about, "by", by, "outcome", res.Outcome)
	if res.Err == nil {
		log.Info("put back what somebody changed")
	} else {
		log.Info("what somebody changed is not put back yet")
	}
	if b.repaired(d.now(), res.Err == nil, about+" (by "+by+")") {
		d.Log.Warn("another writer keeps changing a NIC; standing back", "node", d.Node, "nic", a.NIC.Name, "mac", a.NIC.MAC, "reason", v1.ReasonDriftFighting,
			"change", about, "by", by, "pause", b.pause)
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
