package daemon

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"multinicd/internal/daemon/asked"
)

// One NIC cuts the node off as soon as its link is up. Another, which is changed together with it, fails for that once, and is as wanted then.
func TestANICThatHasFailedIsChangedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.dad = true
		w.probed = func(context.Context) error {
			if w.machine.Net[1].Up {
				return errors.New("no answer")
			}
			return nil
		}
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
		w.want("") // otherwise they were not changed together, and the rest says nothing
		sleep(time.Hour)
		w.want("multinic1 192.0.2.1/24")
		said := ""
		for _, n := range w.daemon.Status().NICs {
			said += fmt.Sprint(n.Name, " ", n.Reason, "; ")
		}
		if want := "multinic1 Configured; multinic2 ProbeFailed; "; said != want {
			t.Errorf("it is said %q, want %q", said, want)
		}
	})
}
