package identity

import "time"

// How long the policies must have been in force without a break before the shared rights come back.
// The time doubles whenever the rights are gone again, until they have stayed for brakeCalm.
const (
	brakeFirst = time.Minute
	brakeMost  = 4 * time.Hour
	brakeCalm  = 24 * time.Hour
)

// brake bounds how often the shared rights come back after they were gone: with each time every
// node's own rights are written, and deleted. The first time of a process costs no wait. It is for
// one goroutine.
type brake struct {
	whole time.Time // since when the policies are in force; zero: they are not
	came  time.Time // when the rights came, or were first seen; zero: they are gone
	hold  time.Duration
}

// broken is told that the policies are not in force.
func (b *brake) broken() { b.whole = time.Time{} }

// gone is told that the rights are gone, or are about to be. To be told twice means nothing.
func (b *brake) gone(now time.Time) {
	if b.came.IsZero() {
		return
	}
	if now.Sub(b.came) >= brakeCalm {
		b.hold = 0
	}
	b.hold = min(max(2*b.hold, brakeFirst), brakeMost)
	b.came = time.Time{}
}

// left is told that the policies are in force, and whether the rights are there. It says how long
// the rights have to wait; at 0 the caller makes them.
func (b *brake) left(now time.Time, there bool) time.Duration {
	if b.whole.IsZero() {
		b.whole = now
	}
	// The cache may not have what was made a moment ago, and no node has given up its own rights.
	if !there && !b.came.IsZero() && now.Sub(b.came) >= remake {
		b.gone(now)
		b.whole = now
	}
	if left := b.whole.Add(b.hold).Sub(now); b.came.IsZero() && !there && left > 0 {
		return left
	}
	if b.came.IsZero() {
		b.came = now
	}
	return 0
}
