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

// An undo of what is the link's own asks for the link alone.
func TestAnUndoOfTheLinkItselfReadsTheLinkAlone(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	undo := n.Undoer(func(nic.Link) error { return nil })
	for _, c := range []struct {
		what string
		c    nic.Change
		most uint32
	}{
		{"up", nic.Change{Up: true}, 2},
		{"mtu", nic.Change{MTU: 1400}, 2},
		{"an address", nic.Change{Add: prefixes("192.0.2.10/24")}, 5},
		{"a name", nic.Change{Name: "eth9"}, 3}, // and whether udev has left the MTU alone
		{"down", nic.Change{Down: true}, 2},
		{"down again", nic.Change{Down: true}, 1},
	} {
		c.c.Index, c.c.MAC = l.Index, l.MAC
		before := n.rtnl.seq
		n.ok(undo.Change(t.Context(), c.c))
		if made := n.rtnl.seq - before; made > c.most {
			t.Errorf("%s: %d requests, want %d at most", c.what, made, c.most)
		}
	}
	if now := n.link("eth9"); now.Up || now.MTU != 1400 || !slices.Equal(addresses(now), []string{"192.0.2.10/24"}) {
		t.Errorf("in the end %+v", now)
	}
}
