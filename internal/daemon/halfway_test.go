package daemon

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/pace"
	"multinicd/nic"
	"multinicd/plan"
)

// halfWay lets the first change of NIC 1 fail right behind its rename, when a NIC that is plugged in has got the old name.
func (w *world) halfWay() (stranger *nic.Link) {
	w.machine.Net = append(make([]nic.Link, 0, 9), w.machine.Net...)
	w.machine.At(4, func() {
		l := link(9)
		l.Name = "eth1"
		w.machine.Net = append(w.machine.Net, l)
		w.machine.FailAt = 4
		stranger = &w.machine.Net[len(w.machine.Net)-1]
	})
	w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
	w.machine.At(0, nil)
	w.machine.FailAt = 0
	if stranger == nil || w.machine.Net[0].Name != "multinic1" {
		w.t.Fatalf("the links are %+v", w.machine.Net)
	}
	return stranger
}

// pass lets fake time pass. What the test has done to the machine, or read of it, comes before what the loop does next: by the lock of its status.
func (w *world) pass(d time.Duration) {
	w.daemon.Status()
	sleep(d)
}

// halfNow says that NIC 1 is half way, why, and that the other one is well.
func (w *world) halfNow() {
	w.t.Helper()
	s := w.daemon.Status()
	if len(s.NICs) != 2 || s.NICs[0].Reason != string(plan.RollbackFailed) || !strings.Contains(s.NICs[0].Message, "eth1 is the link with MAC 02:00:00:00:01:09") || s.NICs[1].Status != v1.StateConfigured {
		w.t.Errorf("the status is %+v", s.NICs)
	}
	w.want("multinic2 198.51.100.1/24")
}

func (w *world) well() {
	w.t.Helper()
	w.want("multinic1 192.0.2.1/24, multinic2 198.51.100.1/24")
	if s := w.daemon.Status(); s.State != string(v1.StateConfigured) || w.lastReport().Interfaces[0].Status != v1.StateConfigured {
		w.t.Errorf("the status is %+v", s)
	}
}

// A NIC that could not be put back says what is in the way, costs the others and a quiet hour nothing, and comes to what is wanted by itself once that is gone:
// at once on the kernel's event, and without one within some minutes; also over a restart.
func TestANICThatIsHalfWayIsThatNICsTrouble(t *testing.T) {
	for name, freed := range map[string]func(w *world){
		"with an event":    func(w *world) { w.wake <- struct{}{}; w.pass(time.Second) },
		"without an event": func(w *world) { w.pass(pace.ResumeMax) },
	} {
		for _, restart := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					stop := w.start()
					stranger := w.halfWay()
					if restart {
						stop()
						stop = w.start()
					}
					w.halfNow()
					w.machine.Ops = 0
					reports := len(w.reports)
					w.pass(time.Hour)
					w.halfNow()
					if tries := w.machine.Ops / 3; tries < 12 || tries > 25 { // the MTU, the name, the record
						t.Errorf("tried %d times in an hour (%d operations), want once in five minutes at last", tries, w.machine.Ops)
					}
					if len(w.reports) != reports {
						t.Errorf("%d reports in an hour in which nothing happened", len(w.reports)-reports)
					}
					stranger.Name = "eth9"
					freed(w)
					w.well()
					w.machine.Ops = 0
					w.pass(time.Hour)
					if w.machine.Ops != 0 {
						t.Errorf("%d operations afterwards", w.machine.Ops)
					}
					stop()
				})
			})
		}
	}
}

// Events that change nothing about what is in the way are no reason to try, and one that does is, but not twice within a second.
func TestAStormOfEventsDoesNotHurryANICThatIsHalfWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.halfWay()
		w.halfNow()
		w.pass(10 * time.Minute)
		for _, renames := range []bool{false, true} {
			w.machine.Ops = 0
			for i := range 200 {
				if renames {
					w.alias.Store(int64(1 + i%2))
				}
				select {
				case w.wake <- struct{}{}:
				default:
				}
				w.pass(50 * time.Millisecond)
			}
			if tries := w.machine.Ops / 3; !renames && tries > 1 || tries > 11 {
				t.Errorf("tried %d times in 10 s; other names: %v", tries, renames)
			}
		}
	})
}

// lines counts what is logged.
type lines struct {
	slog.Handler
	n *atomic.Int64
}

func (l lines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l lines) Handle(context.Context, slog.Record) error        { l.n.Add(1); return nil }

// A machine that cannot be read is said once, also while a NIC is half way, and that it can be read again as well; whatever is wanted.
func TestAMachineThatCannotBeReadIsSaidOnce(t *testing.T) {
	for name, wish := range map[string]asked.Wish{"the object is there": {Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")}, "it is gone": {Gone: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var logged atomic.Int64
				w.with = func(d *Daemon) { d.Log = slog.New(lines{slog.DiscardHandler, &logged}) }
				defer w.start()()
				w.halfWay()
				w.tell(wish)
				w.pass(10 * time.Minute)
				logged.Store(0)
				w.dark.Store(true)
				w.pass(time.Hour)
				if n := logged.Load(); n != 1 || len(w.daemon.Status().Down) != 1 {
					t.Errorf("%d lines in an hour, and %v do not work; want one", n, w.daemon.Status().Down)
				}
				w.dark.Store(false)
				w.pass(pace.ResumeMax)
				if n := logged.Load(); n != 2 || len(w.daemon.Status().Down) != 0 {
					t.Errorf("%d lines in the end, and %v do not work", n, w.daemon.Status().Down)
				}
			})
		})
	}
}

// Whoever has mended what no event tells of need not wait for the next try: a trigger is one.
func TestATriggerTriesWhatIsHalfWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		obj := object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")
		w.machine.FailFrom = 6
		w.tell(asked.Wish{Object: obj})
		w.pass(30 * time.Minute)
		if half := w.daemon.Status().NICs[0]; half.Reason != string(plan.RollbackFailed) || strings.Contains(half.Message, "\n") || time.Until(half.NextTry) < 10*time.Second {
			t.Fatalf("the status is %+v", half)
		}
		w.machine.FailFrom = 0
		w.tell(ask(obj, "r1", v1.ActionTrigger))
		w.well()
		if r := w.lastReport(); r.Run != "r1" || r.Interfaces[0].Status != v1.StateConfigured {
			t.Errorf("the report is %+v", r)
		}
	})
}

// What was begun without being wanted any more comes to its end too, and is said meanwhile.
func TestANICThatIsHalfWayHasLeftTheObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		stranger := w.halfWay()
		obj := object("u1", 2, "192.0.2.1/24", "198.51.100.1/24")
		obj.Spec.Interfaces = obj.Spec.Interfaces[1:]
		w.tell(asked.Wish{Object: obj})
		s := w.daemon.Status()
		if len(s.NICs) != 2 || !s.NICs[0].Unwanted || s.NICs[0].Reason != string(plan.RollbackFailed) {
			t.Errorf("the status is %+v", s.NICs)
		}
		if r := w.lastReport(); len(r.Interfaces) != 1 || r.Degraded == nil || r.Degraded.Reason != string(plan.RollbackFailed) {
			t.Errorf("the report is %+v", r)
		}
		stranger.Name = "eth9"
		w.wake <- struct{}{}
		w.pass(3 * time.Second)
		if l := w.machine.Net[0]; l.Name != "eth1" || len(l.Addresses) != 0 || l.MTU != 1500 {
			t.Errorf("the link is %+v", l)
		}
		if s := w.daemon.Status(); len(s.NICs) != 1 || s.State != string(v1.StateConfigured) || w.lastReport().Degraded != nil {
			t.Errorf("the status is %+v", s)
		}
	})
}
