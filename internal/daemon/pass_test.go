package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"multinicd/internal/apply"
	"multinicd/plan"
)

func TestANICThatWasUnpluggedInMidChangeIsConfiguredOnceItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.probed = func(context.Context) error { // it goes, and its like comes, before the pass looks again
			w.machine.Net[0].Index = 77
			w.machine.Net[0].Addresses, w.machine.Net[0].Name = nil, "eth7"
			return errors.New("link 11 is gone")
		}
		w.tell(Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.probed = nil
		w.want("")
		w.wake <- struct{}{}
		sleep(time.Second)
		w.want("multinic1 192.0.2.1/24")
	})
}

func TestEventsOfALinkCountFromItsFirstChangeOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		counts := false
		w.probed = func(context.Context) error {
			counts = w.daemon.ours(11)
			return nil
		}
		w.tell(Wish{Object: object("u1", 1, "192.0.2.1/24")})
		if !counts || !w.daemon.ours(11) || w.daemon.ours(12) {
			t.Errorf("in mid-change %v, afterwards %v, of another %v", counts, w.daemon.ours(11), w.daemon.ours(12))
		}
	})
}

// applier tells a test what the loop asks for.
type applier struct {
	Applier
	recorded func()            // nil: not told
	did      func(plan.Action) // nil: not told
}

func (a applier) Record() plan.Record {
	if a.recorded != nil {
		a.recorded()
	}
	return a.Applier.Record()
}

func (a applier) Do(ctx context.Context, action plan.Action) apply.Result {
	res := a.Applier.Do(ctx, action)
	if a.did != nil {
		a.did(action)
	}
	return res
}

func TestNoEventIsLostBetweenTwoLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		watching := false
		w.with = func(d *Daemon) {
			d.Applier = applier{Applier: d.Applier, recorded: func() {
				if watching && !d.ours(11) {
					t.Error("an event about our link would not count now")
				}
			}}
		}
		defer w.start()()
		w.tell(Wish{Object: object("u1", 1, "192.0.2.1/24")})
		watching = true
		w.wake <- struct{}{}
		sleep(time.Second)
	})
}

func TestAnObjectThatCouldNotBeKeptIsKeptLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		w.tell(Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.state.FailFrom = w.state.Ops + 1
		w.tell(Wish{Object: object("u1", 2, "192.0.2.2/24")})
		w.want("multinic1 192.0.2.2/24")
		w.state.FailFrom = 0
		w.wake <- struct{}{}
		sleep(time.Second)
		stop()
		defer w.start()() // without the cluster
		w.want("multinic1 192.0.2.2/24")
		if g := w.daemon.Status().Generation; g != 2 {
			t.Errorf("after a restart generation %d is in force, want 2", g)
		}
	})
}

func TestStoppedInMidPassNothingLessIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stopping := false
		w.with = func(d *Daemon) {
			d.Applier = applier{Applier: d.Applier, did: func(plan.Action) {
				if stopping {
					w.cancel()
				}
			}}
		}
		stop := w.start()
		w.tell(Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
		was := w.lastReport()
		stopping = true
		w.wake <- struct{}{}
		sleep(time.Second)
		stop()
		stopping = false
		sleep(time.Hour)
		defer w.start()()
		sleep(time.Minute)
		if diff := cmp.Diff(was, w.lastReport()); diff != "" || len(w.reports) != 1 {
			t.Errorf("%d reports, the last (-want +got):\n%s", len(w.reports), diff)
		}
	})
}
