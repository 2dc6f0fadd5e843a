package daemon

import (
	"fmt"
	"time"

	"multinicd/plan"
)

// A CNI plugin that gives a NIC to a Pod sets its link down, renames it, and moves it to the Pod's network namespace; and
// so on the way back. A repair in between has the plugin's next command fail: the name is another, or the link is up. So a
// link that somebody has renamed or set down is left alone until nothing more happens to it.

const (
	motionEnds = 300 * time.Millisecond // after the last thing that happened to the link
	motionMost = 2 * time.Second        // in all: somebody who never ends is answered, too
)

// motion is what somebody does to the link of one NIC of ours.
type motion struct {
	since time.Time // when it was seen first
	last  time.Time // when it was seen to be another thing than before
	state string    // what of the link is told
}

// end is when the link is looked at as it is then.
func (m motion) end() time.Time {
	if most := m.since.Add(motionMost); most.Before(m.last.Add(motionEnds)) {
		return most
	}
	return m.last.Add(motionEnds)
}

// inMotion says whether the link of the action's NIC, which somebody has renamed or set down, is to be left alone now.
func (r retries) inMotion(a plan.Action, now time.Time) bool {
	mac, state := a.NIC.MAC, fmt.Sprintf("%d %s %v", a.Link.Index, a.Link.Name, a.Link.Up)
	m, seen := r.motions[mac]
	if !seen {
		m.since = now
	}
	if m.state != state {
		m.state, m.last = state, now
	}
	if !now.Before(m.end()) {
		delete(r.motions, mac)
		return false
	}
	r.motions[mac] = m
	return true
}

// nextMotion is how long until the first link in motion is looked at; an hour where there is none. It may be less than waitMin:
// there is one such wait after each thing that somebody does to a link.
func (r retries) nextMotion(now time.Time) time.Duration {
	wait := time.Hour
	for _, m := range r.motions {
		if end := m.end(); end.After(now) { // else the pass that was to look at it saw nothing
			wait = min(wait, end.Sub(now))
		}
	}
	return wait
}
