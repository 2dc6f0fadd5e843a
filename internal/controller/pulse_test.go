package controller

import (
	"testing"
	"time"
)

func TestPulses(t *testing.T) {
	p := newPulses()
	if got := p.of(node); !got.Seen.IsZero() {
		t.Errorf("a node nobody saw has the pulse %v", got)
	}
	if p.observe(node, "a", clock(0)) {
		t.Error("a Lease seen for the first time is a return from silence")
	}
	p.observe(node, "a", clock(time.Minute))
	if got, want := p.of(node), (Pulse{Seen: clock(0), Renewed: true}); got != want {
		t.Errorf("an unchanged Lease moved the pulse to %v, want %v", got, want)
	}
	if p.observe(node, "b", clock(2*time.Minute)) {
		t.Error("a renewal of a node that was not silent wakes the loop")
	}
	if got, want := p.of(node), (Pulse{Seen: clock(2 * time.Minute), Moved: true, Renewed: true}); got != want {
		t.Errorf("pulse %v, want %v", got, want)
	}
	p.judged(node, true)
	if !p.observe(node, "c", clock(time.Hour)) {
		t.Error("a silent node renews its Lease and nobody is woken")
	}
	p.forget(node)
	if got := p.of(node); !got.Seen.IsZero() {
		t.Errorf("a forgotten node has the pulse %v", got)
	}
	p.observe(node, "", clock(0)) // as the bridge makes it
	if !p.observe(node, "a", clock(time.Minute)) {
		t.Error("a node renews its Lease for the first time and nobody is woken")
	}
	p.forget(node)
	p.judged(node, true) // of a node without a Lease: nothing to keep
}
