package daemon

import (
	"testing"
	"testing/synctest"

	v1 "multinicd/api/v1"
)

// What waits for its release is not done: neither where no row could say so, nor in the row of an entry that cannot be read.
func TestAWaitingGenerationIsNotReportedAsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		empty := object("u1", 1)
		empty.Status.ReleasedGeneration = -1
		w.tell(Wish{Object: empty})
		if r := w.lastReport(); r.Generation != 1 || r.Phase == v1.PhaseDone {
			t.Errorf("without NICs: %+v", r)
		}
		odd := object("u1", 2, "192.0.2.1/24", "192.0.2.2/24")
		odd.Spec.Interfaces[1].ID = nil
		odd.Status.ReleasedGeneration = -1
		w.tell(Wish{Object: odd})
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
		w.tell(Wish{Object: object("u1", 1, "192.0.2.1/24", "192.0.3.1/24")})
		second := w.lastReport().Interfaces[1]
		w.machine.FailFrom = w.machine.Ops + 1
		o := object("u1", 2, "192.0.2.1/24", "192.0.3.1/24")
		o.Spec.Interfaces = o.Spec.Interfaces[1:]
		w.tell(Wish{Object: o})
		s, r := w.daemon.Status(), w.lastReport()
		if len(s.NICs) != 2 || !s.NICs[0].Unwanted || len(r.Interfaces) != 1 {
			t.Fatalf("status %+v, report %+v", s.NICs, r.Interfaces)
		}
		if !r.Interfaces[0].LastConfigured.Equal(second.LastConfigured) || !s.NICs[1].LastConfigured.Equal(second.LastConfigured.Time) {
			t.Errorf("it was configured at %s, the report says %s, the status %s", second.LastConfigured, r.Interfaces[0].LastConfigured, s.NICs[1].LastConfigured)
		}
	})
}
