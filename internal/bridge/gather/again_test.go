package gather

import (
	"testing"
	"time"
)

const worker = "worker-node-01"

var (
	start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	later = func(d time.Duration) time.Time { return start.Add(d) }
)

func TestNobodyIsRunAgainWithinASecond(t *testing.T) {
	for _, after := range []time.Duration{-time.Hour, time.Nanosecond, time.Millisecond, Soonest} {
		if got := Again(after).RequeueAfter; got != Soonest {
			t.Errorf("who asks for %s is run again in %s, want %s", after, got, Soonest)
		}
	}
	for _, after := range []time.Duration{0, time.Minute} {
		if got := Again(after).RequeueAfter; got != after {
			t.Errorf("who asks for %s is run again in %s", after, got)
		}
	}
	for name, often := range map[string]time.Duration{"conflictRetry": ConflictRetry, "cacheLag": CacheLag, "admissionRetry": AdmissionRetry} {
		if often < Soonest {
			t.Errorf("%s is %s", name, often)
		}
	}
}

func TestAPassHasADeadline(t *testing.T) {
	if got := LoopOptions(1).ReconciliationTimeout; got != reconcileWithin {
		t.Errorf("a pass may take %s, want %s", got, reconcileWithin)
	}
}
