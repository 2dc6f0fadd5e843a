package daemon

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/status"
	"multinicd/nic"
	"multinicd/plan"
)

// While the first NIC, whose address a neighbour holds, is tried again, something happens to a NIC. The cluster hears of what becomes of it, once.
func TestWhatHappensDuringAPassIsReportedOnce(t *testing.T) {
	for name, row := range map[string]struct {
		before func(w *world) // the node is made
		happen func(w *world) // during a try
		nic    int            // that it happens to
		ends   v1.State
		reason string
	}{
		"a NIC comes": {
			func(w *world) { w.machine.Net = w.machine.Net[:1] },
			func(w *world) { w.machine.Net = append(w.machine.Net, link(2)) }, 1, v1.StateConfigured, v1.ReasonConfigured},
		"a NIC goes": {nil,
			func(w *world) { w.machine.Net = w.machine.Net[:1] }, 1, v1.StatePending, v1.ReasonWaitingForNIC},
		"a NIC is plugged in anew": {nil,
			func(w *world) { w.machine.Net[1] = link(2); w.machine.Net[1].Index = 99 }, 1, v1.StateConfigured, v1.ReasonConfigured},
		"somebody takes an address away": {nil,
			func(w *world) { w.machine.Net[1].Addresses = nil }, 1, v1.StateConfigured, v1.ReasonConfigured},
		"the one that is tried goes": {nil,
			func(w *world) { w.machine.Net = w.machine.Net[1:] }, 0, v1.StatePending, v1.ReasonWaitingForNIC},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.dad = true
				w.machine.Neighbours = map[netip.Addr]nic.MAC{netip.MustParseAddr("192.0.2.1"): {2, 9}}
				if row.before != nil {
					row.before(w)
				}
				defer w.start()()
				w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
				if len(w.reports) != 1 || w.reports[0].Interfaces[0].Reason != v1.ReasonAddressInUse {
					t.Fatalf("reports before: %+v", w.reports)
				}
				happened := time.Time{}
				w.step = func(name string) {
					if name == string(plan.StepFree) && happened.IsZero() {
						happened = time.Now()
						row.happen(w)
						nudge(w.wake)
					}
				}
				sleep(time.Minute)
				got := w.lastReport().Interfaces[row.nic]
				if happened.IsZero() || len(w.reports) != 2 || got.Status != row.ends || got.Reason != row.reason {
					for _, r := range w.reports {
						t.Logf("%+v", r.Interfaces)
					}
					t.Errorf("%d reports, the last of which says %s %s; want 2, %s %s", len(w.reports), got.Status, got.Reason, row.ends, row.reason)
				}
				if got.Status == v1.StateConfigured && !got.LastConfigured.Time.Equal(happened.UTC().Truncate(time.Second)) {
					t.Errorf("configured at %s, the report says %s", happened, got.LastConfigured)
				}
			})
		})
	}
}

// An address that the kernel checks is no news, unless that takes long.
func TestWhatPassesIsNotReportedAndWhatLastsIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "2001:db8:1::1/64", "2001:db8:2::1/64")})
		checked := func(id int, now bool) {
			w.machine.Net[id-1].Addresses[0].Tentative, w.machine.Net[id-1].Carrier = now, true
			w.wake <- struct{}{}
		}
		want := func(reports int, states ...v1.State) {
			t.Helper()
			r := w.lastReport()
			if len(w.reports) != reports || r.Interfaces[0].Status != states[0] || r.Interfaces[1].Status != states[1] {
				t.Errorf("%d reports, the last %+v; want %d, %s", len(w.reports), r.Interfaces, reports, states)
			}
		}
		want(1, v1.StateConfigured, v1.StateConfigured)
		checked(1, true)
		sleep(2 * time.Second)
		checked(1, false)
		sleep(time.Minute)
		want(1, v1.StateConfigured, v1.StateConfigured)
		checked(1, true)
		sleep(heldBack - time.Second/2)
		want(1, v1.StateConfigured, v1.StateConfigured)
		if r := w.daemon.ask(t.Context(), AskUndo); r.Error == "" { // a command that is refused puts nothing off
			t.Error("a rollback was undone where there was none")
		}
		sleep(time.Second)
		want(2, v1.StateInProgress, v1.StateConfigured)
		checked(2, true) // that of the first lasts, and delays no other
		sleep(heldBack - time.Second/2)
		want(2, v1.StateInProgress, v1.StateConfigured)
		sleep(time.Second)
		want(3, v1.StateInProgress, v1.StateInProgress)
		passes := w.daemon.Status().Meters.Passes
		sleep(time.Hour)
		if n := w.daemon.Status().Meters.Passes - passes; n > int64(hourly+2) {
			t.Errorf("%d passes in an hour of a check that lasts", n)
		}
		checked(1, false)
		checked(2, false)
		sleep(time.Second)
		want(4, v1.StateConfigured, v1.StateConfigured)
	})
}

func TestReportsOnNICsThatComeOneAfterTheOtherAreHeldBackForNoLongerThanOnOne(t *testing.T) {
	b, now := between{done: map[string]time.Time{}}, time.Unix(1000, 0)
	told := 0
	for i := range 30 { // a second apart
		if !b.waits([]status.NIC{{MAC: string(rune('a' + i)), Between: true}}, now.Add(time.Duration(i)*time.Second)) {
			told++
		}
	}
	if told < 30/4 {
		t.Errorf("%d reports in 30 s", told)
	}
}
