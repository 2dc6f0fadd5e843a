package daemon

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/status"
)

// keeper is a credential that the test plays.
type keeper struct{ notify func(status.Credential) }

func (k *keeper) Run(ctx context.Context, notify func(status.Credential)) error {
	k.notify = notify
	<-ctx.Done()
	return nil
}

func (w *world) credential(c status.Credential) {
	w.keeper.notify(c)
	sleep(time.Second)
}

func TestANodeWhoseCredentialIsTakenNoMoreKeepsItsNICsAndSaysWhatItNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.credential(status.Credential{Door: "JoinToken", Ends: time.Now(), ClockKnown: true})
		if strings.Contains(w.line, "JoinNeeded") {
			t.Errorf("the status line is %q", w.line)
		}
		w.credential(status.Credential{Door: "JoinToken", JoinNeeded: "the token has ended: join again", ClockKnown: true})
		w.machine.Net[0].Addresses = nil
		w.wake <- struct{}{}
		sleep(time.Second)
		w.want("multinic1 192.0.2.1/24")
		if !strings.HasSuffix(w.line, "; JoinNeeded: the token has ended: join again") {
			t.Errorf("the status line is %q", w.line)
		}
		s := w.daemon.Status()
		if text, err := json.Marshal(s); err != nil || !strings.Contains(string(text), `"joinNeeded":"the token has ended: join again"`) || !strings.Contains(whole(s), "JoinNeeded: ") || !strings.Contains(whole(s), "credential by a join token") {
			t.Errorf("status is %s (%v)\n%s", text, err, whole(s))
		}
		if r := w.lastReport(); r.Degraded != nil {
			t.Errorf("the report says %+v, which nobody can receive", r.Degraded)
		}
		w.credential(status.Credential{Door: "Kubelet", ClockKnown: true})
		if strings.Contains(w.line, "JoinNeeded") {
			t.Errorf("the status line still is %q", w.line)
		}
	})
}

func TestASkewedClockIsReportedOnceAndNotAgainAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.credential(status.Credential{ClockKnown: true})
		reports := len(w.reports)
		w.credential(status.Credential{ClockKnown: true, ClockSkew: status.ClockBehind})
		w.credential(status.Credential{ClockKnown: true, ClockSkew: status.ClockBehind, Trouble: "a hiccup"})
		sleep(time.Hour)
		if r := w.lastReport(); len(w.reports) != reports+1 || r.Degraded == nil || r.Degraded.Reason != v1.ReasonClockSkew || len(r.Degraded.Message) > v1.MaxMessage {
			t.Errorf("%d reports more, the last says %+v", len(w.reports)-reports, r.Degraded)
		}
		if w.lastReport().Interfaces[0].Status != v1.StateConfigured {
			t.Error("a NIC is concerned")
		}
		stop()
		stop = w.start()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.credential(status.Credential{})
		w.credential(status.Credential{ClockKnown: true, ClockSkew: status.ClockBehind})
		if len(w.reports) != reports+1 {
			t.Errorf("after a restart it is reported again: %+v", w.reports[reports+1:])
		}
		w.credential(status.Credential{ClockKnown: true})
		if r := w.lastReport(); r.Degraded != nil {
			t.Errorf("with a right clock the report says %+v", r.Degraded)
		}
		stop()
	})
}

func TestTheRemovalIsReportedOfTheObjectThatWas(t *testing.T) {
	for onDelete, kept := range map[string]int{"retain": 1, "restore": 0} {
		t.Run(onDelete, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.daemon = &Daemon{Wiring: Wiring{OnDelete: onDelete}}
				stop := w.start()
				w.tell(asked.Wish{Object: object("u1", 4, "192.0.2.1/24")})
				stop()
				stop = w.start()
				w.tell(asked.Wish{Gone: true})
				if r := w.lastReport(); r.Phase != v1.PhaseRemoved || r.UID != "u1" || r.Generation != 4 || len(r.Interfaces) != kept {
					t.Errorf("the report says %+v", r)
				}
				stop()
				reports := len(w.reports)
				stop = w.start()
				w.tell(asked.Wish{Gone: true})
				if len(w.reports) != reports {
					t.Errorf("after a restart it is reported again: %+v", w.lastReport())
				}
				w.tell(asked.Wish{Object: object("u2", 1, "192.0.2.2/24")})
				if r := w.lastReport(); r.Phase != v1.PhaseDone || r.UID != "u2" {
					t.Errorf("the report of the next object says %+v", r)
				}
				stop()
			})
		})
	}
	t.Run("not before the NICs are given back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.daemon = &Daemon{Wiring: Wiring{OnDelete: "restore"}}
			defer w.start()()
			w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
			w.machine.FailFrom = w.machine.Ops + 1
			w.tell(asked.Wish{Gone: true})
			w.machine.FailFrom = 0
			synctest.Wait()
			for _, r := range w.reports {
				if r.Phase == v1.PhaseRemoved {
					t.Errorf("reported as removed: %+v", r)
				}
			}
			w.wake <- struct{}{}
			sleep(time.Minute)
			if r := w.lastReport(); r.Phase != v1.PhaseRemoved {
				t.Errorf("the report says %+v", r)
			}
		})
	})
}
