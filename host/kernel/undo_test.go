package kernel

import (
	"errors"
	"fmt"
	"net/netip"
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
		{"a name", nic.Change{Name: "eth9"}, 3}, // and whether udev has left the MTU alone; kernels before 6.2 rename no link that is up
		{"up", nic.Change{Up: true}, 2},
		{"mtu", nic.Change{MTU: 1400}, 2},
		{"an address", nic.Change{Add: prefixes("192.0.2.10/24")}, 5},
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

// A lease's route has its address as source. Where the client has taken the address meanwhile, the
// kernel takes no such route again, and the undo goes on without it.
func TestAnUndoLeavesOutARouteThatWentWithItsSource(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	undo := n.Undoer(func(nic.Link) error { return nil })
	leased := func(source string) nic.Route {
		return nic.Route{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1"), Source: netip.MustParseAddr(source), Metric: 100, Protocol: nic.ProtocolDHCP}
	}
	lost := nic.Change{Index: l.Index, MAC: l.MAC, Name: "eth9", Up: true, AddRoutes: []nic.Route{leased("192.0.2.10")}, Add: prefixes("198.51.100.10/24")}
	n.ok(undo.Change(t.Context(), lost))
	if now := n.link("eth9"); slices.ContainsFunc(now.Routes, lost.AddRoutes[0].MetBy) || !slices.Equal(addresses(now), []string{"198.51.100.10/24"}) {
		t.Errorf("without its source: %+v", now)
	}
	kept := nic.Change{Index: l.Index, MAC: l.MAC, Add: prefixes("192.0.2.10/24"), AddRoutes: lost.AddRoutes}
	n.ok(undo.Change(t.Context(), kept))
	if now := n.link("eth9"); !slices.ContainsFunc(now.Routes, kept.AddRoutes[0].MetBy) {
		t.Errorf("with its source: %+v", now.Routes)
	}
	if err := n.Writer(func(nic.Link, []nic.Link) error { return nil }).Change(t.Context(), nic.Change{Index: l.Index, MAC: l.MAC, AddRoutes: []nic.Route{{To: netip.MustParsePrefix("203.0.113.0/24"), Via: netip.MustParseAddr("192.0.2.1"), Source: netip.MustParseAddr("192.0.2.99")}}}); err == nil {
		t.Error("a change that needs a source that is not there must fail")
	}
}
