package daemon

import (
	"fmt"
	"slices"
	"time"
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
