package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestANICThatWasUnpluggedInMidChangeIsConfiguredOnceItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.probed = func(context.Context) error { // it goes, and its like comes, before the pass looks again
			w.machine.Net[0].Index = 77
			w.machine.Net[0].Addresses, w.machine.Net[0].Name = nil, "eth7"
			return errors.New("link 11 is gone")
		}
		w.tell(Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.probed = nil
		w.want("")
		w.wake <- struct{}{}
		sleep(time.Second)
		w.want("multinic1 192.0.2.1/24")
	})
}

func TestEventsOfALinkCountFromItsFirstChangeOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		counts := false
		w.probed = func(context.Context) error {
			counts = w.daemon.ours(11)
			return nil
		}
		w.tell(Wish{Object: object("u1", 1, "192.0.2.1/24")})
		if !counts || !w.daemon.ours(11) || w.daemon.ours(12) {
			t.Errorf("in mid-change %v, afterwards %v, of another %v", counts, w.daemon.ours(11), w.daemon.ours(12))
		}
	})
}
