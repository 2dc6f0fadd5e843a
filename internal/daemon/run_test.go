package daemon

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
)

// ask gives the object as it is with a run that is asked for.
func ask(obj *v1.MultiNicNodeConfig, run string, action v1.RunAction) asked.Wish {
	obj = obj.DeepCopy()
	obj.Status.RequestedRun, obj.Status.RequestedAction = run, action
	return asked.Wish{Object: obj}
}

func TestATriggerTriesAtOnceWhatWaitsForItsRetryAndIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		broken := true
		w.probed = func(context.Context) error {
			if broken {
				return errors.New("no answer")
			}
			return nil
		}
		defer w.start()()
		obj := object("u1", 1, "192.0.2.1/24")
		w.tell(asked.Wish{Object: obj})
		sleep(5 * time.Second)
		if r := w.lastReport(); r.Interfaces[0].Status != v1.StateFailed {
			t.Fatalf("the change did not fail: %+v", r.Interfaces[0])
		}
		broken = false
		w.tell(ask(obj, "run-1", v1.ActionTrigger))
		w.want("multinic1 192.0.2.1/24")
		if r := w.lastReport(); r.Run != "run-1" || r.Interfaces[0].Status != v1.StateConfigured {
			t.Errorf("the report: run %q, %+v", r.Run, r.Interfaces[0])
		}
		reports := len(w.reports)
		w.tell(ask(obj, "run-1", v1.ActionTrigger))
		w.machine.Ops = 0
		w.tell(ask(obj, "run-2", v1.ActionTrigger))
		if len(w.reports) != reports+1 || w.lastReport().Run != "run-2" || w.machine.Ops != 0 {
			t.Errorf("%d more reports, the last for %q, %d operations: want one report for run-2 and no operation",
				len(w.reports)-reports, w.lastReport().Run, w.machine.Ops)
		}
	})
}

func TestACleanupHoldsUntilTheObjectChangesOrATriggerComes(t *testing.T) {
	const configured = "multinic1 192.0.2.1/24, multinic2 198.51.100.1/24"
	for name, next := range map[string]asked.Wish{
		"a trigger":            ask(object("u1", 1, "192.0.2.1/24", "198.51.100.1/24"), "run-2", v1.ActionTrigger),
		"another generation":   {Object: object("u1", 2, "192.0.2.1/24", "198.51.100.1/24")},
		"the object made anew": {Object: object("u2", 1, "192.0.2.1/24", "198.51.100.1/24")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				stop := w.start()
				obj := object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")
				w.tell(asked.Wish{Object: obj})
				w.want(configured)
				w.tell(ask(obj, "run-1", v1.ActionCleanup))
				w.want("")
				if r := w.lastReport(); r.Run != "run-1" || r.Phase != v1.PhaseRemoved {
					t.Errorf("the report: run %q, phase %s", r.Run, r.Phase)
				}
				stop()
				stop = w.start() // with what is on disk
				w.tell(ask(obj, "run-1", v1.ActionCleanup))
				sleep(time.Hour)
				w.want("")
				w.tell(next)
				w.want(configured)
				stop()
			})
		})
	}
}

// A thief of the bridge's token orders what it likes; a node that was told so keeps its NICs, and says that it did.
func TestANodeThatKeepsItsNICsRefusesTheClustersCleanup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.with = func(d *Daemon) { d.NoCleanup = true }
		stop := w.start()
		const configured = "multinic1 192.0.2.1/24"
		obj := object("u1", 1, "192.0.2.1/24")
		w.tell(asked.Wish{Object: obj})
		w.want(configured)
		refused := func(run string) {
			t.Helper()
			w.want(configured)
			r := w.lastReport()
			if r.Run != run || r.Phase != v1.PhaseDone || r.Interfaces[0].Status != v1.StateConfigured || r.Degraded == nil || r.Degraded.Reason != v1.ReasonCleanupRefused {
				t.Errorf("the report: run %q, phase %s, degraded %+v, %+v", r.Run, r.Phase, r.Degraded, r.Interfaces)
			}
			if code, reason, _ := r.Outcome(v1.ActionCleanup); code != v1.ExitRefused || reason != v1.ReasonCleanupRefused {
				t.Errorf("the run ends with %d, %s", code, reason)
			}
			if s := w.daemon.Status(); len(s.Notes) != 1 || !strings.HasPrefix(s.Notes[0], v1.ReasonCleanupRefused+": ") {
				t.Errorf("the status notes %q", s.Notes)
			}
		}
		w.machine.Ops = 0
		w.tell(ask(obj, "run-1", v1.ActionCleanup))
		refused("run-1")
		stop()
		stop = w.start() // it is remembered, and the order is no new one
		w.tell(ask(obj, "run-1", v1.ActionCleanup))
		refused("run-1")
		w.tell(ask(released(object("u1", 2, "192.0.2.2/24"), 1, 2).Object, "run-2", v1.ActionCleanup)) // held back as well
		w.want(configured)
		if r := w.lastReport(); r.Run != "run-2" || r.Degraded == nil || r.Degraded.Reason != v1.ReasonCleanupRefused {
			t.Errorf("the report of an object that waits: run %q, degraded %+v", r.Run, r.Degraded)
		}
		if w.machine.Ops != 0 {
			t.Errorf("%d operations on the machine, want none", w.machine.Ops)
		}
		w.tell(released(object("u1", 2, "192.0.2.2/24"), 2, 2)) // a change of the object ends it
		w.want("multinic1 192.0.2.2/24")
		w.tell(ask(object("u1", 2, "192.0.2.2/24"), "run-3", v1.ActionCleanup))
		w.tell(ask(object("u1", 2, "192.0.2.2/24"), "run-4", v1.ActionTrigger)) // and so does a trigger
		if r := w.lastReport(); r.Run != "run-4" || r.Degraded != nil {
			t.Errorf("after a trigger: run %q, degraded %+v", r.Run, r.Degraded)
		}
		if code, _, _ := w.lastReport().Outcome(v1.ActionTrigger); code != v1.ExitDone {
			t.Errorf("the trigger ends with %d", code)
		}
		w.tell(asked.Wish{Object: object("u1", 3)}) // the object's word counts
		w.want("")
		stop()
	})
}

func TestASettingThatComesAfterTheCleanupBringsTheNICsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		obj := object("u1", 1, "192.0.2.1/24")
		w.tell(ask(obj, "run-1", v1.ActionCleanup))
		w.want("")
		stop()
		w.with = func(d *Daemon) { d.NoCleanup = true }
		defer w.start()()
		w.tell(ask(obj, "run-1", v1.ActionCleanup))
		w.want("multinic1 192.0.2.1/24")
		if r := w.lastReport(); r.Degraded == nil || r.Degraded.Reason != v1.ReasonCleanupRefused {
			t.Errorf("the report says %+v", r.Degraded)
		}
	})
}

// released gives the object as it is with what the bridge says of its release, and of which generation it has spoken.
func released(obj *v1.MultiNicNodeConfig, release, observed int64) asked.Wish {
	obj = obj.DeepCopy()
	obj.Status.ReleasedGeneration, obj.Status.ObservedGeneration = release, observed
	return asked.Wish{Object: obj}
}

func TestAGenerationWaitsForItsRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		waits := func(generation int64) {
			t.Helper()
			r := w.lastReport()
			if r.Generation != generation || len(r.Interfaces) != 1 || r.Interfaces[0].Reason != v1.ReasonWaitingForRelease {
				t.Errorf("the report: generation %d, %+v", r.Generation, r.Interfaces)
			}
		}
		w.tell(released(object("u1", 1, "192.0.2.1/24"), -1, 1)) // the first object, and the brake is on
		w.want("")
		waits(1)
		w.tell(released(object("u1", 1, "192.0.2.1/24"), 1, 1))
		w.want("multinic1 192.0.2.1/24")
		w.tell(released(object("u1", 2, "192.0.2.2/24"), 1, 1)) // the bridge is down: nobody releases
		w.want("multinic1 192.0.2.1/24")
		waits(2)
		stop()
		stop = w.start() // what is held back is so after a restart without the cluster, too
		sleep(time.Hour)
		w.want("multinic1 192.0.2.1/24")
		w.tell(ask(released(object("u1", 2, "192.0.2.2/24"), 1, 2).Object, "run-1", v1.ActionTrigger)) // a trigger is no release
		w.want("multinic1 192.0.2.1/24")
		waits(2)
		if r := w.lastReport(); r.Run != "run-1" {
			t.Errorf("the run is not answered: %q", r.Run)
		}
		w.tell(released(object("u1", 2, "192.0.2.2/24"), 2, 2))
		w.want("multinic1 192.0.2.2/24")
		if r := w.lastReport(); r.Generation != 2 || r.Interfaces[0].Status != v1.StateConfigured {
			t.Errorf("the report: %+v", r)
		}
		w.tell(released(object("u2", 1, "192.0.2.3/24"), 0, 0)) // made anew, and the bridge has not spoken of it
		w.want("multinic1 192.0.2.2/24")
		waits(1)
		w.tell(released(object("u2", 1, "192.0.2.3/24"), 0, 1)) // the brake was taken off
		w.want("multinic1 192.0.2.3/24")
		w.tell(released(object("u2", 2, "192.0.2.4/24"), 0, 1)) // and stays off
		w.want("multinic1 192.0.2.4/24")
		w.tell(released(object("u2", 2, "192.0.2.4/24"), 2, 2)) // it comes on, and nothing changes
		stop()
		stop = w.start()                                        // what was said of it is not forgotten
		w.tell(released(object("u3", 1, "192.0.2.5/24"), 0, 0)) // made anew while the daemon and the bridge were away
		w.want("multinic1 192.0.2.4/24")
		waits(1)
		w.tell(released(object("u3", 1, "192.0.2.5/24"), 1, 0))
		w.want("multinic1 192.0.2.5/24")
		stop()
	})
}
