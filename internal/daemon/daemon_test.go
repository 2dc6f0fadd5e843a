package daemon

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/hosttest"
	"multinicd/nic"
	"multinicd/plan"
)

func TestAnObjectIsConfiguredAndReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
		w.want("multinic1 192.0.2.1/24, multinic2 198.51.100.1/24")
		if len(w.reports) != 1 || w.reports[0].UID != "u1" || w.reports[0].Generation != 1 || len(w.reports[0].Interfaces) != 2 {
			t.Errorf("reports: %+v", w.reports)
		}
		if !strings.HasPrefix(w.line, "generation 1 Configured, 2/2 NICs ready") {
			t.Errorf("the status line is %q", w.line)
		}
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
		w.machine.Ops = 0
		sleep(time.Hour)
		if len(w.reports) != 1 || w.machine.Ops != 0 {
			t.Errorf("an hour later: %d reports, %d operations; want 1 and 0", len(w.reports), w.machine.Ops)
		}
		if n := w.beats.Load(); n < 25 || n > 40 {
			t.Errorf("%d renewals of the Lease in an hour, want about 30", n)
		}
	})
}

func TestAReportThatCannotBeDeliveredOutlivesARestartAndIsDeliveredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		w.down.Store(true)
		w.tell(asked.Wish{Object: object("u1", 3, "192.0.2.1/24")})
		sleep(10 * time.Minute)
		stop()
		stop = w.start()
		sleep(time.Minute)
		w.down.Store(false)
		sleep(5 * time.Minute)
		stop()
		stop = w.start()
		sleep(5 * time.Minute)
		stop()
		if len(w.reports) != 1 || w.reports[0].Generation != 3 {
			t.Errorf("reports: %+v", w.reports)
		}
	})
}

func TestAServerThatAsksForPatienceGetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const rest = 10 * time.Minute
		w.busy.Store(int64(rest))
		stop := w.start()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.2/24")}) // a newer report is no reason to ask
		w.want("multinic1 192.0.2.2/24")
		sleep(time.Hour)
		if n := w.beats.Load(); n < 5 || n > 6 {
			t.Errorf("%d renewals of the Lease in an hour, want one in 10 min and a little more", n)
		}
		w.busy.Store(0)
		sleep(15 * time.Minute)
		stop()
		if n := len(w.asked); n < 6 || n > 7 {
			t.Errorf("a report was sent %d times in an hour and a quarter, want once in 10 min and a little more", n)
		}
		for i := range w.asked[1:] {
			if gap := w.asked[i+1].Sub(w.asked[i]); gap < rest {
				t.Errorf("asked again after %v", gap)
			}
		}
		if len(w.reports) != 1 || w.reports[0].Generation != 2 {
			t.Errorf("reports: %+v, want the newest, once", w.reports)
		}
	})
}

func TestAReportThatTheClusterHasLostIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		obj := object("u1", 1, "192.0.2.1/24")
		obj.Status.ObservedGeneration = 0
		w.tell(asked.Wish{Object: obj})
		sleep(6 * time.Minute)
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		sleep(time.Hour)
		if len(w.reports) != 2 {
			t.Errorf("%d reports, want 2: one, and one again after the status had not followed for 5 min", len(w.reports))
		}
	})
}

func TestTheLastKnownGoodObjectIsEnforcedWithoutTheCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		stop()
		w.machine.Net[0].Addresses = nil
		stop = w.start()
		w.want("multinic1 192.0.2.1/24")
		w.tell(asked.Wish{Err: errors.New("unreachable")})
		w.machine.Net[0].Addresses = nil
		w.wake <- struct{}{}
		sleep(time.Second)
		w.want("multinic1 192.0.2.1/24")
		stop()
	})
}

func TestAFileThatCannotBeUsedKeepsWhatIsInForceAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.with = func(d *Daemon) { d.Mode = "file" }
		bad := asked.Wish{Err: errors.New("node.yaml:11: one\nnode.yaml:12: two")}
		says := func(want string) {
			t.Helper()
			if w.line != want {
				t.Errorf("the status line is %q, want %q", w.line, want)
			}
			if text := whole(w.daemon.Status()); !strings.Contains(text, "node.yaml:12: two") {
				t.Errorf("the status does not say what is wrong:\n%s", text)
			}
		}
		stop := w.start()
		w.tell(bad)
		sleep(time.Hour)
		w.want("")
		says("the file cannot be used, and no object was known before: node.yaml:11: one; node.yaml:12: two")
		w.tell(asked.Wish{Object: object("", 0, "192.0.2.1/24")})
		w.want("multinic1 192.0.2.1/24")
		w.tell(bad)
		sleep(time.Hour)
		w.want("multinic1 192.0.2.1/24")
		says("generation 0 Configured, 1/1 NICs ready, what is in force is kept: the file cannot be used: node.yaml:11: one; node.yaml:12: two")
		stop()
		stop = w.start()
		w.tell(bad)
		sleep(time.Hour)
		w.want("multinic1 192.0.2.1/24")
		says("generation 0 Configured, 1/1 NICs ready, what is in force is kept: the file cannot be used: node.yaml:11: one; node.yaml:12: two")
		stop()
	})
}

func TestDeletion(t *testing.T) {
	for onDelete, want := range map[string]string{"retain": "multinic1 192.0.2.1/24", "restore": ""} {
		t.Run(onDelete, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.daemon = &Daemon{Wiring: Wiring{OnDelete: onDelete}}
				defer w.start()()
				w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
				w.tell(asked.Wish{Err: errors.New("unreachable")})
				w.want("multinic1 192.0.2.1/24")
				w.tell(asked.Wish{Gone: true})
				w.want(want)
				r := w.lastReport()
				kept := r.Degraded != nil && r.Degraded.Reason == v1.ReasonRetained && strings.Contains(r.Degraded.Message, "1 NIC is kept as it is (on_delete = retain)")
				rows := len(r.Interfaces) == 1 && r.Interfaces[0].Name == "multinic1" && r.Interfaces[0].Reason == v1.ReasonRetained
				if r.UID != "u1" || r.Phase != v1.PhaseRemoved || kept != (want != "") || rows != kept {
					t.Errorf("the report on the end of the object is %+v %+v", r, r.Degraded)
				}
				w.tell(asked.Wish{Object: object("u2", 1, "192.0.2.2/24")})
				w.want("multinic1 192.0.2.2/24")
				if r := w.lastReport(); r.UID != "u2" {
					t.Errorf("the last report is for %s", r.UID)
				}
			})
		})
	}
}

func TestAFailedChangeIsTriedAgainLaterAndNotAtEveryEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.machine.Refuse = errors.New("netplan says no")
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.want("")
		if r := w.lastReport(); r.Interfaces[0].Reason != v1.ReasonValidationFailed || r.Interfaces[0].Status != v1.StateFailed {
			t.Errorf("the report says %+v", r.Interfaces[0])
		}
		tries := w.machine.Asked
		for range 20 {
			w.wake <- struct{}{}
			sleep(100 * time.Millisecond)
		}
		if w.machine.Asked != tries {
			t.Errorf("tried %d times within 2 s of events", w.machine.Asked-tries)
		}
		w.machine.Refuse = nil
		w.wake <- struct{}{} // too early, but from here on the loop knows
		sleep(time.Minute)
		w.want("multinic1 192.0.2.1/24")
		if r := w.lastReport(); r.Interfaces[0].Status != v1.StateConfigured {
			t.Errorf("the report says %+v", r.Interfaces[0])
		}
	})
}

func TestANICThatCannotBeGivenBackIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.10/24", "192.0.2.130/25")})
		w.machine.FailFrom = w.machine.Ops + 1
		w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.10/24")})
		s := w.daemon.Status()
		if n := s.NICs[len(s.NICs)-1]; s.State != string(v1.StateFailed) || n.Name != "multinic2" || !n.Unwanted || n.Outcome != apply.Failed {
			t.Errorf("status is %s, %+v", s.State, n)
		}
		r := w.reports[len(w.reports)-1]
		if r.Degraded == nil || !strings.Contains(r.Degraded.Message, "injected fault") || len(r.Interfaces) != 1 {
			t.Errorf("the report is %+v", r)
		}
		w.machine.FailFrom = 0
		w.wake <- struct{}{} // too early, but from here on the loop knows
		sleep(time.Minute)
		if s := w.daemon.Status(); s.State != string(v1.StateConfigured) || len(s.NICs) != 1 {
			t.Errorf("later the status is %s, %+v", s.State, s.NICs)
		}
	})
}

func TestInstanceID(t *testing.T) {
	tests := map[string]struct {
		want, override string
		host           []string
		refused        bool
		unverified     bool
	}{
		"none is asked for":                   {"", "", []string{"i-1"}, false, false},
		"the same":                            {"i-1", "", []string{"I-1"}, false, false},
		"another of the same kind":            {"i-1", "", []string{"i-2"}, true, false},
		"only another kind is known":          {"i-1", "", []string{"0c497169-a104-4448-afde-f27b79fca904"}, false, true},
		"nothing is known":                    {"i-1", "", nil, false, true},
		"the configuration says so":           {"i-1", "i-1", []string{"i-2"}, false, false},
		"the configuration says another one":  {"i-1", "i-3", []string{"i-1"}, true, false},
		"one of several, in another spelling": {"0C497169-A104-4448-AFDE-F27B79FCA904", "", []string{"x", "0c497169-a104-4448-afde-f27b79fca904"}, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.ids = tt.host
				stop := w.start()
				w.daemon.Instance = tt.override
				obj := object("u1", 1, "192.0.2.1/24")
				obj.Spec.InstanceID = tt.want
				w.tell(asked.Wish{Object: obj})
				stop()
				r := w.lastReport()
				if got := r.Refused != nil && r.Refused.Reason == v1.ReasonIdentityMismatch; got != tt.refused || got != (w.addresses() == "") {
					t.Errorf("refused: %v, addresses %q; want %v", got, w.addresses(), tt.refused)
				}
				if got := r.Degraded != nil && r.Degraded.Reason == v1.ReasonIdentityUnverified; got != tt.unverified {
					t.Errorf("unverified: %v, want %v", got, tt.unverified)
				}
			})
		})
	}
}

func TestAnEntryThatCannotBeReadNeverTakesANICBack(t *testing.T) {
	tests := map[string]func(n *v1.Interface){
		"its address is wrong": func(n *v1.Interface) { n.CIDR = "192.0.2.300/24" },
		"its MAC is wrong":     func(n *v1.Interface) { n.MACAddress = "nonsense" },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.start()()
				w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
				bad := object("u1", 2, "192.0.2.1/24", "198.51.100.2/24")
				spoil(&bad.Spec.Interfaces[0])
				w.tell(asked.Wish{Object: bad})
				w.want("multinic1 192.0.2.1/24, multinic2 198.51.100.2/24")
				r := w.lastReport()
				if len(r.Interfaces) != 2 || r.Interfaces[0].Reason != v1.ReasonInvalidSpec || r.Interfaces[1].Status != v1.StateConfigured {
					t.Errorf("the report says %+v", r.Interfaces)
				}
			})
		})
	}
}

func TestAnObjectThatCannotBeReadAtAllIsReportedAndChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.tell(asked.Wish{Err: errors.New("malformed"), Unread: &asked.Unread{UID: "u1", Generation: 2, Message: "spec.interfaces[0].id: it is a string"}})
		w.want("multinic1 192.0.2.1/24")
		if r := w.lastReport(); r.Generation != 2 || r.Refused == nil || r.Refused.Reason != v1.ReasonInvalidSpec {
			t.Errorf("the report says %+v", r)
		}
		w.tell(asked.Wish{Object: object("u1", 3, "192.0.2.3/24")})
		w.want("multinic1 192.0.2.3/24")
	})
}

func TestReadyComesInTimeHoweverManyNICsTheFirstPassWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var links []nic.Link
		var cidrs []string
		for i := range 30 {
			links, cidrs = append(links, link(i+1)), append(cidrs, fmt.Sprintf("10.0.%d.1/24", i))
		}
		w.machine = hosttest.New(links...)
		stop := w.start()
		obj := object("u1", 1, cidrs...)
		for i := range obj.Spec.Interfaces {
			obj.Spec.Interfaces[i].MACAddress = links[i].MAC.String()
		}
		w.tell(asked.Wish{Object: obj})
		stop()
		w.with = func(d *Daemon) {
			d.Applier = applier{Applier: d.Applier, did: func(plan.Action) { time.Sleep(5 * time.Second) }}
		}
		defer w.start()()
		sleep(3 * time.Minute)
		if !w.ready {
			t.Error("the daemon is not ready after three minutes")
		}
	})
}
