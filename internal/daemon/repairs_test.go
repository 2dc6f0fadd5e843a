package daemon

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/terminal/layout"
)

// told tells of an object whose bridge reads all that there is in reports.
func (w *world) told(obj *v1.MultiNicNodeConfig) {
	obj.Status.ReportLevel = v1.ReportLevel
	w.tell(asked.Wish{Object: obj})
}

// spoil takes the addresses of the first NIC, and waits until they are back.
func (w *world) spoil() {
	w.lost.Store(true)
	w.wake <- struct{}{}
	sleep(time.Second)
}

func TestARepairLeavesATrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		w.told(object("u1", 1, cidr1, cidr2))
		w.daemon.Whose = func(int, any) string { return "ip (process 7)" }
		at := time.Now().UTC().Truncate(time.Second)
		w.spoil()
		const about = "address: want 192.0.2.1/24, have absent (by ip (process 7))"
		n := w.daemon.Status().NICs
		if r := n[0].LastRepair; r == nil || r.About != about || r.Count != 1 || r.At.Before(at) || n[1].LastRepair != nil {
			t.Fatalf("the status has %+v", n)
		}
		if text := w.daemon.Status().Table(layout.Page{}); !strings.Contains(text, "put back at ") {
			t.Errorf("the screen does not say it:\n%s", text)
		}
		if r := w.lastReport().Interfaces[0]; r.LastRepair == nil || r.LastRepair.Message != about || !r.LastConfigured.Equal(&r.LastRepair.Time) {
			t.Errorf("the report has %+v", r)
		}

		// It is remembered by what was reported, also across a restart.
		stop()
		defer w.start()()
		w.told(object("u1", 1, cidr1, cidr2))
		if r := w.daemon.Status().NICs[0].LastRepair; r == nil || r.About != about || r.Count != 1 {
			t.Errorf("after a restart the status has %+v", r)
		}
		w.daemon.Whose = nil
		w.spoil()
		if r := w.daemon.Status().NICs[0].LastRepair; r == nil || r.Count != 2 || !strings.Contains(r.About, "by unknown") {
			t.Errorf("after another repair the status has %+v", r)
		}
	})
}

// Who spoils a NIC every other second for an hour does not make the node report each time; and what was put back last is told in the end.
func TestManyRepairsAreFewReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.told(object("u1", 1, cidr1))
		reports := len(w.reports)
		for range 1200 {
			w.spoil()
			sleep(2 * time.Second)
		}
		if n := len(w.reports) - reports; n < 2 || n > 20 {
			t.Errorf("%d reports of 1200 repairs within an hour", n)
		}
		sleep(10 * time.Minute)
		if r := w.lastReport().Interfaces[0].LastRepair; r == nil || r.Count != 1200 {
			t.Errorf("ten minutes later the report has %+v", r)
		}
	})
}

func TestABridgeThatDoesNotReadRepairsIsToldOfNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
		w.spoil()
		if r := w.lastReport().Interfaces[0].LastRepair; r != nil {
			t.Errorf("the report has %+v", r)
		}
	})
}

// A wrong MAC in the object gives the working NIC back: whoever looks why it waits is told so, before it is done, then, and ever after.
func TestANICThatIsReleasedForAnotherMACIsSpokenOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.told(object("u1", 1, cidr1))
		w.told(spoiled(object("u1", 2, cidr1), func(n *v1.Interface) { n.MACAddress = "02:00:00:00:01:09" }))
		const want = "no NIC with MAC 02:00:00:00:01:09 is plugged in; it is configured as soon as it appears; " +
			"the NIC that was multinic1, 02:00:00:00:01:01, is released, since the object names another MAC"
		for _, when := range []string{"at once", "an hour later"} {
			if n := w.daemon.Status().NICs; len(n) != 1 || n[0].Message != want {
				t.Errorf("%s the status has %+v", when, n)
			}
			if r := w.lastReport().Interfaces; len(r) != 1 || r[0].Message != want {
				t.Errorf("%s the report has %+v", when, r)
			}
			sleep(time.Hour)
		}
		w.told(object("u1", 3, cidr1))
		w.want("multinic1 192.0.2.1/24")
		w.told(object("u1", 4, cidr1, cidr2, "192.0.3.1/24"))
		if n := w.daemon.Status().NICs; len(n) != 3 || strings.Contains(n[2].Message, "released") {
			t.Errorf("a third NIC that waits: %+v", n)
		}
	})
}
