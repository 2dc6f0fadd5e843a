package daemon

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
)

const yaml1 = "/etc/netplan/90-multinic1.yaml"

// edit has somebody change a file of ours, or remove it, and the daemon told.
func (w *world) edit(data []byte) {
	turns.Add(1)
	if data == nil {
		delete(w.machine.Disk, yaml1)
	} else {
		w.machine.Disk[yaml1] = data
	}
	w.edited()
	sleep(100 * time.Millisecond)
}

// A file of ours that somebody edits or removes is written anew at once, and not with the next resync; and it is a repair.
func TestAFileThatSomebodyChangesIsPutBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
		want := string(w.machine.Disk[yaml1])
		for i, data := range [][]byte{nil, []byte("network: {}\n")} {
			w.edit(data)
			if got := string(w.machine.Disk[yaml1]); got != want || want == "" {
				t.Errorf("the file is %q, want %q", got, want)
			}
			if got := w.daemon.Status().Meters.Repairs; got["file done"] != int64(i+1) || len(got) != 1 {
				t.Errorf("repairs are %v", got)
			}
		}
	})
}

// Who writes our file again and again is left alone after a while, as who changes the link is.
func TestAFightAboutAFileIsBraked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
		want := string(w.machine.Disk[yaml1])
		for range 600 { // a minute
			w.edit([]byte("network: {}\n"))
		}
		if got := w.daemon.Status().Meters.Repairs["file done"]; got > 15 {
			t.Errorf("%d repairs within a minute", got)
		}
		if r := w.lastReport(); r.Interfaces[0].Reason != v1.ReasonDriftFighting {
			t.Errorf("the report is %+v", r)
		}
		sleep(2 * time.Minute)
		if got := string(w.machine.Disk[yaml1]); got != want {
			t.Errorf("in peace the file is %q", got)
		}
		if r := w.lastReport(); r.Interfaces[0].Reason != string(v1.ReasonConfigured) {
			t.Errorf("in peace the report is %+v", r)
		}
	})
}
