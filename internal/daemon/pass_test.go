package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/pace"
	"multinicd/nic"
	"multinicd/plan"
)

func TestANICThatWasUnpluggedInMidChangeIsConfiguredOnceItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.probed = func(context.Context) error { // it goes, and its like comes, before the pass looks again, which the kernel tells
			w.probed = nil
			w.machine.Net[0].Index = 77
			w.machine.Net[0].Addresses, w.machine.Net[0].Name = nil, "eth7"
			return errors.New("link 11 is gone")
		}
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
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
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
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
	refuses  *atomic.Bool      // without a try, as a backend may; nil: never
}

func (a applier) Record() plan.Record {
	if a.recorded != nil {
		a.recorded()
	}
	return a.Applier.Record()
}

func (a applier) Do(ctx context.Context, action plan.Action) apply.Result {
	if a.refuses != nil && a.refuses.Load() {
		return apply.Result{Action: action, Outcome: apply.Refused, Reason: plan.NoBackend, Message: "its plugin is gone"}
	}
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
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		watching = true
		w.wake <- struct{}{}
		sleep(time.Second)
	})
}

func TestAnObjectThatCouldNotBeKeptIsKeptLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.state.FailFrom = w.state.Ops + 1
		w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.2/24")})
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
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
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

func TestAChangeThatSomebodyOvertookIsMadeOnceMoreAtOnce(t *testing.T) {
	for name, row := range map[string]struct {
		meanwhile func(l *nic.Link, time int) // what somebody does right before the change is verified, the first, second and so on time
		tries     int                         // at once
		ends      v1.State
	}{
		"a rename in between": {func(l *nic.Link, time int) {
			if time == 1 {
				l.Name, l.Up = "foo0", true
			}
		}, 2, v1.StateConfigured},
		"two of them": {func(l *nic.Link, time int) {
			if time <= 2 {
				l.Name = fmt.Sprintf("foo%d", time)
			}
		}, 2, v1.StateFailed},
		"the same as before, each time": {func(l *nic.Link, _ int) { l.Addresses = nil }, 2, v1.StateFailed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.start()()
				tries := 0
				w.step = func(name string) {
					if name == "verify" {
						tries++
						row.meanwhile(&w.machine.Net[0], tries)
					}
				}
				w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
				n := w.daemon.Status().NICs[0]
				if tries != row.tries || n.Status != row.ends {
					t.Errorf("%d tries, then %s %s: %s; want %d and %s", tries, n.Status, n.Reason, n.Message, row.tries, row.ends)
				}
				if len(w.reports) != 1 || w.lastReport().Interfaces[0].Status != row.ends {
					t.Errorf("%d reports, the last %+v", len(w.reports), w.lastReport())
				}
			})
		})
	}
}

// A change that is made once more takes twice as long, and the service manager does not wait for that unless it hears of us in between.
func TestTheWatchdogIsFedBetweenTheTwoTriesOfAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		last, tries := time.Now(), 0
		w.fed = func() {
			if gap := time.Since(last); gap > w.WatchdogInterval() {
				t.Errorf("fed after %s", gap)
			}
			last = time.Now()
		}
		w.step = func(name string) {
			if name == "verify" {
				tries++
				w.machine.Net[0].Addresses = nil
				time.Sleep(40 * time.Second)
			}
		}
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		sleep(82 * time.Second)
		if tries != 2 {
			t.Errorf("%d tries, want two", tries)
		}
	})
}

// Nine changes that follow one another at once: the service manager, which wakes for each word, waits for much longer than a second.
func TestTheWatchdogIsFedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.machine.Net = nil
		var addresses []string
		for id := range 9 {
			l := link(id + 1)
			l.Name = fmt.Sprintf("ens%d", id+1)
			w.machine.Net = append(w.machine.Net, l)
			addresses = append(addresses, fmt.Sprintf("10.0.%d.1/24", id+1))
		}
		fed := 0
		w.fed = func() { fed++ }
		w.tell(asked.Wish{Object: object("u1", 1, addresses...)})
		if got := len(w.daemon.Status().NICs); got != 9 || w.daemon.Status().NICs[8].Status != v1.StateConfigured {
			t.Fatalf("%d NICs, %+v", got, w.daemon.Status().NICs)
		}
		if fed == 0 || fed > 6 { // a pass begins and ends with it, and there are two or three
			t.Errorf("fed %d times", fed)
		}
	})
}

func TestAFailedChangeSaysWhenItIsTriedAgainAndIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.machine.Refuse = errors.New("netplan says no, " + strings.Repeat("at great length ", 20))
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		s := w.daemon.Status()
		if at := time.Now().Add(pace.RetryMin - time.Second); s.NICs[0].NextTry.Sub(at).Abs() > 100*time.Millisecond || !strings.Contains(whole(s), "tried again at "+at.UTC().Format(time.RFC3339)) {
			t.Errorf("the next try is said to be at %s, want %s:\n%s", s.NICs[0].NextTry, at, whole(s))
		}
		sleep(time.Hour)
		if msg := w.lastReport().Interfaces[0].Message; len(w.reports) != 1 || !strings.HasPrefix(msg, "netplan says no, ") || !strings.HasSuffix(msg, "; tried again by itself within 10 min") {
			t.Errorf("%d reports in an hour, the last says %q", len(w.reports), msg)
		}
		w.machine.Refuse = nil
		w.wake <- struct{}{}
		sleep(pace.RetryMax)
		if n := w.daemon.Status().NICs[0]; n.Status != v1.StateConfigured || !n.NextTry.IsZero() {
			t.Errorf("in the end %+v", n)
		}
	})
}

// One NIC cuts the node off as soon as its link is up. Another, which is changed together with it, fails for that once, and is as wanted then.
func TestANICThatHasFailedIsChangedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.dad = true
		w.probed = func(context.Context) error {
			if w.machine.Net[1].Up {
				return errors.New("no answer")
			}
			return nil
		}
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
		w.want("") // otherwise they were not changed together, and the rest says nothing
		sleep(time.Hour)
		w.want("multinic1 192.0.2.1/24")
		said := ""
		for _, n := range w.daemon.Status().NICs {
			said += fmt.Sprint(n.Name, " ", n.Reason, "; ")
		}
		if want := "multinic1 Configured; multinic2 ProbeFailed; "; said != want {
			t.Errorf("it is said %q, want %q", said, want)
		}
	})
}
