package daemon

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
)

func TestRollbackHoldsUntilTheObjectChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		if r := w.daemon.ask(t.Context(), AskRollback); r.Error == "" {
			t.Error("rolled back to nothing")
		}
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.2/24", "198.51.100.1/24")})
		if r := w.daemon.ask(t.Context(), AskRollback); r.Error != "" {
			t.Fatal(r.Error)
		}
		w.want("multinic1 192.0.2.1/24")
		synctest.Wait()
		if r := w.lastReport(); r.Generation != 2 || r.Refused == nil || r.Refused.Reason != v1.ReasonHeldBack {
			t.Errorf("the report says %+v", r)
		}
		w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.2/24", "198.51.100.1/24")})
		stop()
		stop = w.start()
		w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.2/24", "198.51.100.1/24")})
		w.want("multinic1 192.0.2.1/24")
		w.tell(asked.Wish{Object: object("u1", 3, "192.0.2.3/24")})
		w.want("multinic1 192.0.2.3/24")
		stop()
	})
}

// hashed gives an object with another mark of the publisher.
func hashed(obj *v1.MultiNicNodeConfig, hash string) asked.Wish {
	obj.Spec.SpecHash = hash
	return asked.Wish{Object: obj}
}

// nowhere is an object that no host takes.
func nowhere(uid string, generation int64) *v1.MultiNicNodeConfig {
	obj := object(uid, generation, "192.0.2.8/24", "198.51.100.8/24")
	obj.Spec.Interfaces[1].MACAddress = obj.Spec.Interfaces[0].MACAddress
	return obj
}

// elsewhere is an object that this host refuses.
func elsewhere(generation int64) *v1.MultiNicNodeConfig {
	obj := object("u1", generation, "192.0.2.9/24")
	obj.Spec.InstanceID = "i-1"
	return obj
}

func TestARollbackToNothingElseIsRefusedAndChangesNothing(t *testing.T) {
	one := func(uid string, generation int64) *v1.MultiNicNodeConfig {
		return object(uid, generation, "192.0.2.1/24")
	}
	for name, row := range map[string]struct {
		tell []asked.Wish
		says string
	}{
		"no object yet":                            {nil, "no earlier configuration is known: nothing to roll back to"},
		"the first object":                         {[]asked.Wish{{Object: one("u1", 1)}}, "no earlier configuration is known: nothing to roll back to"},
		"only the publisher's mark is new":         {[]asked.Wish{hashed(one("u1", 1), "a"), hashed(one("u1", 2), "b")}, "no earlier configuration is known: nothing to roll back to"},
		"the object was deleted and made anew":     {[]asked.Wish{{Object: one("u1", 1)}, {Gone: true}, {Object: one("u2", 1)}}, "the object wants the same of the NICs as the one before: nothing to roll back to"},
		"the object is deleted":                    {[]asked.Wish{{Object: object("u1", 1, "192.0.2.9/24")}, {Object: one("u1", 2)}, {Gone: true}}, "the object was deleted: nothing to roll back to; make it anew to configure the NICs"},
		"the NICs were given back":                 {[]asked.Wish{{Object: object("u1", 1, "192.0.2.9/24")}, {Object: one("u1", 2)}, ask(one("u1", 2), "r1", v1.ActionCleanup)}, "every NIC was given back by a cleanup: nothing to roll back to"},
		"the one before was for another machine":   {[]asked.Wish{{Object: elsewhere(1)}, {Object: one("u1", 2)}}, "generation 1 is refused itself, nothing to roll back to: spec.instanceId is i-1, this host is i-0: the object is meant for another machine; correct it, or set instance_id in multinicd.toml"},
		"it changed, and then changed back":        {[]asked.Wish{{Object: one("u1", 1)}, {Object: object("u1", 2, "192.0.2.9/24")}, {Object: one("u1", 3)}}, ""},
		"an object that cannot count lies between": {[]asked.Wish{{Object: object("u1", 1, "192.0.2.9/24")}, {Object: nowhere("u1", 2)}, {Object: one("u1", 3)}}, ""},
		"a change, and then another mark of it":    {[]asked.Wish{{Object: object("u1", 1, "192.0.2.9/24")}, hashed(one("u1", 2), "a"), hashed(one("u1", 3), "b")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.ids = []string{"i-0"}
				defer w.start()()
				for _, wish := range row.tell {
					w.tell(wish)
				}
				before, reports := w.daemon.Status(), len(w.reports)
				had := w.addresses()
				for range 2 { // the second time it is no other
					if r := w.daemon.ask(t.Context(), AskRollback); r.Error != row.says && row.says != "" {
						t.Errorf("it says %q, want %q", r.Error, row.says)
					}
				}
				synctest.Wait()
				after := w.daemon.Status()
				if row.says != "" && (after.State != before.State || after.Held || len(w.reports) != reports) {
					t.Errorf("the node is %s (held %t) after %d more reports, was %s", after.State, after.Held, len(w.reports)-reports, before.State)
				}
				if row.says != "" {
					w.want(had)
				} else {
					w.want("multinic1 192.0.2.9/24")
				}
			})
		})
	}
}

func TestARollbackIsShownAndCanBeUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		if r := w.daemon.ask(t.Context(), AskUndo); r.Error != "nothing is rolled back: there is nothing to undo" {
			t.Errorf("undone, without a rollback: %q", r.Error)
		}
		w.tell(asked.Wish{Object: object("u1", 7, "192.0.2.1/24")})
		now := object("u1", 8, "192.0.2.2/24")
		w.tell(asked.Wish{Object: now})
		if f, err := w.daemon.PreviewRollback(t.Context(), true); err != nil || len(f.Plan.Actions) != 1 || f.Plan.Actions[0].NIC.Addresses[0].String() != "192.0.2.1/24" || f.Mode != asked.ModeObject || f.Note != "back to generation 7" {
			t.Errorf("a dry run says %+v %v", f, err)
		}
		w.want("multinic1 192.0.2.2/24")
		if r := w.daemon.ask(t.Context(), AskRollback); r.Error != "" || !r.Status.Held {
			t.Fatalf("%+v", r)
		}
		w.want("multinic1 192.0.2.1/24")
		synctest.Wait() // the line follows the reply
		if want := "generation 8 held back, generation 7 in force, 1/1 NICs ready, last contact "; !strings.HasPrefix(w.line, want) {
			t.Errorf("the line is %q, want %q", w.line, want)
		}
		const says = "generation 8 is held back: it was rolled back by hand to generation 7; `multinicd rollback --undo` on the node, or the next change of the object, ends that"
		if text := whole(w.daemon.Status()); !strings.Contains(text, says) {
			t.Errorf("the status does not say %q:\n%s", says, text)
		}
		if r := w.daemon.ask(t.Context(), AskRollback); !strings.Contains(r.Error, "--undo") {
			t.Errorf("a second time it says %q", r.Error)
		}
		w.tell(ask(now, "run-1", v1.ActionTrigger)) // somebody has all nodes reconcile: this one is held back all the same, and says so
		w.want("multinic1 192.0.2.1/24")
		if r := w.lastReport(); r.Run != "run-1" || r.Refused == nil || r.Refused.Reason != v1.ReasonHeldBack || r.Refused.Message != says {
			t.Errorf("the trigger is answered with %+v", r)
		}
		if f, err := w.daemon.Preview(t.Context(), asked.Wish{Object: now}); err != nil || f.Mode != asked.ModeHeld || f.Note != says || len(f.Plan.Actions) != 1 || !f.Plan.Actions[0].Change.Empty() {
			t.Errorf("plan says %+v %v", f, err)
		}
		stop()
		stop = w.start()
		w.tell(asked.Wish{Object: now})
		sleep(time.Hour)
		w.want("multinic1 192.0.2.1/24")
		if r := w.daemon.ask(t.Context(), AskUndo); r.Error != "" || r.Status.Held || r.Status.State != string(v1.StateConfigured) {
			t.Errorf("undone: %+v", r)
		}
		w.want("multinic1 192.0.2.2/24")
		synctest.Wait()
		if r := w.lastReport(); r.Refused != nil || r.Generation != 8 || r.Interfaces[0].Status != v1.StateConfigured {
			t.Errorf("the report says %+v", r)
		}
		stop()
	})
}

// What a host is asked before a rollback may take until the bus answers: status and news do not wait for it. News that come meanwhile are not overrun.
func TestARollbackKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var meanwhile func()
		w.with = func(d *Daemon) {
			d.Unsupported = func(context.Context) string {
				if meanwhile != nil {
					meanwhile()
				}
				return ""
			}
		}
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.2/24")})
		meanwhile = func() {
			meanwhile = nil
			if !w.daemon.state.mu.TryLock() {
				t.Error("the lock is held while the host is asked")
				return
			}
			w.daemon.state.mu.Unlock()
			w.notify(asked.Wish{Object: object("u1", 3, "192.0.2.3/24"), Contact: time.Now()})
		}
		turns.Add(1)
		if r := w.daemon.ask(t.Context(), AskRollback); !strings.Contains(r.Error, "ask again") {
			t.Errorf("it says %q", r.Error)
		}
		sleep(time.Second)
		w.want("multinic1 192.0.2.3/24")
		if r := w.daemon.ask(t.Context(), AskRollback); r.Error != "" {
			t.Errorf("it says %q", r.Error)
		}
		w.want("multinic1 192.0.2.2/24")
	})
}
