package daemon

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/pace"
)

func TestAFightIsHeldBackReportedAndEndsWithPeace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.daemon.Whose = func(index int, what any) string { return fmt.Sprintf("a script on link %d", index) }
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
		w.machine.Ops = 0
		fight := func(d time.Duration) {
			w.fight.Store(true)
			for range d / (100 * time.Millisecond) {
				w.wake <- struct{}{}
				sleep(100 * time.Millisecond)
			}
			w.fight.Store(false)
		}
		fight(10 * time.Second)
		r := w.lastReport()
		if r.Degraded == nil || r.Degraded.Reason != v1.ReasonDriftFighting || r.Interfaces[0].Reason != v1.ReasonDriftFighting ||
			r.Interfaces[0].Status != v1.StateInProgress || r.Interfaces[1].Status != v1.StateConfigured {
			t.Fatalf("the report is %+v", r)
		}
		if !strings.Contains(r.Degraded.Message, "multinic1: another writer keeps changing it: address: want 192.0.2.1/24, have absent (by a script on link 11)") {
			t.Errorf("the message is %q", r.Degraded.Message)
		}
		reports := len(w.reports)
		fight(time.Minute)
		if len(w.reports) != reports || w.machine.Ops > 120 { // six are one repair: the journal and its copy come and go, the change, the record
			t.Errorf("%d reports and %d operations within a minute of fight", len(w.reports)-reports, w.machine.Ops)
		}
		w.wake <- struct{}{}
		sleep(2 * time.Minute)
		w.want("multinic1 192.0.2.1/24, multinic2 198.51.100.1/24")
		if r := w.lastReport(); r.Degraded != nil || r.Interfaces[0].Status != v1.StateConfigured {
			t.Errorf("after peace: %+v", r)
		}
	})
}

func TestSomethingNewIsTriedInMidFight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.fight.Store(true)
		for range 100 {
			w.wake <- struct{}{}
			sleep(100 * time.Millisecond)
		}
		w.want("")
		w.fight.Store(false)
		w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.2/24")})
		w.want("multinic1 192.0.2.2/24")
	})
}

// What is refused before anything was tried is no repair, neither in the count nor as a sign of a fight.
func TestARefusedRepairIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		refuses := new(atomic.Bool)
		w.with = func(d *Daemon) { d.Applier = applier{Applier: d.Applier, refuses: refuses} }
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		refuses.Store(true)
		w.lost.Store(true)
		for range 2 * pace.FightRepairs {
			w.wake <- struct{}{}
			sleep(100 * time.Millisecond)
		}
		s := w.daemon.Status()
		if len(s.Meters.Repairs) > 0 || s.NICs[0].Status != v1.StateFailed || s.NICs[0].Reason != v1.ReasonNoBackend {
			t.Errorf("repairs are %v, the NIC is %+v", s.Meters.Repairs, s.NICs[0])
		}
		refuses.Store(false)
		w.wake <- struct{}{}
		sleep(time.Second)
		w.want("multinic1 192.0.2.1/24")
	})
}

// A NIC that comes and goes is no fight, however often.
func TestANICThatIsPluggedAgainAndAgainIsNoFight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		for i := range 30 {
			l := link(1)
			l.Index = 100 + i
			w.machine.Net[0] = l
			w.wake <- struct{}{}
			sleep(pace.MotionEnds + 100*time.Millisecond) // a CNI plugin may be about to rename it
			w.want("multinic1 192.0.2.1/24")
		}
	})
}
