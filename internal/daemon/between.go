package daemon

import (
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/pace"
	"multinicd/internal/daemon/status"
)

// between holds a report back while NICs are just coming, going or being changed by somebody: what
// could be said of them now would be another thing in a moment, and the cluster would hear twice of
// one change. Only the goroutine of the loop uses it.
type between struct {
	since map[string]time.Time // by MAC: when a NIC was first seen to be so
	until time.Time            // the report waits; zero: it does not
	done  map[string]time.Time // by MAC: when a NIC was configured, of which no report has told yet
	held  *v1.Report           // that waits; nil: none does
}

// heldBack is how long a report waits at most: longer than an IPv6 address is being checked.
const heldBack = 3 * time.Second

// waits says whether the report on these NICs is left to a later pass. A NIC that stays as it is
// delays it once only, and many that come one after the other do so together for no longer than
// one.
func (b *between) waits(nics []status.NIC, now time.Time) bool {
	since, news := map[string]time.Time{}, false
	for _, n := range nics {
		if !n.Between {
			continue
		}
		at, known := b.since[n.MAC]
		if !known {
			at = now
		}
		since[n.MAC] = at
		news = news || now.Before(at.Add(heldBack))
	}
	b.since = since
	if news && b.until.IsZero() {
		b.until = now.Add(heldBack)
	}
	if !news || !now.Before(b.until) {
		b.until = time.Time{}
		return false
	}
	for _, n := range nics {
		if n.Outcome == apply.Done {
			b.done[n.MAC] = now
		}
	}
	return true
}

// endBetween makes the report that waits, since no later pass may be able to say more for a long
// time.
func (d *Daemon) endBetween() {
	if b := &d.own.between; b.held != nil {
		d.reports.Put(*b.held)
		b.until, b.held = time.Time{}, nil
		clear(b.done)
	}
}

// next is the time until a report that waits is to be made; an hour where none does.
func (b *between) next(now time.Time) time.Duration {
	if b.until.IsZero() {
		return time.Hour
	}
	return max(b.until.Sub(now), pace.WaitMin)
}
