package pace

import (
	"fmt"
	"slices"
	"time"
)

// Fight watches over the repairs of one NIC, and holds them back while another writer undoes each.
// It knows no clock but what it is told.
//
// So many repairs within a short time are a fight: then nothing is done for a pause. After that
// comes one repair more, on trial: if what it repaired stays for a while, peace has returned, and
// otherwise the next pause is twice as long.
type Fight struct {
	Index   int         // ifindex of the link at the last look; another one has no past
	repairs []time.Time // the latest
	Pause   time.Duration
	until   time.Time // nothing is repaired before
	tried   bool      // the repair on trial has been made
	calm    time.Time // peace, if nothing was to be repaired by then
	about   string    // what differed, and who did it, when the fight was seen
	By      string    // who did what is repaired now
}

const (
	FightRepairs = 8                // of one NIC,
	fightTime    = 10 * time.Second // within this time, are a fight
	pauseMin     = 5 * time.Second
	pauseMax     = time.Minute
	trial        = 5 * time.Second
)

// Fighting says whether a fight was seen and peace has not returned yet.
func (f *Fight) Fighting() bool { return f != nil && f.Pause > 0 }

// Holds says that nothing may be repaired now.
func (f *Fight) Holds(now time.Time) bool { return f.Fighting() && now.Before(f.until) }

// Repaired notes a repair that was made now, or that another undid before it could even be
// verified; true: a fight begins, or goes on.
func (f *Fight) Repaired(now time.Time, verified bool, about string) bool {
	f.repairs = append(slices.DeleteFunc(f.repairs, func(t time.Time) bool { return now.Sub(t) > fightTime }), now)
	if !verified { // it is tried again after a while only: two of them must do
		f.repairs = append(f.repairs, slices.Repeat([]time.Time{now}, FightRepairs/2-1)...)
	}
	switch {
	case f.Fighting() && !f.tried:
		f.tried, f.calm = true, now.Add(trial)
		return false
	case !f.Fighting() && len(f.repairs) < FightRepairs:
		return false
	case !f.Fighting():
		f.about = about
	}
	f.Pause = min(max(2*f.Pause, pauseMin), pauseMax)
	f.until, f.tried, f.repairs = now.Add(f.Pause), false, nil
	f.calm = f.until.Add(trial)
	return true
}

// Peace says, of a NIC of which nothing was to be repaired now, whether a fight has ended with
// that.
func (f *Fight) Peace(now time.Time) bool {
	if !f.Fighting() || now.Before(f.calm) {
		return false
	}
	*f = Fight{Index: f.Index}
	return true
}

// next is when a NIC must be looked at again; zero: an event will tell.
func (f *Fight) next(now time.Time) time.Time {
	switch {
	case !f.Fighting():
		return time.Time{}
	case now.Before(f.until):
		return f.until
	}
	return f.calm
}

// Message is for the status of a NIC about which a fight goes on.
func (f *Fight) Message() string {
	return fmt.Sprintf("another writer keeps changing it: %s; multinicd stands back, and tries again by and by", f.about)
}
