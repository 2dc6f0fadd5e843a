package controller

import (
	"testing"
	"time"
)

func TestWriteBrake(t *testing.T) {
	b := newBrake(writeEvery, writeBurst)
	for i := range writeBurst {
		if got := b.wait(node, noon); got != 0 {
			t.Fatalf("write %d has to wait %s", i, got)
		}
	}
	for range 100 { // asking again costs nothing
		if got := b.wait(node, noon); got != writeEvery {
			t.Fatalf("the next write has to wait %s, want %s", got, writeEvery)
		}
	}
	if got := b.wait("another", noon); got != 0 {
		t.Errorf("another node has to wait %s", got)
	}
	if got := b.wait(node, clock(writeEvery)); got != 0 {
		t.Errorf("in its turn it has to wait %s", got)
	}
	if got := b.wait(node, clock(writeEvery+time.Millisecond)); got == 0 {
		t.Error("the turn counts twice")
	}
	b.forget(node)
	if got := b.wait(node, clock(writeEvery)); got != 0 {
		t.Errorf("a node made anew has to wait %s", got)
	}
}
