package daemon

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/pace"
)

// clock is the clock of a host as the kernel gives it: a wall that somebody may set, and a monotonic reading that nobody can.
type clock struct {
	began time.Time // of the bubble, whose own clock has no monotonic reading
	ahead atomic.Int64
}

// origin is from outside of any bubble: it has a monotonic reading.
var origin = time.Now()

func newClock() *clock { return &clock{began: time.Now()} }

func (c *clock) now() time.Time {
	return wallMoved(origin.Add(time.Since(c.began)), c.ahead.Load())
}

func (c *clock) set(by time.Duration) { c.ahead.Add(int64(by / time.Second)) }

// wallMoved moves the wall of t alone, as the kernel does when the clock is set and as no method of time.Time can. With a monotonic reading the
// first word of a Time is a flag, 33 bits of seconds and 30 of nanoseconds (src/time/time.go of Go 1.26).
func wallMoved(t time.Time, seconds int64) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(seconds) << 30
	return t
}

func TestTheClockOfTheTestsMovesAsARealOneDoes(t *testing.T) {
	for _, by := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		moved := wallMoved(origin, int64(by/time.Second))
		if got := moved.Round(0).Sub(origin.Round(0)); got != by {
			t.Errorf("the wall moved by %s, want %s", got, by)
		}
		if got := moved.Sub(origin); got != 0 {
			t.Errorf("the monotonic reading moved by %s", got)
		}
	}
}

// What may be going on when the clock is set by so much.
var underWay = map[string]func(t *testing.T, w *world, c *clock, by time.Duration){
	"in steady state":           setInSteadyState,
	"in the middle of a change": setInMidChange,
	"while a probe is waited for in vain, the change is undone in time": setDuringAProbe,
	"while a change that failed waits to be tried again":                setBeforeANewTry,
	"the contact counts by when it was":                                 setAfterContact,
}

func TestSettingTheWallClockByHoursChangesNothing(t *testing.T) {
	for name, by := range map[string]time.Duration{"two hours ahead": 2 * time.Hour, "two hours back": -2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			for name, set := range underWay {
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w, c := newWorld(t), newClock()
						w.clock = c.now
						set(t, w, c, by)
					})
				})
			}
		})
	}
}

func setInSteadyState(t *testing.T, w *world, c *clock, by time.Duration) {
	defer w.start()()
	w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
	was := *w.lastReport().Interfaces[0].LastConfigured
	c.set(by)
	w.quiet(t, 1)
	w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.1/24", "198.51.100.1/24")})
	w.want("multinic1 192.0.2.1/24, multinic2 198.51.100.1/24")
	if got := w.lastReport().Interfaces[0].LastConfigured; got == nil || !got.Equal(&was) {
		t.Errorf("the NIC that was not touched is said to be configured since %v, want %v", got, was)
	}
}

func setInMidChange(t *testing.T, w *world, c *clock, by time.Duration) {
	w.probed = func(context.Context) error { c.set(by); return nil } // there is one change
	defer w.start()()
	w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
	w.want("multinic1 192.0.2.1/24")
	if s := w.daemon.Status(); s.State != string(v1.StateConfigured) {
		t.Errorf("the status is %s: %+v", s.State, s.NICs)
	}
	w.quiet(t, 1)
}

func setDuringAProbe(t *testing.T, w *world, c *clock, by time.Duration) {
	tries := 0
	w.probed = func(ctx context.Context) error {
		if tries++; tries > 1 {
			return nil
		}
		c.set(by)
		<-ctx.Done()
		return errors.New("no answer")
	}
	defer w.start()()
	w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
	sleep(time.Second) // the time-out of the probe
	w.want("")
	before := w.machine.Asked
	w.wake <- struct{}{}
	sleep(pace.RetryProbe - 5*time.Second)
	if w.machine.Asked != before {
		t.Error("the change was tried again before its time")
	}
	w.wake <- struct{}{} // too early still
	sleep(10 * time.Second)
	w.want("multinic1 192.0.2.1/24")
}

func setBeforeANewTry(t *testing.T, w *world, c *clock, by time.Duration) {
	defer w.start()()
	w.machine.Refuse = errors.New("netplan says no")
	w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
	before := w.machine.Asked
	c.set(by)
	w.wake <- struct{}{}
	sleep(pace.RetryMin / 2)
	if w.machine.Asked != before {
		t.Error("the change was tried again before its time")
	}
	w.machine.Refuse = nil
	w.wake <- struct{}{} // too early still
	sleep(pace.RetryMin)
	w.want("multinic1 192.0.2.1/24")
}

func setAfterContact(t *testing.T, w *world, c *clock, by time.Duration) {
	defer w.start()()
	w.notify(asked.Wish{Object: object("u1", 1, "192.0.2.1/24"), Contact: c.now()})
	c.set(by)
	sleep(5 * time.Second)
	if !w.daemon.InContact() {
		t.Error("5 s after the contact it does not count any more")
	}
	sleep(6 * time.Second)
	if w.daemon.InContact() {
		t.Error("11 s after the contact it still counts")
	}
}

// quiet lets an hour pass in which nothing may happen but renewals of the Lease.
func (w *world) quiet(t *testing.T, reports int) {
	t.Helper()
	ops, beats := w.machine.Ops, w.beats.Load()
	sleep(time.Hour)
	if len(w.reports) != reports || w.machine.Ops != ops {
		t.Errorf("in an hour: %d reports, %d operations on the machine; want %d and 0", len(w.reports), w.machine.Ops-ops, reports)
	}
	if n := w.beats.Load() - beats; n < 25 || n > 40 {
		t.Errorf("%d renewals of the Lease in an hour, want about 30", n)
	}
}
