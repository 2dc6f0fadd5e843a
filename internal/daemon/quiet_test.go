package daemon

import (
	"errors"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"multinicd/internal/daemon/pace"
)

// An hour has so many resyncs, and each change that is tried again for ever has so many tries at most. What the kernel tells of
// a try needs no pass of its own.
const (
	hourly = int(time.Hour / (5 * time.Minute))
	tries  = int(time.Hour/pace.RetryMax) + 1
)

// calm is what an hour may cost in which nothing comes from outside.
type calm struct {
	tried    int  // changes that are tried again for ever
	looks    int  // passes at another pace: each minute, or that of a fight
	deliver  bool // the report is tried to be delivered again
	write    bool // writing the state is tried again
	reported int  // reports that are delivered again
	lines    int  // in the log
}

// quietHour holds the daemon to a quiet day, ten minutes after whatever happened.
func (w *world) quietHour(t *testing.T, allowed calm) {
	t.Helper()
	w.wake <- struct{}{} // by which the loop knows what the test has done; so below
	sleep(10 * time.Minute)
	passes, wakes, reports, sends := w.daemon.Status().Meters.Passes, w.wakes, len(w.reports), len(w.asked)
	ops, writes := w.machine.Ops, w.state.Ops
	w.logged.Store(0)
	rests, goroutines, allocations := w.rests, runtime.NumGoroutine(), mallocs()
	w.wake <- struct{}{}
	sleep(time.Hour)
	allocations = mallocs() - allocations
	most := func(what string, got, want int) {
		t.Helper()
		if got > want {
			t.Errorf("%d %s in a quiet hour, want %d at most", got, what, want)
		}
	}
	looks := hourly + 2 + allowed.tried*tries + allowed.looks
	most("passes", int(w.daemon.Status().Meters.Passes-passes), looks)
	most("wake-ups of the loop", w.wakes-wakes, looks+int(time.Hour/watchdogEvery(time.Minute))+2)
	most("goroutines", runtime.NumGoroutine(), goroutines)
	most("allocations", allocations, 3000*int(w.daemon.Status().Meters.Passes-passes))
	most("times that memory is given back", w.rests-rests, 1)
	if w.rests == rests && allowed.looks == 0 { // who fights does not rest
		t.Error("memory is not given back behind the one wake")
	}
	most("delivered reports", len(w.reports)-reports, allowed.reported)
	deliveries := allowed.reported
	if allowed.deliver {
		deliveries = 60
	}
	most("reports", len(w.asked)-sends, deliveries)
	most("lines in the log", int(w.logged.Load()), allowed.lines)
	most("operations on the machine", w.machine.Ops-ops, (allowed.tried*tries+allowed.looks)*60)
	if !allowed.write {
		most("writes to the state folder", w.state.Ops-writes, 0)
	}
	if wait := w.daemon.nextRetry(); wait < pace.WaitMin {
		t.Errorf("the loop wants to run again after %s", wait)
	}
}

// mallocs is how many objects this process has allocated.
func mallocs() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.Mallocs)
}

// refusing has netplan refuse every file while do runs.
func (w *world) refusing(do func()) {
	w.machine.Refuse = errors.New("netplan says no")
	do()
	w.machine.Refuse = nil
	w.wake <- struct{}{} // too early, but from here on the loop knows
	sleep(100 * time.Millisecond)
}

// fightFor has somebody delete the addresses of the first NIC again and again.
func (w *world) fightFor(d time.Duration) {
	w.fight.Store(true)
	for range d / (100 * time.Millisecond) {
		w.wake <- struct{}{}
		sleep(100 * time.Millisecond)
	}
	w.fight.Store(false)
	sleep(time.Second) // until the last event has been looked into
}

// Whatever has happened on a node, and whatever goes on to fail: an hour later it is quiet.
func TestAQuietDay(t *testing.T) {
	for _, days := range []map[string]day{calmDays, failedDays, blockedDays, foughtDays, clusterDays, hostDays} {
		for name, row := range days {
			t.Run(name, func(t *testing.T) { synctest.Test(t, row.endsQuietly) })
		}
	}
}

// day is what happens on a node, and what it may cost after that.
type day struct {
	with   func(*Daemon) // before it runs
	happen func(w *world)
	calm   calm
}

func (row day) endsQuietly(t *testing.T) {
	w := newWorld(t)
	w.dad = true
	w.with = func(d *Daemon) {
		d.Log = slog.New(lines{slog.DiscardHandler, &w.logged})
		if row.with != nil {
			row.with(d)
		}
	}
	defer w.start()()
	row.happen(w)
	w.quietHour(t, row.calm)
}
