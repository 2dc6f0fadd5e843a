package status

import (
	"testing"
	"time"

	"multinicd/internal/bridge/bridgetest"
)

func TestTheWritesOfANodeAreBounded(t *testing.T) {
	var l limiter
	wait := func(node string, now time.Time) time.Duration { return l.wait(node, now, writeEvery, writeBurst) }
	for i := range writeBurst {
		if got := wait(bridgetest.Node, bridgetest.Noon); got != 0 {
			t.Fatalf("write %d has to wait %s", i, got)
		}
	}
	for range 100 { // asking again costs nothing
		if got := wait(bridgetest.Node, bridgetest.Noon); got != writeEvery {
			t.Fatalf("the next write has to wait %s, want %s", got, writeEvery)
		}
	}
	if got := wait("another", bridgetest.Noon); got != 0 {
		t.Errorf("another node has to wait %s", got)
	}
	if got := wait(bridgetest.Node, bridgetest.Clock(writeEvery)); got != 0 {
		t.Errorf("in its turn it has to wait %s", got)
	}
	if got := wait(bridgetest.Node, bridgetest.Clock(writeEvery+time.Millisecond)); got == 0 {
		t.Error("the turn counts twice")
	}
	l.forget(bridgetest.Node)
	if got := wait(bridgetest.Node, bridgetest.Clock(writeEvery)); got != 0 {
		t.Errorf("a node made anew has to wait %s", got)
	}
}
