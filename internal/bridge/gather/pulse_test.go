package gather

import (
	"testing"
	"time"
)

func TestPulses(t *testing.T) {
	p := NewPulses()
	if got := p.Of(worker); !got.Seen.IsZero() {
		t.Errorf("a node nobody saw has the pulse %v", got)
	}
	if p.Observe(worker, "a", later(0)) {
		t.Error("a Lease seen for the first time is a return from silence")
	}
	p.Observe(worker, "a", later(time.Minute))
	if got, want := p.Of(worker), (Pulse{Seen: later(0), Renewed: true}); got != want {
		t.Errorf("an unchanged Lease moved the pulse to %v, want %v", got, want)
	}
	if p.Observe(worker, "b", later(2*time.Minute)) {
		t.Error("a renewal of a node that was not silent wakes the loop")
	}
	if got, want := p.Of(worker), (Pulse{Seen: later(2 * time.Minute), Moved: true, Renewed: true}); got != want {
		t.Errorf("pulse %v, want %v", got, want)
	}
	p.Judged(worker, true)
	if !p.Observe(worker, "c", later(time.Hour)) {
		t.Error("a silent node renews its Lease and nobody is woken")
	}
	p.Forget(worker)
	if got := p.Of(worker); !got.Seen.IsZero() {
		t.Errorf("a forgotten node has the pulse %v", got)
	}
	p.Observe(worker, "", later(0)) // as the bridge makes it
	if !p.Observe(worker, "a", later(time.Minute)) {
		t.Error("a node renews its Lease for the first time and nobody is woken")
	}
	p.Forget(worker)
	p.Judged(worker, true) // of a node without a Lease: nothing to keep
}
