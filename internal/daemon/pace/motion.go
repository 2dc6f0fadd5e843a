package pace

import (
	"fmt"
	"time"

	"multinicd/plan"
)

// A CNI plugin that gives a NIC to a Pod sets its link down, renames it, and moves it to the Pod's
// network namespace; and so on the way back. A repair in between has the plugin's next command
// fail: the name is another, or the link is up. So a link that somebody has renamed or set down is
// left alone until nothing more happens to it.

// How long a link in motion is left alone.
const (
	MotionEnds = 300 * time.Millisecond // after the last thing that happened to the link
	MotionMost = 2 * time.Second        // in all: somebody who never ends is answered, too
)

// Motion is what somebody does to the link of one NIC of ours.
type Motion struct {
	since time.Time // when it was seen first
	last  time.Time // when it was seen to be another thing than before
	state string    // what of the link is told
}

// end is when the link is looked at as it is then.
func (m Motion) end() time.Time {
	if most := m.since.Add(MotionMost); most.Before(m.last.Add(MotionEnds)) {
		return most
	}
	return m.last.Add(MotionEnds)
}

// InMotion says whether the link of the action's NIC, which somebody has renamed or set down, is to
// be left alone now.
func (r NICs) InMotion(a plan.Action, now time.Time) bool {
	mac, state := a.NIC.MAC, fmt.Sprintf("%d %s %v", a.Link.Index, a.Link.Name, a.Link.Up)
	m, seen := r.Motions[mac]
	if !seen {
		m.since = now
	}
	if m.state != state {
		m.state, m.last = state, now
	}
	if !now.Before(m.end()) {
		delete(r.Motions, mac)
		return false
	}
	r.Motions[mac] = m
	return true
}

// NextMotion is how long until the first link in motion is looked at, after a pass that began at
// start: an hour where there is none. A motion that ended while the pass was at other NICs is due at
// once. The time may be less than WaitMin: there is one such wait after each thing that somebody
// does to a link.
func (r NICs) NextMotion(start, now time.Time) time.Duration {
	wait := time.Hour
	for _, m := range r.Motions {
		if end := m.end(); end.After(start) { // else the pass that was to look at it saw nothing
			wait = min(wait, max(0, end.Sub(now)))
		}
	}
	return wait
}
