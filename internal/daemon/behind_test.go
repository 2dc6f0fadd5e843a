package daemon

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"multinicd/internal/daemon/asked"
	"multinicd/nic"
)

// What the kernel tells of the daemon's own changes needs no pass of its own, since the look behind the changes has seen it. What
// somebody else does meanwhile is answered at once.
func TestThePassBehindAPass(t *testing.T) {
	const one, two = "192.0.2.1/24", "198.51.100.1/24"
	inUse := func(w *world, address string) {
		w.machine.Neighbours = map[netip.Addr]nic.MAC{netip.MustParseAddr(address): {2, 9}}
	}
	for name, row := range map[string]struct {
		before    func(w *world)
		meanwhile func(w *world) // once, in the middle of the change
		passes    int64          // by the change of the object, and what follows within a second
		want      string
	}{
		"of a change that succeeds there is none": {func(*world) {}, func(*world) {}, 1, "multinic1 192.0.2.1/24, multinic2 198.51.100.1/24"},
		"of a change that fails there is none":    {func(w *world) { inUse(w, "198.51.100.1") }, func(*world) {}, 1, "multinic1 192.0.2.1/24"},
		"of a NIC that fails beside one that waits there is none": {func(w *world) {
			inUse(w, "192.0.2.1")
			w.machine.Net = w.machine.Net[:1]
		}, func(*world) {}, 1, ""},
		"a NIC is plugged in meanwhile": {func(w *world) { w.machine.Net = w.machine.Net[:1] },
			func(w *world) { w.machine.Net = append(w.machine.Net, link(2)) }, 2, "multinic1 192.0.2.1/24, multinic2 198.51.100.1/24"},
		"a NIC is plugged in while another fails": {func(w *world) {
			inUse(w, "192.0.2.1")
			w.machine.Net = w.machine.Net[:1]
		}, func(w *world) { w.machine.Net = append(w.machine.Net, link(2)) }, 2, "multinic2 198.51.100.1/24"},
		"a NIC that was right is changed meanwhile": {func(w *world) { w.tell(asked.Wish{Object: object("u1", 1, one)}) },
			func(w *world) { w.machine.Net[0].Addresses = nil }, 2, "multinic1 192.0.2.1/24, multinic2 198.51.100.1/24"},
		"a NIC that was right is replaced by another one meanwhile": {func(w *world) { w.tell(asked.Wish{Object: object("u1", 1, one)}) },
			func(w *world) { w.machine.Net[0].MAC = nic.MAC{2, 7} }, 2, "multinic1 192.0.2.1/24, multinic2 198.51.100.1/24"},
		"the object changes meanwhile": {func(*world) {},
			func(w *world) { w.notify(asked.Wish{Object: object("u1", 9, two), Contact: time.Now()}) }, 2, "multinic1 198.51.100.1/24"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.dad = true
				w.with = func(d *Daemon) { d.Reporter = nil } // it keeps its files beside the loop, without a lock on the fake ones
				defer w.start()()
				row.before(w)
				done := false
				w.step = func(string) {
					if !done {
						done = true
						row.meanwhile(w)
					}
				}
				passes := w.daemon.Status().Meters.Passes
				w.tell(asked.Wish{Object: object("u1", 2, one, two)})
				if got := w.daemon.Status().Meters.Passes - passes; got != row.passes {
					t.Errorf("%d passes, want %d", got, row.passes)
				}
				w.want(row.want)
			})
		})
	}
}
