package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"multinicd/internal/daemon/asked"
)

func TestChangesAndRepairsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		defer func() { stop() }()
		counts := func(want string) {
			t.Helper()
			m := w.daemon.Status().Meters
			if got := fmt.Sprint(m.Changes, m.Repairs, sum(m.Change.Counts), sum(m.Repair.Counts)); got != want {
				t.Errorf("counted: %s, want %s", got, want)
			}
		}
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		counts("map[configured:1] map[] 1 0")
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")}) // said again
		counts("map[configured:1] map[] 1 0")
		w.machine.Net[0].Addresses, w.machine.Net[0].MTU = nil, 1400
		began := time.Now()
		w.wake <- struct{}{}
		sleep(time.Second)
		w.want("multinic1 192.0.2.1/24")
		counts("map[configured:1] map[address done:1] 1 1")
		if took := w.daemon.Status().Meters.Repair.Sum; took > time.Since(began).Seconds() {
			t.Errorf("the repair took %g s, of %s", took, time.Since(began))
		}
		w.lost.Store(true) // no event tells of it
		sleep(6 * time.Minute)
		w.want("multinic1 192.0.2.1/24")
		counts("map[configured:1] map[address done:2] 1 1")
		probes := 0
		w.probed = func(context.Context) error {
			if probes++; probes > 1 {
				return nil
			}
			return errors.New("no answer")
		}
		w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.2/24")})
		counts("map[configured:1 failed:1] map[address done:2] 1 1")
		sleep(time.Hour) // it is tried again, and works: no change of its own
		w.want("multinic1 192.0.2.2/24")
		counts("map[configured:1 failed:1] map[address done:2] 1 1")
		stop()
		stop = w.start() // nothing is told anew
		counts("map[] map[] 0 0")
	})
}

// A file of a NIC that somebody has deleted is there again after the next look without an event, and the log says which.
func TestAFileThatIsWrittenAnewIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var out bytes.Buffer
		w.with = func(d *Daemon) { d.Log = slog.New(slog.NewTextHandler(&out, nil)) }
		stop := w.start()
		defer func() { stop() }()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		var file string
		for name := range w.machine.Disk {
			if strings.Contains(name, "multinic1") {
				file = name
			}
		}
		out.Reset()
		delete(w.machine.Disk, file)
		sleep(6 * time.Minute)
		if _, there := w.machine.Disk[file]; !there || !strings.Contains(out.String(), `change="files written anew: `+file+`"`) {
			t.Errorf("%s is there: %t; the log says\n%s", file, there, out.String())
		}
	})
}

func sum(counts []int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}
