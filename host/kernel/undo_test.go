package kernel

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"multinicd/nic"

	"github.com/vishvananda/netlink"
)

// An undo asks about its own link, and reads no other.
func TestAnUndoIsGuardedByItsOwnLink(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24")})
	forbidden := errors.New("no")
	for _, answer := range []error{forbidden, nil} {
		err := n.Undoer(func(g nic.Link) error {
			if g.Name != "eth1" || g.Index != l.Index || !slices.Equal(addresses(g), []string{"192.0.2.10/24"}) {
				t.Errorf("the guard was asked about %+v", g)
			}
			return answer
		}).Change(t.Context(), nic.Change{Index: l.Index, MAC: l.MAC, Down: true, Del: prefixes("192.0.2.10/24")})
		if now := n.link("eth1"); !errors.Is(err, answer) || now.Up != (answer != nil) || (len(addresses(now)) > 0) != now.Up {
			t.Errorf("%v: got %v, and %+v", answer, err, now)
		}
	}
}

// What an undo costs does not grow with the links beside its own.
func TestAnUndoReadsNoOtherLink(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	undo := n.Undoer(func(nic.Link) error { return nil })
	cost := func() float64 {
		return testing.AllocsPerRun(20, func() { n.ok(undo.Change(t.Context(), nic.Change{Index: l.Index, MAC: l.MAC, Down: true})) })
	}
	before := cost()
	for i := range 15 { // pairs
		n.ok(n.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprint("a", i)}, PeerName: fmt.Sprint("b", i)}))
	}
	if after := cost(); after > before+10 {
		t.Errorf("%v allocations with 30 more links, %v before", after, before)
	}
}
