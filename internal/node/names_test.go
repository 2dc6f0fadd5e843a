package node

import (
	"context"
	"testing"
	"time"

	"multinicd/nic"
	"multinicd/plan"
)

// A link that was just plugged in: until udev has handled it, a name that we give it does not last.
func TestALinkIsLookedAtOnceUdevHasNamedIt(t *testing.T) {
	const control, record, begun, done = "/run/udev/control", "/run/udev/data/n5", "I:1\nE:ID_PROCESSING=1\nE:ID_NET_DRIVER=virtio_net\n", "I:1\nE:ID_NET_DRIVER=virtio_net\n"
	ours, others := nic.MAC{2, 0, 0, 0, 1, 1}, nic.MAC{2, 0, 0, 0, 1, 9}
	links := []nic.Link{{Index: loopback, Name: "lo"}, {Index: 5, Name: "eth0", MAC: ours}}
	for name, test := range map[string]struct {
		files  map[string]string
		wanted nic.MAC
		record nic.MAC
		want   bool // it waits
	}{
		"udev has not begun":                 {map[string]string{control: "", udevRecord(loopback): ""}, ours, others, true},
		"udev has begun":                     {map[string]string{control: "", udevRecord(loopback): "", record: begun}, ours, others, true},
		"the NIC is ours and no more wanted": {map[string]string{control: "", udevRecord(loopback): ""}, others, ours, true},
		"udev has handled it":                {map[string]string{control: "", udevRecord(loopback): "", record: done}, ours, others, false},
		"the link is another's":              {map[string]string{control: "", udevRecord(loopback): ""}, others, others, false},
		"udev handles no links here":         {map[string]string{control: ""}, ours, others, false},
		"there is no udev":                   {map[string]string{udevRecord(loopback): ""}, ours, others, false},
	} {
		t.Run(name, func(t *testing.T) {
			test.files["/run/udev/data/c1:3"] = "" // of a device that is no link
			m := &Machine{Host: hostWith(t, test.files), Record: func() plan.Record { return plan.Record{NICs: []plan.Owned{{MAC: test.record}}} }}
			m.Wanted([]nic.MAC{test.wanted})
			inVain, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			if got := m.namedByUdev(inVain, links); got != test.want {
				t.Errorf("at first: it waits: %v, want %v", got, test.want)
			}
			if m.namedByUdev(t.Context(), links) {
				t.Error("it waits a second time, for what does not come")
			}
			// The next link in its place, of which udev writes what it has found a moment later.
			next := []nic.Link{links[0], {Index: 6, Name: "eth0", MAC: ours}}
			handled := make(chan error, 1)
			go func() {
				time.Sleep(50 * time.Millisecond) // udev is that late, and who does not wait comes before it
				handled <- m.Host.Write(udevRecord(6), []byte(done), 0o644)
			}()
			if m.namedByUdev(t.Context(), next); test.want && !m.handledByUdev(6) {
				t.Error("it did not wait for udev")
			}
			if err := <-handled; err != nil {
				t.Fatal(err)
			}
		})
	}
}
