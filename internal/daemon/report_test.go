package daemon

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/hosttest"
)

// What waits for its release is not done: neither where no row could say so, nor in the row of an entry that cannot be read.
func TestAWaitingGenerationIsNotReportedAsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		empty := object("u1", 1)
		empty.Status.ReleasedGeneration = -1
		w.tell(asked.Wish{Object: empty})
		if r := w.lastReport(); r.Generation != 1 || r.Phase == v1.PhaseDone {
			t.Errorf("without NICs: %+v", r)
		}
		odd := object("u1", 2, "192.0.2.1/24", "192.0.2.2/24")
		odd.Spec.Interfaces[1].ID = nil
		odd.Status.ReleasedGeneration = -1
		w.tell(asked.Wish{Object: odd})
		r := w.lastReport()
		if r.Generation != 2 || r.Phase != v1.PhaseDone || len(r.Interfaces) != 2 {
			t.Fatalf("with an entry that cannot be read: %+v", r)
		}
		for _, n := range r.Interfaces {
			if n.Status != v1.StatePending || n.Reason != v1.ReasonWaitingForRelease {
				t.Errorf("%+v", n)
			}
		}
	})
}

// A NIC that could not be given back has no row in the report; the times of the others stay theirs.
func TestTheTimesInAReportAreThoseOfTheirNICs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "192.0.3.1/24")})
		second := w.lastReport().Interfaces[1]
		w.machine.FailFrom = w.machine.Ops + 1
		o := object("u1", 2, "192.0.2.1/24", "192.0.3.1/24")
		o.Spec.Interfaces = o.Spec.Interfaces[1:]
		w.tell(asked.Wish{Object: o})
		s, r := w.daemon.Status(), w.lastReport()
		if len(s.NICs) != 2 || !s.NICs[0].Unwanted || len(r.Interfaces) != 1 {
			t.Fatalf("status %+v, report %+v", s.NICs, r.Interfaces)
		}
		if !r.Interfaces[0].LastConfigured.Equal(second.LastConfigured) || !s.NICs[1].LastConfigured.Equal(second.LastConfigured.Time) {
			t.Errorf("it was configured at %s, the report says %s, the status %s", second.LastConfigured, r.Interfaces[0].LastConfigured, s.NICs[1].LastConfigured)
		}
	})
}

// What `multinicd apply` ends with, what the report carries and what a run's status says of it are one.
func TestApplyAndARunEndAlike(t *testing.T) {
	steps := func(w *world) int { // of the first change
		n := w.machine.Ops
		w.tell(asked.Wish{Object: object("u0", 1, "192.0.2.1/24")})
		return w.machine.Ops - n
	}
	var all int
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		all = steps(w)
	})
	codes := map[int]int{}
	wasOld := 0
	for n := 1; n <= all; n++ {
		for name, fail := range map[string]func(m *hosttest.Machine, at int){
			"one fails":            func(m *hosttest.Machine, at int) { m.FailAt = at },
			"from there all fails": func(m *hosttest.Machine, at int) { m.FailFrom = at },
		} {
			for _, level := range []int32{0, v1.ReportLevel} {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					defer w.start()()
					fail(w.machine, w.machine.Ops+n)
					o := object("u1", 1, "192.0.2.1/24")
					o.Status.ReportLevel = level
					w.tell(asked.Wish{Object: o})
					s, r := w.daemon.Status(), w.lastReport()
					code, reason, message := r.Outcome(v1.ActionTrigger)
					if level > 0 {
						codes[int(code)]++
						if int(code) != s.ExitCode() {
							t.Errorf("%s at operation %d: multinicd apply ends with %d, the run with %d: %s: %s", name, n, s.ExitCode(), code, reason, message)
						}
					} else if data, err := r.Encode(); err != nil || parse010(data) != nil {
						t.Errorf("%s at operation %d: a bridge of 0.1.0 refuses the report: %v, %v", name, n, err, parse010(data))
					} else if int(code) != s.ExitCode() {
						wasOld++
					}
				})
			}
		}
	}
	for _, code := range []int{v1.ExitFailed, v1.ExitRolledBack, v1.ExitRollbackFailed} {
		if codes[code] == 0 {
			t.Errorf("no change ended with %d: %v", code, codes)
		}
	}
	t.Logf("codes %v; %d that only the reason tells, and tells wrongly", codes, wasOld)
}

// The daemon says what the bridge of the cluster reads: after an upgrade of either, and after one is taken back.
func TestAReportHasWhatTheBridgeReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		w.machine.Refuse = errors.New("netplan says no")
		bridge := func(observed int64, level int32) *v1.MultiNicNodeConfig {
			o := object("u1", 1, "192.0.2.1/24")
			o.Status.ObservedGeneration, o.Status.ReportLevel = observed, level
			return o
		}
		want := func(what string, reports int, outcome v1.Outcome) {
			t.Helper()
			if r := w.lastReport(); len(w.reports) != reports || r.Interfaces[0].Reason != v1.ReasonValidationFailed || r.Interfaces[0].Outcome != outcome {
				t.Errorf("%s: %d reports, the last %+v; want %d, and outcome %q", what, len(w.reports), r.Interfaces, reports, outcome)
			}
		}
		w.tell(asked.Wish{Object: bridge(1, 0)})
		want("a bridge of 0.1.0", 1, "")
		w.tell(asked.Wish{Object: bridge(1, 1)})
		want("it is upgraded", 2, v1.OutcomeRolledBack)
		w.tell(asked.Wish{Object: bridge(0, 0)})
		want("it has not spoken of this object yet", 2, v1.OutcomeRolledBack)
		stop()
		stop = w.start()
		want("the node starts anew", 2, v1.OutcomeRolledBack)
		w.tell(asked.Wish{Object: bridge(1, 0)})
		want("the bridge is taken back", 3, "")
		stop()
	})
}

// They are one whatever keeps an object, or a NIC, from being as wanted.
func TestApplyAndARunEndAlikeWhateverHolds(t *testing.T) {
	read := func(generation int64, cidrs ...string) *v1.MultiNicNodeConfig {
		o := object("u1", generation, cidrs...)
		o.Status.ReportLevel = v1.ReportLevel
		return o
	}
	both := []string{"192.0.2.1/24", "198.51.100.1/24"}
	for name, tt := range map[string]struct {
		do   func(w *world)
		want int
	}{
		"nothing":                  {func(w *world) { w.tell(asked.Wish{Object: read(1, both...)}) }, v1.ExitDone},
		"no NICs are wanted":       {func(w *world) { w.tell(asked.Wish{Object: read(1)}) }, v1.ExitDone},
		"a NIC is not there":       {func(w *world) { w.tell(asked.Wish{Object: read(1, append(both, "203.0.113.1/24")...)}) }, v1.ExitWaiting},
		"a NIC is refused":         {func(w *world) { w.machine.Net[1].Master = 7; w.tell(asked.Wish{Object: read(1, both...)}) }, v1.ExitRefused},
		"an entry cannot be read":  {func(w *world) { w.tell(asked.Wish{Object: read(1, "192.0.2.1/24", "x")}) }, v1.ExitRefused},
		"the object is of another": {func(w *world) { o := read(1, both...); o.Spec.NodeName = "n2"; w.tell(asked.Wish{Object: o}) }, v1.ExitRefused},
		"it cannot be read": {func(w *world) {
			w.tell(asked.Wish{Object: read(1, both...)})
			w.tell(asked.Wish{Unread: &asked.Unread{UID: "u1", Generation: 2, Message: "x"}})
		}, v1.ExitRefused},
		"nothing can be compared": {func(w *world) { o := read(1, both...); o.Spec.InstanceID = "i-1"; w.tell(asked.Wish{Object: o}) }, v1.ExitDone},
		"it was rolled back by hand": {func(w *world) {
			w.tell(asked.Wish{Object: read(1, both[0])})
			w.tell(asked.Wish{Object: read(2, both[1])})
			w.daemon.ask(w.t.Context(), AskRollback)
		}, v1.ExitRefused},
		"it waits for its release": {func(w *world) {
			w.tell(asked.Wish{Object: read(1, both...)})
			o := read(2, both[0])
			o.Status.ReleasedGeneration = 1
			w.tell(asked.Wish{Object: o})
		}, v1.ExitWaiting},
		"it waits, and has no NICs": {func(w *world) {
			w.tell(asked.Wish{Object: read(1, both...)})
			o := read(2)
			o.Status.ReleasedGeneration = 1
			w.tell(asked.Wish{Object: o})
		}, v1.ExitWaiting},
		"all was given back": {func(w *world) { w.tell(asked.Wish{Object: read(1, both...)}); w.daemon.ask(w.t.Context(), AskCleanup) }, v1.ExitDone},
		"somebody fights for a NIC": {func(w *world) {
			w.tell(asked.Wish{Object: read(1, both...)})
			w.fight.Store(true)
			for range 10 {
				w.wake <- struct{}{}
				sleep(time.Second / 10)
			}
		}, v1.ExitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.start()()
				tt.do(w)
				synctest.Wait()
				s, r := w.daemon.Status(), w.lastReport()
				action := v1.ActionTrigger
				if s.State == string(v1.PhaseRemoved) { // the command was cleanup; a trigger that comes then does nothing
					action = v1.ActionCleanup
					if code, reason, _ := r.Outcome(v1.ActionTrigger); code != v1.ExitRefused || reason != v1.ReasonRemoved {
						t.Errorf("a trigger ends with %d: %s", code, reason)
					}
				}
				code, reason, message := r.Outcome(action)
				if int(code) != s.ExitCode() || int(code) != tt.want {
					t.Errorf("multinicd apply ends with %d, the run with %d: %s: %s; want %d", s.ExitCode(), code, reason, message, tt.want)
				}
			})
		})
	}
}

// They are one for a NIC that the object names no more and that cannot be given back, though it has no row.
func TestApplyAndARunEndAlikeForANICThatStays(t *testing.T) {
	codes := map[int]int{}
	for n := range 12 {
		for _, forever := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.start()()
				w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
				if forever {
					w.machine.FailFrom = w.machine.Ops + 1 + n
				} else {
					w.machine.FailAt = w.machine.Ops + 1 + n
				}
				o := object("u1", 2, "192.0.2.1/24")
				o.Status.ReportLevel = v1.ReportLevel
				w.tell(asked.Wish{Object: o})
				s, r := w.daemon.Status(), w.lastReport()
				code, reason, message := r.Outcome(v1.ActionTrigger)
				if codes[int(code)]++; int(code) != s.ExitCode() {
					t.Errorf("at operation %d: multinicd apply ends with %d, the run with %d: %s: %s", n, s.ExitCode(), code, reason, message)
				}
			})
		}
	}
	for _, code := range []int{v1.ExitDone, v1.ExitFailed, v1.ExitRolledBack, v1.ExitRollbackFailed} {
		if codes[code] == 0 {
			t.Errorf("no change ended with %d: %v", code, codes)
		}
	}
}

func TestANoteIsShownAndDegradesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		o := object("u1", 1, "192.0.2.1/24")
		o.Spec.InstanceID = "i-1"
		w.tell(asked.Wish{Object: o})
		s := w.daemon.Status()
		if len(s.Notes) != 1 || !strings.Contains(whole(s), "\n  note: IdentityUnverified: nothing on this host can be compared") || s.State != string(v1.StateConfigured) {
			t.Errorf("the status is %s", whole(s))
		}
		if r := w.lastReport(); r.Degraded == nil || !r.Degraded.IsNote() {
			t.Errorf("the report has %+v", r.Degraded)
		}
	})
}
