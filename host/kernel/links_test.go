package kernel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"multinicd/host"
	"multinicd/nic"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestLinksShowWhatTheKernelHas(t *testing.T) {
	n := newNamespace(t)
	eth := n.veth("eth1", testMAC)
	n.ok(n.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}))
	bridge := n.link("br0")
	peer := n.link("eth1p")
	n.ok(n.LinkSetMaster(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: peer.Index}}, &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Index: bridge.Index}}))
	n.ok(n.LinkAddAltName(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: eth.Index}}, "enp1s0"))
	n.ok(n.LinkAddAltName(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: eth.Index}}, "ens1"))
	n.ok(os.MkdirAll(filepath.Join(n.host.Root, "sys/class/net/lo/device"), 0o755))

	got := n.link("eth1")
	want := nic.Link{Index: eth.Index, Name: "eth1", AltNames: []string{"enp1s0", "ens1"}, MAC: nic.MAC{2, 0, 0, 0, 1, 1}, Kind: "veth",
		MTU: 1500, MinMTU: 68, MaxMTU: 65535}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("eth1 (-want +got):\n%s", diff)
	}
	if got := n.link("eth1p"); got.Master != bridge.Index || !got.Up {
		t.Errorf("the enslaved link is %+v", got)
	}
	if got := n.link("br0"); got.Kind != "bridge" {
		t.Errorf("the bridge is %+v", got)
	}
	if got := n.link("lo"); got.Device || got.Kind != "" || !got.MAC.IsZero() {
		t.Errorf("lo is %+v", got)
	}
}

func TestAddressStates(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	device := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.Index}}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24", "2001:db8::10/64")})
	lease, err := netlink.ParseAddr("192.0.2.20/24")
	n.ok(err)
	lease.ValidLft, lease.PreferedLft = 600, 600
	n.ok(n.AddrAdd(device, lease))
	peer, err := netlink.ParseAddr("10.1.1.1/32")
	n.ok(err)
	peer.Peer, err = netlink.ParseIPNet("10.1.1.2/32")
	n.ok(err)
	n.ok(n.AddrAdd(device, peer))
	state := func(p string) nic.Address {
		for _, a := range n.link("eth1").Addresses {
			if a.Prefix == netip.MustParsePrefix(p) {
				return a
			}
		}
		t.Fatalf("address %s is missing", p)
		return nic.Address{}
	}
	if a := state("192.0.2.10/24"); !a.Permanent || a.Tentative {
		t.Errorf("a static address is %+v", a)
	}
	if a := state("192.0.2.20/24"); a.Permanent {
		t.Errorf("a leased address is %+v", a)
	}
	if a := state("10.1.1.1/32"); !a.Permanent {
		t.Errorf("an address with a peer is %+v", a)
	}
	if a := state("2001:db8::10/64"); !a.Tentative || !a.Permanent || a.Duplicate {
		t.Errorf("a new IPv6 address is %+v", a)
	}
	eventually(t, "the end of duplicate address detection", func() bool { return !state("2001:db8::10/64").Tentative })
}

// The other end of the cable has the address: the kernel finds out, and says so. Who has listened knows it also when the address is gone again.
func TestDuplicateAddress(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	neighbour := newNamespace(t) // on the same host nobody would be asked
	neighbour.in(func() {
		f, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		n.ok(n.LinkSetNsFd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: n.link("eth1p").Index}}, int(f.Fd())))
	})
	neighbour.quick("eth1p")
	p := neighbour.link("eth1p")
	neighbour.change(nic.Change{Index: p.Index, MAC: p.MAC, Up: true, Add: prefixes("2001:db8::10/64")})
	listen := func(index int) (found func() []netip.Addr) {
		var stop func()
		var err error
		n.in(func() { found, stop, err = n.Duplicates(index) })
		n.ok(err)
		t.Cleanup(stop)
		return found
	}
	found, elsewhere := listen(l.Index), listen(l.Index+100)
	if got := found(); got != nil {
		t.Errorf("beforehand it has found %v", got)
	}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("2001:db8::10/64")})
	eventually(t, "the failure of duplicate address detection", func() bool {
		for _, a := range n.link("eth1").Addresses {
			if a.Prefix == netip.MustParsePrefix("2001:db8::10/64") {
				return a.Duplicate && !a.Tentative
			}
		}
		return false
	})
	// Asked for again, it is put there anew: the other has it no more.
	neighbour.change(nic.Change{Index: p.Index, MAC: p.MAC, Del: prefixes("2001:db8::10/64")})
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Add: prefixes("2001:db8::10/64")})
	eventually(t, "the address can be used", func() bool {
		return slices.ContainsFunc(n.link("eth1").Addresses, func(a nic.Address) bool {
			return a.Prefix == netip.MustParsePrefix("2001:db8::10/64") && !a.Duplicate && !a.Tentative
		})
	})
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Del: prefixes("2001:db8::10/64")})
	want := []netip.Addr{netip.MustParseAddr("2001:db8::10")}
	for _, when := range []string{"afterwards", "asked again"} {
		if got := found(); !slices.Equal(got, want) {
			t.Errorf("%s it has found %v, want %v", when, got, want)
		}
	}
	if got := elsewhere(); got != nil {
		t.Errorf("of another link it has found %v", got)
	}
}

func TestRoutesOfAllTablesAndNoLocalOnes(t *testing.T) {
	n := newNamespace(t)
	l, o := n.veth("eth1", testMAC), n.veth("eth2", "02:00:00:00:01:02")
	n.quick("eth1")
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24")})
	n.change(nic.Change{Index: o.Index, MAC: o.MAC, Up: true, Add: prefixes("203.0.113.10/24")})
	n.route(l.Index, "198.51.100.0/24", "192.0.2.1", 70000, 4)
	multi, err := netlink.ParseIPNet("198.51.101.0/24")
	n.ok(err)
	n.ok(n.RouteAdd(&netlink.Route{Dst: multi, Protocol: 4, MultiPath: []*netlink.NexthopInfo{
		{LinkIndex: l.Index, Gw: netip.MustParseAddr("192.0.2.1").AsSlice()}, {LinkIndex: o.Index, Gw: netip.MustParseAddr("203.0.113.1").AsSlice()},
	}}))
	n.ok(n.RouteAdd(&netlink.Route{Dst: mustNet(t, "198.51.102.0/24"), Type: unix.RTN_BLACKHOLE}))
	for link, want := range map[string][]string{
		"eth1": {"198.51.100.0/24 via 192.0.2.1 table 70000 proto 4", "198.51.101.0/24 via 192.0.2.1 proto 4"},
		"eth2": {"198.51.101.0/24 via 203.0.113.1 proto 4"},
	} {
		if diff := cmp.Diff(want, routes(n.link(link))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", link, diff)
		}
	}
	kernel := nic.Route{To: netip.MustParsePrefix("192.0.2.0/24"), Source: netip.MustParseAddr("192.0.2.10"), Table: 254, Protocol: unix.RTPROT_KERNEL}
	var v4 []nic.Route
	for _, r := range n.link("eth1").Routes {
		if r.Protocol == unix.RTPROT_KERNEL && r.To.Addr().Is4() {
			v4 = append(v4, r)
		}
	}
	if diff := cmp.Diff([]nic.Route{kernel}, v4, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("the kernel's own (-want +got):\n%s", diff)
	}
}

func mustNet(t *testing.T, s string) *net.IPNet {
	t.Helper()
	n, err := netlink.ParseIPNet(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRules(t *testing.T) {
	n := newNamespace(t)
	r := netlink.NewRule()
	r.Src, r.Table, r.Priority, r.Protocol, r.Family = mustNet(t, "192.0.2.10/32"), 10001, 7000, nic.RouteProtocol, netlink.FAMILY_V4
	n.ok(n.RuleAdd(r))
	got, err := n.Rules(t.Context())
	n.ok(err)
	want := []nic.Rule{
		{Priority: 0, Table: 255, Protocol: 2}, {Priority: 7000, From: netip.MustParsePrefix("192.0.2.10/32"), Table: 10001, Protocol: nic.RouteProtocol},
		{Priority: 32766, Table: 254, Protocol: 2}, {Priority: 32767, Table: 253, Protocol: 2},
		{Priority: 0, Table: 255, Protocol: 2}, {Priority: 32766, Table: 254, Protocol: 2},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

func TestARouteThatLeadsToNoLinkIsFound(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24", "2001:db8::10/64")})
	if to, found, err := n.LoneRoute(t.Context()); found || err != nil {
		t.Errorf("where there is none: %s, %v", to, err)
	}
	n.ok(n.RouteAdd(&netlink.Route{Dst: mustNet(t, "198.51.100.0/24"), Type: unix.RTN_BLACKHOLE, Protocol: 80}))
	if to, found, err := n.LoneRoute(t.Context()); !found || err != nil || to != netip.MustParsePrefix("198.51.100.0/24") {
		t.Errorf("a blackhole: %s, %t, %v", to, found, err)
	}
}

func TestRouteTo(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24")})
	n.route(l.Index, "198.51.100.0/24", "192.0.2.1", 254, 4)
	index, source, via, err := n.RouteTo(t.Context(), netip.MustParseAddr("198.51.100.7"))
	n.ok(err)
	if index != l.Index || source != netip.MustParseAddr("192.0.2.10") || via != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("got link %d, source %s, via %s", index, source, via)
	}
	if _, _, via, err = n.RouteTo(t.Context(), netip.MustParseAddr("::ffff:192.0.2.1")); err != nil || via.IsValid() {
		t.Errorf("on link: via %s, error %v", via, err)
	}
	if _, _, _, err = n.RouteTo(t.Context(), netip.MustParseAddr("203.0.113.1")); err == nil {
		t.Error("there is a way where there is none")
	}
}

func TestLinksGiveUpWhenTheContextIsDone(t *testing.T) {
	n := newNamespace(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Links(ctx); err == nil {
		t.Error("no error")
	}
}

// A storm of changes tears every dump; what is read is whole all the same.
func TestLinksInAStormAreWhole(t *testing.T) {
	n := newNamespace(t)
	for i := range 40 {
		n.veth(fmt.Sprintf("eth%d", i), fmt.Sprintf("02:00:00:00:02:%02x", i))
	}
	ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer stop()
	stormed := make(chan error, 1)
	go func() {
		var err error
		for ctx.Err() == nil && err == nil {
			d := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "storm"}, PeerName: "stormp"}
			if err = n.LinkAdd(d); err == nil {
				err = n.LinkDel(d)
			}
		}
		stormed <- err
	}()
	for ctx.Err() == nil {
		links, err := n.Links(t.Context())
		n.ok(err)
		count := 0
		for _, l := range links {
			if l.Kind == "veth" && l.Name[:3] == "eth" {
				count++
			}
		}
		if count != 80 {
			t.Fatalf("%d of 80 links were listed", count)
		}
	}
	n.ok(<-stormed)
}

func TestALookMakesFourRequests(t *testing.T) {
	n := newNamespace(t)
	requests := &n.rtnl.seq
	before := *requests
	n.link("lo")
	if made := *requests - before; made != 4 {
		t.Errorf("%d requests, want 4", made)
	}
}

func BenchmarkLinks(b *testing.B) {
	k, err := New(&host.Host{Root: b.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Links(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// A link has the rules of the host that say who looks up somebody's own table. Those of the kernel say nothing.
func TestALinkHasTheRulesThatLeadToSomebodysTable(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	for _, r := range []nic.Rule{{Priority: 1000, From: prefixes("192.0.2.10/32")[0], Table: 100}, {Priority: 1001, Table: 100}, {Priority: 1002, To: prefixes("192.0.2.0/24")[0], Table: unix.RT_TABLE_MAIN}} {
		body, attributes := ruleRequest(r)
		n.ok(n.rtnl.do(t.Context(), unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body, attributes...))
	}
	got, err := n.Link(t.Context(), l.Index)
	n.ok(err)
	want := []nic.Rule{{Priority: 1000, From: prefixes("192.0.2.10/32")[0], Table: 100}, {Priority: 1001, Table: 100}}
	if !slices.Equal(got.Rules, want) {
		t.Errorf("got %v, want %v", got.Rules, want)
	}
}

// One link read by its index is what it is among all of them, and without what is on it where that is not asked for.
func TestALinkIsReadAloneAsItIsAmongAll(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	n.ok(n.LinkAddAltName(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.Index}}, "ens1"))
	n.quick("eth1")
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24", "2001:db8::10/64"),
		AddRules: []nic.Rule{{Priority: 20001, From: prefixes("192.0.2.10/32")[0], Table: 10001}}})
	n.route(l.Index, "198.51.100.0/24", "192.0.2.1", 254, 4)
	n.quiet()
	all, err := n.Links(t.Context())
	n.ok(err)
	bare, err := n.Bare(t.Context())
	n.ok(err)
	equal := cmp.Options{cmp.Comparer(func(a, b nic.Route) bool { return a == b }), cmp.Comparer(func(a, b nic.Rule) bool { return a == b }), cmp.Comparer(func(a, b nic.Address) bool { return a == b })}
	for i, want := range all {
		got, err := n.Link(t.Context(), want.Index)
		n.ok(err)
		if diff := cmp.Diff(want, got, equal); diff != "" {
			t.Errorf("%s alone (-among all +alone):\n%s", want.Name, diff)
		}
		if name := n.Name(t.Context(), want.Index); name != want.Name {
			t.Errorf("%s is called %q", want.Name, name)
		}
		want.Addresses, want.Routes, want.Rules = nil, nil, nil
		if diff := cmp.Diff(want, bare[i], equal); diff != "" {
			t.Errorf("%s bare (-want +got):\n%s", want.Name, diff)
		}
	}
	if _, err := n.Link(t.Context(), 4711); !errors.Is(err, nic.ErrLinkGone) || n.Name(t.Context(), 4711) != "" {
		t.Errorf("a link that is not there: %v, %q", err, n.Name(t.Context(), 4711))
	}
}

func TestElsewhere(t *testing.T) {
	k := &Kernel{host: &host.Host{Root: t.TempDir()}}
	for _, folder := range []string{"virtio/devices/virtio1/net/eth1", "virtio/devices/virtio2/net", "pci/devices/0000:00:05.0"} {
		if err := os.MkdirAll(filepath.Join(k.host.Root, "sys/bus", folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for parent, want := range map[string]bool{"virtio/virtio1": false, "virtio/virtio2": true, "pci/0000:00:05.0": false, "virtio/virtio9": false, "": false, "../virtio/devices/virtio2": false} {
		if got := k.Elsewhere(parent); got != want {
			t.Errorf("%q: got %v", parent, got)
		}
	}
}
