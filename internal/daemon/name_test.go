package daemon

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"multinicd/internal/daemon/asked"
)

func TestStatusSaysWhyTheNodeIsCalledSoAndWhatSpeaksAgainstIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		doubted := atomic.Bool{}
		const says = "the token is node w2's; join again"
		w.with = func(d *Daemon) {
			d.NodeEvidence, d.NodeDoubt = "the host's name", func() string {
				if doubted.Load() {
					return says
				}
				return ""
			}
		}
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		s := w.daemon.Status()
		if line := "node " + s.Node + " (the host's name)\n"; !strings.Contains(whole(s), line) {
			t.Errorf("%q is not said:\n%s", line, whole(s))
		}
		doubted.Store(true)
		w.wake <- struct{}{}
		sleep(time.Second)
		s = w.daemon.Status()
		text, err := json.Marshal(s)
		if err != nil || !strings.Contains(string(text), `"nodeDoubt":"the token is node w2's; join again"`) || !strings.Contains(whole(s), "the name: "+says+"\n") {
			t.Errorf("status is %s (%v)\n%s", text, err, whole(s))
		}
	})
}
