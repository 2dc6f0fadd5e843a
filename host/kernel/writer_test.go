package kernel

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"multinicd/nic"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

const testMAC = "02:00:00:00:01:01"

func TestChangeMakesEveryPartAndASecondTimeNothing(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	n.quick("eth1")
	c := nic.Change{Index: l.Index, MAC: l.MAC, Had: "eth1", Name: "multinic1", MTU: 1400, HadMTU: 1500, Up: true,
		Add: prefixes("192.0.2.10/24", "2001:db8::10/64"),
		AddRoutes: []nic.Route{
			{To: prefixes("198.51.100.0/24")[0], Via: prefixes("192.0.2.1/32")[0].Addr()},
			{To: prefixes("0.0.0.0/0")[0], Via: prefixes("192.0.2.1/32")[0].Addr(), Table: 10001},
			{To: prefixes("2001:db8:1::/48")[0], Via: prefixes("2001:db8::1/128")[0].Addr(), Metric: 50},
			{To: prefixes("203.0.113.0/24")[0], Metric: 7, Source: prefixes("192.0.2.10/32")[0].Addr()},
		}}
	n.change(c)

	got := n.link("multinic1")
	if got.Index != l.Index || got.MTU != 1400 || !got.Up || !got.Carrier || got.Kind != "veth" {
		t.Errorf("link %+v", got)
	}
	if diff := cmp.Diff([]string{"192.0.2.10/24", "2001:db8::10/64"}, addresses(got)); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	wantRoutes := []string{
		"198.51.100.0/24 via 192.0.2.1 proto 109", "2001:db8:1::/48 via 2001:db8::1 metric 50 proto 109",
		"203.0.113.0/24 src 192.0.2.10 metric 7 proto 109", "default via 192.0.2.1 table 10001 proto 109",
	}
	if diff := cmp.Diff(wantRoutes, routes(got)); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}

	eventually(t, "the end of duplicate address detection", func() bool {
		return !slices.ContainsFunc(n.link("multinic1").Addresses, func(a nic.Address) bool { return a.Tentative })
	})
	n.quiet()
	n.change(c)
	if got := n.events(); len(got) != 0 {
		t.Errorf("the second time there were events: %q", got)
	}

	n.undo(c)
	if got := n.link("eth1"); got.MTU != 1500 || got.Up || len(got.Routes)+len(addresses(got)) != 0 {
		t.Errorf("undone, but the link is %+v", got)
	}
	n.quiet()
	n.undo(c)
	if got := n.events(); len(got) != 0 {
		t.Errorf("undoing the second time there were events: %q", got)
	}
}

func TestAnAddressGetsAnotherLength(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	c := nic.Change{Index: l.Index, MAC: l.MAC, Had: "eth1", Up: true, Add: prefixes("192.0.2.10/24", "2001:db8::10/64")}
	n.change(c)
	longer := nic.Change{Index: l.Index, MAC: l.MAC, Had: "eth1", Add: prefixes("192.0.2.10/25", "2001:db8::10/72"), Del: c.Add}
	n.change(longer)
	if diff := cmp.Diff([]string{"192.0.2.10/25", "2001:db8::10/72"}, addresses(n.link("eth1"))); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	n.change(longer.Inverse())
	if diff := cmp.Diff([]string{"192.0.2.10/24", "2001:db8::10/64"}, addresses(n.link("eth1"))); diff != "" {
		t.Errorf("undone, addresses (-want +got):\n%s", diff)
	}
}

func TestChangeRefuses(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	gateway := n.veth("eth2", "02:00:00:00:01:02")
	n.change(nic.Change{Index: gateway.Index, MAC: gateway.MAC, Up: true, Add: prefixes("192.0.2.10/24")})
	n.route(gateway.Index, "0.0.0.0/0", "192.0.2.1", 254, 4)
	forbidden := errors.New("forbidden")
	allow := func(nic.Link, []nic.Link) error { return nil }
	n.quiet() // the kernel tells of the peers that are up a while after it was asked
	for name, test := range map[string]struct {
		guard  Guard
		change nic.Change
		want   error
	}{
		"what the guard forbids": {func(g nic.Link, all []nic.Link) error {
			if g.Name != "eth1" || g.Index != l.Index {
				t.Errorf("the guard was asked about %+v", g)
			}
			// The default route of another link counts as much.
			if len(all) < 3 || find(all, gateway.Index) == nil || !slices.ContainsFunc(find(all, gateway.Index).Routes, nic.Route.IsDefault) {
				t.Errorf("the guard was shown %+v", all)
			}
			return forbidden
		}, nic.Change{Index: l.Index, MAC: l.MAC, MTU: 1400}, forbidden},
		"a link that is gone":         {allow, nic.Change{Index: 4711, MAC: l.MAC, MTU: 1400}, nic.ErrLinkGone},
		"a link that is another's":    {allow, nic.Change{Index: l.Index, MAC: nic.MAC{2, 9}, MTU: 1400}, nic.ErrLinkGone},
		"a name that another one has": {allow, nic.Change{Index: l.Index, MAC: l.MAC, Name: "eth2", MTU: 1400}, nic.ErrNameTaken},
	} {
		t.Run(name, func(t *testing.T) {
			n.events()
			if err := n.Writer(test.guard).Change(t.Context(), test.change); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if got := n.events(); len(got) != 0 {
				t.Errorf("there were events: %q", got)
			}
		})
	}
}

func TestWriterWithoutGuardPanics(t *testing.T) {
	for name, write := range map[string]func(){
		"a change": func() { (&Kernel{}).Writer(nil) },
		"an undo":  func() { (&Kernel{}).Undoer(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it did not panic")
				}
			}()
			write()
		})
	}
}

// What others put on the link stays when our address, the primary one of its subnet, is replaced.
func TestChangeOfAnAddressKeepsWhatOthersMade(t *testing.T) {
	for name, promote := range map[string]string{"without promotion of secondaries": "0", "with promotion of secondaries": "1"} {
		t.Run(name, func(t *testing.T) {
			n := newNamespace(t)
			n.sysctl("net/ipv4/conf/all/promote_secondaries", promote)
			l := n.veth("multinic1", testMAC)
			other := n.veth("eth2", "02:00:00:00:01:02")
			n.change(nic.Change{Index: other.Index, MAC: other.MAC, Up: true, Add: prefixes("203.0.113.9/24")})
			n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24")})
			device := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.Index}}
			for _, s := range []string{"192.0.2.77/24", "192.0.2.78/32"} {
				a, err := netlink.ParseAddr(s)
				n.ok(err)
				a.Label = "multinic1:vip"
				n.ok(n.AddrAdd(device, a))
			}
			dhcp, err := netlink.ParseAddr("192.0.2.79/24")
			n.ok(err)
			dhcp.ValidLft, dhcp.PreferedLft = 3600, 1800
			n.ok(n.AddrAdd(device, dhcp))
			n.route(l.Index, "198.51.100.0/24", "192.0.2.1", 254, 4)
			n.route(l.Index, "198.51.101.0/24", "", 254, 12)
			n.route(l.Index, "198.51.102.0/24", "192.0.2.1", 101, 4)
			n.route(other.Index, "198.51.103.0/24", "203.0.113.1", 254, 12)
			before := n.link("multinic1")
			n.quiet()

			n.change(nic.Change{Index: l.Index, MAC: l.MAC, Add: prefixes("192.0.2.11/24"), Del: prefixes("192.0.2.10/24")})

			after := n.link("multinic1")
			if diff := cmp.Diff([]string{"192.0.2.11/24", "192.0.2.77/24", "192.0.2.78/32", "192.0.2.79/24"}, addresses(after)); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(routes(before), routes(after)); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
			list, err := n.AddrList(device, netlink.FAMILY_V4)
			n.ok(err)
			for _, a := range list {
				switch a.IP.String() {
				case "192.0.2.77":
					if a.Label != "multinic1:vip" {
						t.Errorf("label %q got lost: %+v", "multinic1:vip", a)
					}
				case "192.0.2.79":
					if a.ValidLft < 3500 || a.ValidLft > 3600 {
						t.Errorf("lifetime is %d s", a.ValidLft)
					}
				}
			}
			for _, e := range n.events() {
				of := strings.Fields(e)
				if of[1] == strconv.Itoa(other.Index) || slices.Contains([]string{"198.51.103.0/24", "203.0.113.0/24"}, of[1]) {
					t.Errorf("event on another link: %s", e)
				}
			}
		})
	}
}

// endsAt is a context that ends when it is asked for the n-th time whether it has.
type endsAt struct {
	context.Context
	n *int
}

func (e endsAt) Err() error {
	if *e.n--; *e.n <= 0 {
		return context.Canceled
	}
	return nil
}

// A service that is stopped in the middle of a change takes nothing of others with it, wherever that is.
func TestAChangeThatIsCutShortKeepsWhatOthersMade(t *testing.T) {
	for at := 1; ; at++ {
		n := newNamespace(t)
		n.sysctl("net/ipv4/conf/all/promote_secondaries", "0")
		l := n.veth("multinic1", testMAC)
		n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24", "203.0.113.10/24")})
		other, err := netlink.ParseAddr("192.0.2.77/24")
		n.ok(err)
		n.ok(n.AddrAdd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.Index}}, other))
		n.route(l.Index, "198.51.100.0/24", "192.0.2.1", 254, 4)
		left := at
		err = n.Writer(func(nic.Link, []nic.Link) error { return nil }).Change(endsAt{t.Context(), &left}, nic.Change{Index: l.Index, MAC: l.MAC, Add: prefixes("192.0.2.11/24"), Del: prefixes("192.0.2.10/24", "203.0.113.10/24")})
		after := n.link("multinic1")
		if !slices.Contains(addresses(after), "192.0.2.77/24") || !slices.ContainsFunc(after.Routes, func(r nic.Route) bool { return r.To.String() == "198.51.100.0/24" }) {
			t.Errorf("cut short at %d (%v) it has %v and %v", at, err, addresses(after), after.Routes)
		}
		if err == nil {
			return
		}
	}
}

func TestChangeLeavesAnotherLinksRouteOfTheSameKeyAlone(t *testing.T) {
	n := newNamespace(t)
	a, b := n.veth("multinic1", testMAC), n.veth("multinic2", "02:00:00:00:01:02")
	n.quick("multinic1")
	n.quick("multinic2")
	n.change(nic.Change{Index: a.Index, MAC: a.MAC, Up: true, Add: prefixes("192.0.2.10/24", "2001:db8:1::10/64")})
	n.change(nic.Change{Index: b.Index, MAC: b.MAC, Up: true, Add: prefixes("203.0.113.10/24", "2001:db8:2::10/64")})
	n.route(a.Index, "198.51.100.0/24", "192.0.2.1", 254, 4)
	n.route(a.Index, "2001:db8:9::/48", "2001:db8:1::1", 254, 4)
	v4 := nic.Route{To: prefixes("198.51.100.0/24")[0], Via: prefixes("203.0.113.1/32")[0].Addr()}
	v6 := nic.Route{To: prefixes("2001:db8:9::/48")[0], Via: prefixes("2001:db8:2::1/128")[0].Addr()}

	n.change(nic.Change{Index: b.Index, MAC: b.MAC, AddRoutes: []nic.Route{v4}})
	err := n.Writer(func(nic.Link, []nic.Link) error { return nil }).Change(t.Context(), nic.Change{Index: b.Index, MAC: b.MAC, AddRoutes: []nic.Route{v6}})
	if !errors.Is(err, ErrRouteTaken) {
		t.Errorf("IPv6: got %v, want ErrRouteTaken", err)
	}
	want := []string{"198.51.100.0/24 via 192.0.2.1 proto 4", "2001:db8:9::/48 via 2001:db8:1::1 metric 1024 proto 4"}
	if diff := cmp.Diff(want, routes(n.link("multinic1"))); diff != "" {
		t.Errorf("the other link's routes (-want +got):\n%s", diff)
	}
	index, _, via, err := n.RouteTo(t.Context(), prefixes("198.51.100.5/32")[0].Addr())
	n.ok(err)
	if index != a.Index || via != prefixes("192.0.2.1/32")[0].Addr() {
		t.Errorf("the traffic now goes by link %d, %s", index, via)
	}
	n.change(nic.Change{Index: b.Index, MAC: b.MAC, DelRoutes: []nic.Route{v4}})
	if diff := cmp.Diff(want, routes(n.link("multinic1"))); diff != "" {
		t.Errorf("after the deletion the other link's routes (-want +got):\n%s", diff)
	}
	if got := routes(n.link("multinic2")); len(got) != 0 {
		t.Errorf("ours are still there: %q", got)
	}
}

// An undo puts a route back as whoever's it was: NetworkManager, which brings its own back too, does not have a second one beside it then.
func TestARouteComesBackAsWhoseItWas(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("multinic1", testMAC)
	n.quick("multinic1")
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24")})
	to, via := prefixes("198.51.100.0/24")[0], prefixes("192.0.2.1/32")[0].Addr()
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, AddRoutes: []nic.Route{{To: to, Via: via, Protocol: 4}, {To: to, Via: via, Table: 10001}}})
	want := []string{"198.51.100.0/24 via 192.0.2.1 proto 4", "198.51.100.0/24 via 192.0.2.1 table 10001 proto 109"}
	got := slices.DeleteFunc(routes(n.link("multinic1")), func(r string) bool { return !strings.HasPrefix(r, "198.51.100.0/24") })
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Of two of the same key the named one goes, and never the last.
func TestOneOfTwoRoutesGoes(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("multinic1", testMAC)
	n.quick("multinic1")
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24")})
	ours := nic.Route{To: prefixes("198.51.100.0/24")[0], Via: prefixes("192.0.2.1/32")[0].Addr()}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, AddRoutes: []nic.Route{ours}})
	n.ok(n.RouteAppend(&netlink.Route{LinkIndex: l.Index, Protocol: 4, Dst: mustNet(t, "198.51.100.0/24"), Gw: ours.Via.AsSlice()}))
	ours.Protocol = nic.RouteProtocol
	has := func() []string {
		return slices.DeleteFunc(routes(n.link("multinic1")), func(r string) bool { return !strings.HasPrefix(r, "198.51.100.0/24") })
	}
	if got := has(); len(got) != 2 {
		t.Fatalf("the kernel has %q, not two", got)
	}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, DelRoutes: []nic.Route{ours}})
	want := []string{"198.51.100.0/24 via 192.0.2.1 proto 4"}
	if diff := cmp.Diff(want, has()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	ours.Protocol = 4
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, DelRoutes: []nic.Route{ours}})
	if diff := cmp.Diff(want, has()); diff != "" {
		t.Errorf("the last one, -want +got:\n%s", diff)
	}
}

// The kernel holds two routes that differ in "onlink" for two, so an undo has to leave one without it as it was.
func TestARouteComesBackOnLinkOnlyIfItWas(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("multinic1", testMAC)
	n.quick("multinic1")
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24")})
	near, far := prefixes("192.0.2.1/32")[0].Addr(), prefixes("203.0.113.1/32")[0].Addr()
	had := []nic.Route{
		{To: prefixes("198.51.100.0/26")[0], Via: near, Table: nic.TableMain, Protocol: 4},
		{To: prefixes("198.51.100.64/26")[0], Via: near, Table: nic.TableMain, Protocol: 4, OnLink: true},
		{To: prefixes("198.51.100.128/26")[0], Via: far, Table: nic.TableMain, Protocol: 4}, // its address went, and comes back later
	}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, AddRoutes: had})
	want := []string{"198.51.100.0/26 via 192.0.2.1", "198.51.100.64/26 via 192.0.2.1 onlink", "198.51.100.128/26 via 203.0.113.1 onlink"}
	var got []string
	for _, r := range n.link("multinic1").Routes {
		if r.Protocol == 4 && r.OnLink {
			got = append(got, r.String()+" onlink")
		} else if r.Protocol == 4 {
			got = append(got, r.String())
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// NetworkManager, while it brings back an address, makes the route of the subnet by itself, a moment later.
func TestARouteComesBackOnceItsRouterIsReached(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("multinic1", testMAC)
	n.quick("multinic1")
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true})
	came := make(chan error)
	go func() {
		time.Sleep(200 * time.Millisecond)
		address, _ := netlink.ParseAddr("192.0.2.10/24")
		came <- n.AddrAdd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.Index}}, address)
	}()
	to, via := prefixes("198.51.100.0/24")[0], prefixes("192.0.2.1/32")[0].Addr()
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, AddRoutes: []nic.Route{{To: to, Via: via, Protocol: 4}}})
	n.ok(<-came)
	for _, r := range n.link("multinic1").Routes {
		if r.Via == via && r.OnLink {
			t.Errorf("%s came back onlink, which it was not", r)
		}
	}
}

func TestRouteWithAnIPv6SourceWaitsForItsAddress(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("multinic1", testMAC)
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("2001:db8::10/64"), AddRoutes: []nic.Route{
		{To: prefixes("2001:db8:9::/48")[0], Via: prefixes("2001:db8::1/128")[0].Addr(), Source: prefixes("2001:db8::10/128")[0].Addr()},
	}})
	want := []string{"2001:db8:9::/48 via 2001:db8::1 src 2001:db8::10 metric 1024 proto 109"}
	if diff := cmp.Diff(want, routes(n.link("multinic1"))); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

func TestChangeRenamesALinkThatIsUpOrSaysBusy(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24")})
	err := n.Writer(func(nic.Link, []nic.Link) error { return nil }).Change(t.Context(), nic.Change{Index: l.Index, MAC: l.MAC, Had: "eth1", Name: "multinic1"})
	name := "multinic1"
	if errors.Is(err, nic.ErrRenameBusy) {
		name = "eth1" // before Linux 6.2
	} else if err != nil {
		t.Fatal(err)
	}
	if got := n.link(name); !got.Up || !slices.Equal(addresses(got), []string{"192.0.2.10/24"}) {
		t.Errorf("the link is %+v", got)
	}
}
