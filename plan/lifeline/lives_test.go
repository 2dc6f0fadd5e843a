package lifeline_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"multinicd/internal/hosttest"
	"multinicd/nic"
	"multinicd/plan/lifeline"
)

var (
	mac   = hosttest.MAC
	route = hosttest.Route
)

// The ways to an API server, both by the primary's default route.
var (
	api     = lifeline.Path{What: "the API server", To: netip.MustParseAddr("198.51.100.1"), Index: 2, Source: netip.MustParseAddr("192.0.2.10"), Via: netip.MustParseAddr("192.0.2.254")}
	apiIPv6 = lifeline.Path{What: "the API server", To: netip.MustParseAddr("2001:db8:9::1"), Index: 2, Source: netip.MustParseAddr("2001:db8:2::10"), Via: netip.MustParseAddr("fe80::1")}
)

// input is a host of which a row is about NIC 1.
type input struct{ lifeline.Host }

// stock is a cloud machine as it comes: DHCP on both NICs gave each a default route of the same
// metric. NIC 1 is wanted, and nobody said what the node's address is. The API server is reached by
// the default route of the primary.
func stock() *input {
	links := hosttest.StockLinks()
	links[0].Routes = []nic.Route{leased("192.0.2.254", 100), hosttest.RouteFrom("192.0.2.10", route("192.0.2.0/24"))}
	links[1] = leasedLink(1, "10.1.0.5/24", "10.1.0.1")
	return &input{lifeline.Host{Links: links, Paths: []lifeline.Path{api}, Named: []nic.MAC{mac(1)}}}
}

func (in *input) link() *nic.Link  { return &in.Links[1] } // of NIC 1
func (in *input) other() *nic.Link { return &in.Links[2] }

func (in *input) has(l *nic.Link, addr string) {
	l.Addresses = append(l.Addresses, nic.Address{Prefix: netip.MustParsePrefix(addr), Permanent: true})
}

// ours makes both NICs ours and applied.
func (in *input) ours() {
	for i, c := range []nic.Config{hosttest.Config(1, "10.1.0.5/24"), hosttest.Config(2, "10.2.0.5/24")} {
		in.Links[i+1] = hosttest.Up(in.Links[i+1], c)
		in.Ours = append(in.Ours, c.MAC)
	}
}

// nodeIs is an address of the node by root's word.
func nodeIs(a string) []lifeline.NodeAddr {
	return []lifeline.NodeAddr{{Addr: netip.MustParseAddr(a), Evidence: "--node-ip in kubeadm-flags.env"}}
}

func inTable(table int, r nic.Route) nic.Route { r.Table = table; return r }

func byRouter(r nic.Route) nic.Route { r.Protocol = nic.ProtocolAdvertisement; return r }

func fromRule(prefix string, table, priority int) nic.Rule {
	return nic.Rule{From: netip.MustParsePrefix(prefix), Table: table, Priority: priority}
}

func leased(via string, metric int) nic.Route {
	return nic.Route{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr(via), Metric: metric, Protocol: nic.ProtocolDHCP}
}

// leasedLink is eth<id> with an address and a default route that DHCP gave.
func leasedLink(id int, address, router string) nic.Link {
	l := hosttest.Link(id)
	l.Up, l.Carrier = true, true
	p := netip.MustParsePrefix(address)
	l.Addresses = []nic.Address{{Prefix: p}}
	l.Routes = []nic.Route{leased(router, 100), {To: p.Masked(), Source: p.Addr(), Protocol: nic.ProtocolKernel}}
	return l
}

// byNIC1 has the kernel lead to the API server by NIC 1's default route, whose lease came first.
func (in *input) byNIC1(answers ...int) {
	in.Paths[0] = lifeline.Path{What: "the API server", To: netip.MustParseAddr("198.51.100.1"), Index: 11, Source: netip.MustParseAddr("10.1.0.5"), Via: netip.MustParseAddr("10.1.0.1")}
	in.Answers = answers
}

// on puts a link of a kind on NIC 1.
func (in *input) on(kind string) *nic.Link {
	in.Links = append(in.Links, nic.Link{Index: 30, Name: "eth1.10", Kind: kind, MAC: mac(1), Lower: in.link().Index, Up: true})
	return &in.Links[3]
}

// sends adds a rule of the host.
func (in *input) sends(r nic.Rule) {
	for i := range in.Links {
		in.Links[i].Rules = append(in.Links[i].Rules, r)
	}
}

// Why the node lives by NIC 1 of a stock machine; empty: it does not.
var livesTable = map[string]struct {
	change func(in *input)
	says   string
}{
	// The default route that counts.
	"equal metrics: that of the link counts which the object does not name": {func(*input) {}, ""},
	"equal metrics, NIC 1 by name and the primary too":                      {func(in *input) { in.Named = []nic.MAC{mac(1), mac(0xee)} }, "has the default route of IPv4 that counts"},
	"equal metrics, and the node's address is on the primary": {func(in *input) {
		in.Named = append(in.Named, mac(0xee))
		in.NodeAddrs = nodeIs("192.0.2.10")
	}, ""},
	"the node's address is on the primary, and NIC 1 has the better metric": {func(in *input) {
		in.link().Routes[0].Metric = 50
		in.NodeAddrs = nodeIs("192.0.2.10")
	}, ""},
	"the node's address of the other family says nothing": {func(in *input) {
		in.Named = append(in.Named, mac(0xee))
		in.NodeAddrs = nodeIs("2001:db8:2::10")
	}, "has the default route of IPv4 that counts"},
	"the node's address is on a link without default route": {func(in *input) {
		in.Named = append(in.Named, mac(0xee))
		in.has(in.other(), "10.7.0.1/32")
		in.NodeAddrs = nodeIs("10.7.0.1")
	}, "has the default route of IPv4 that counts"},
	"the API server is reached by the primary, and NIC 1 has the better metric": {func(in *input) { in.link().Routes[0].Metric = 50 }, ""},
	"without a cluster the lowest metric counts":                                {func(in *input) { in.Paths = nil; in.link().Routes[0].Protocol, in.link().Routes[0].Metric = 4, 50 }, "that counts, since its metric is the lowest (default via 10.1.0.1 metric 50)"},
	"without a cluster a higher metric does not":                                {func(in *input) { in.Paths = nil; in.link().Routes[0].Metric = 200 }, ""},
	"without a cluster equal metrics are a tie":                                 {func(in *input) { in.Paths = nil }, ""},
	"NetworkManager's next metric is a tie":                                     {func(in *input) { in.Paths = nil; in.Links[0].Routes[0].Metric = 101 }, ""},
	"NetworkManager has no such distance with two links":                        {func(in *input) { in.Paths = nil; in.Links[0].Routes[0].Metric = 102 }, "its metric is the lowest"},
	"the distance with three links": {func(in *input) {
		in.Paths = nil
		in.Links[0].Routes[0].Metric = 102
		in.Links[2] = leasedLink(2, "10.2.0.5/24", "10.2.0.1")
		in.Links[2].Routes[0].Metric = 101
	}, ""},
	"a next metric that no DHCP client gave is no tie": {func(in *input) {
		in.Paths = nil
		in.Links[0].Routes[0].Protocol, in.Links[0].Routes[0].Metric = 4, 101
	}, "its metric is the lowest"},
	"the only default route": {func(in *input) { in.Links[0].Routes = in.Links[0].Routes[1:] }, "it is the only one"},
	"the only one of IPv6": {func(in *input) { in.link().Routes = append(in.link().Routes, route("::/0 fe80::1")) },
		"has the default route of IPv6 that counts, since it is the only one (default via fe80::1)"},
	"the only other one is in a table for the primary alone": {func(in *input) {
		in.Links[0].Routes[0].Table = 100
		in.sends(fromRule("192.0.2.10/32", 100, 1000))
	}, "it is the only one"},
	"the only other one is of our own gateway": {func(in *input) {
		in.Links[0].Routes = nil
		in.ours()
		in.link().Routes = append(in.link().Routes, leased("10.1.0.1", 100))
		in.other().Routes = append(in.other().Routes, inTable(10002, route("0.0.0.0/0 10.2.0.1")))
	}, "it is the only one"},
	"both NICs are the object's, and the primary has none": {func(in *input) {
		in.Links[0].Routes = nil
		in.Paths = nil
		in.Links[2] = leasedLink(2, "10.2.0.5/24", "10.2.0.1")
		in.Named = append(in.Named, mac(2))
	}, "has the default route of IPv4 that counts"},

	// In other tables.
	"a table that only its own address looks up": {func(in *input) { in.link().Routes[0].Table = 100; in.sends(fromRule("10.1.0.5/32", 100, 1000)) }, ""},
	"a table that only its own subnet looks up":  {func(in *input) { in.link().Routes[0].Table = 100; in.sends(fromRule("10.1.0.0/24", 100, 1000)) }, ""},
	"a table that a Pod's address looks up":      {func(in *input) { in.link().Routes[0].Table = 100; in.sends(fromRule("10.244.0.7/32", 100, 1000)) }, "IPv4 in table 100"},
	"a table that the primary looks up":          {func(in *input) { in.link().Routes[0].Table = 100; in.sends(fromRule("192.0.2.10/32", 100, 1000)) }, "IPv4 in table 100"},
	"a subnet that another link is in too": {func(in *input) {
		in.link().Routes[0].Table = 100
		in.has(in.other(), "10.1.0.6/24")
		in.sends(fromRule("10.1.0.0/24", 100, 1000))
	}, "IPv4 in table 100"},
	"its own address, and everybody": {func(in *input) {
		in.link().Routes[0].Table = 100
		in.sends(fromRule("10.1.0.5/32", 100, 1000))
		in.sends(nic.Rule{Table: 100, Priority: 1001, Other: true})
	}, "IPv4 in table 100"},
	"all but its own address": {func(in *input) {
		in.link().Routes[0].Table = 100
		in.sends(nic.Rule{From: netip.MustParsePrefix("10.1.0.5/32"), Table: 100, Priority: 1000, Other: true})
	}, "IPv4 in table 100"},
	"a table of that number that the other family looks up": {func(in *input) {
		in.link().Routes[0].Table = 100
		in.sends(fromRule("10.1.0.5/32", 100, 1000))
		in.sends(fromRule("2001:db8:2::10/128", 100, 1000))
	}, ""},
	"the table behind main is everybody's": {func(in *input) { in.link().Routes[0].Table = 253 }, "IPv4 in table 253"},

	// The path to the API server.
	"by its default route, and it answers through the primary":               {func(in *input) { in.byNIC1(2) }, ""},
	"by its default route, and it answers through NIC 1 only":                {func(in *input) { in.byNIC1(11) }, "no answer through eth0, whose default route would remain"},
	"by its default route, and it answers nowhere":                           {func(in *input) { in.byNIC1() }, "no answer through eth0"},
	"by its default route, which counts, and it answers through the primary": {func(in *input) { in.byNIC1(2); in.link().Routes[0].Metric = 10; in.link().Routes[0].Protocol = 4 }, "it leads to the API server now"},
	"by its default route, the node's address on the primary, and it answers": {func(in *input) {
		in.byNIC1(2)
		in.link().Routes[0].Metric = 10
		in.NodeAddrs = nodeIs("192.0.2.10")
	}, ""},
	"by its default route, the node's address on the primary, without an answer": {func(in *input) {
		in.byNIC1(11)
		in.link().Routes[0].Metric = 10
		in.NodeAddrs = nodeIs("192.0.2.10")
	}, "(192.0.2.10, the node's address, is on the link)"},
	"by a longer route, and it answers through the primary": {func(in *input) {
		in.byNIC1(2)
		in.link().Routes = append(in.link().Routes, route("198.51.100.0/24 10.1.0.1"))
	}, "carries the path to the API server (198.51.100.1)"},
	"by half of the Internet, and it answers through the primary": {func(in *input) {
		in.byNIC1(2)
		in.link().Routes = append(in.link().Routes, route("128.0.0.0/1 10.1.0.1"))
	}, "carries the path to the API server (198.51.100.1)"},
	"a longer route that only its own address looks up": {func(in *input) {
		in.byNIC1(2)
		in.link().Routes = append(in.link().Routes, inTable(100, route("198.51.100.0/24 10.1.0.1")))
		in.sends(fromRule("10.1.0.5/32", 100, 1000))
	}, ""},
	"in its subnet": {func(in *input) {
		in.byNIC1(2)
		in.Paths[0].To, in.Paths[0].Via = netip.MustParseAddr("10.1.0.77"), netip.Addr{}
	}, "carries the path to the API server (10.1.0.77)"},
	"of two API servers one is in its subnet": {func(in *input) {
		in.byNIC1(2)
		in.Paths = append(in.Paths, lifeline.Path{What: "the API server", To: netip.MustParseAddr("10.1.0.77"), Index: 11})
	}, "carries the path to the API server (10.1.0.77)"},
	"of three equal ones two remain, and it answers through one": {func(in *input) {
		in.Links[2] = leasedLink(2, "10.2.0.5/24", "10.2.0.1")
		in.byNIC1(2)
	}, "no answer through eth2"},
	"of three equal ones one counts, and another may come next": {func(in *input) {
		in.Links[2] = leasedLink(2, "10.2.0.5/24", "10.2.0.1")
		in.Named = append(in.Named, mac(2))
		in.byNIC1(2)
	}, "no answer through eth2"},
	"of three equal ones one counts, and it answers through all": {func(in *input) {
		in.Links[2] = leasedLink(2, "10.2.0.5/24", "10.2.0.1")
		in.Named = append(in.Named, mac(2))
		in.byNIC1(2, 12)
	}, ""},
	"of three one counts, and another comes last": {func(in *input) {
		in.Links[2] = leasedLink(2, "10.2.0.5/24", "10.2.0.1")
		in.Links[2].Routes[0].Metric = 200
		in.Named = append(in.Named, mac(2))
		in.byNIC1(2)
	}, ""},
	"by what a router advertised on a NIC of ours, and it answers through the primary": {func(in *input) {
		in.ours()
		in.link().Routes = append(in.link().Routes, byRouter(route("::/0 fe80::bad")))
		in.link().Addresses = append(in.link().Addresses, nic.Address{Prefix: netip.MustParsePrefix("2001:db8:f::1234/64"), Advertised: true})
		in.Links[0].Routes = append(in.Links[0].Routes, route("::/0 fe80::1"))
		in.Paths[0] = apiIPv6
		in.Paths[0].Index, in.Paths[0].Source, in.Answers = 11, netip.MustParseAddr("2001:db8:f::1234"), []int{2}
	}, ""},

	// What lies on it.
	"below a VLAN with nothing": {func(in *input) { in.on("vlan") }, ""},
	"below a VLAN with the default route": {func(in *input) {
		in.Links[0].Routes = nil
		in.link().Routes = nil
		in.on("vlan").Routes = []nic.Route{leased("10.8.0.1", 100)}
	}, "lies below eth1.10, which has the default route of IPv4"},
	"below a macvlan with the node's address": {func(in *input) {
		in.NodeAddrs = nodeIs("10.8.0.5")
		in.has(in.on("macvlan"), "10.8.0.5/24")
	}, "lies below eth1.10, which holds 10.8.0.5, the node's address"},
	"below a VLAN with the path to the API server": {func(in *input) { in.on("vlan"); in.Paths[0].Index = 30 }, "lies below eth1.10, which carries the path to the API server"},
	"below a VLAN to which a router gave the only default route, once it is ours": {func(in *input) {
		in.ours()
		in.on("vlan").Routes = []nic.Route{byRouter(route("::/0 fe80::bad"))}
	}, "lies below eth1.10, which has the default route of IPv6"},
	"the default route of what lies on it does not move, whoever answers": {func(in *input) {
		in.on("vlan").Routes = []nic.Route{leased("10.8.0.1", 100)}
		in.Paths[0].Index, in.Answers, in.NodeAddrs = 30, []int{2}, nodeIs("192.0.2.10")
	}, "lies below eth1.10, which carries the path to the API server"},
	"below a VLAN in a bridge with the node's address": {func(in *input) {
		in.on("vlan").Master = 31
		in.Links = append(in.Links, nic.Link{Index: 31, Name: "br0", Kind: "bridge"})
		in.has(&in.Links[4], "10.8.0.5/24")
		in.NodeAddrs = nodeIs("10.8.0.5")
	}, "lies below br0, which holds 10.8.0.5"},
}

func TestWhatTheNodeLivesBy(t *testing.T) {
	for name, test := range livesTable {
		t.Run(name, func(t *testing.T) {
			x := stock()
			test.change(x)
			got := ""
			if by := x.Lives(*x.link()); by != nil {
				got = by.Why
			}
			if (got == "") != (test.says == "") || !strings.Contains(got, test.says) {
				t.Errorf("got %q, want %q", got, test.says)
			}
			// Whatever else is known, what the answers decide is asked for.
			if asked := x.ToAsk(); strings.Contains(got, "no answer through") && len(asked) == 0 || test.says == "" && x.Answers != nil && !slices.Equal(asked, x.Answers) {
				t.Errorf("links %v are to be asked, with answers through %v", asked, x.Answers)
			} else if x.Paths != nil && x.Paths[0].Index == 2 && asked != nil {
				t.Errorf("links %v are to be asked, and nothing depends on it", asked)
			}
		})
	}
}

// A subnet that holds the API server is cut also where the way there goes by the NIC's own default
// route now: that goes with the take-over.
func TestTheWayThatRemainsIsCut(t *testing.T) {
	for subnet, want := range map[string]string{"198.51.100.0/24": "for 198.51.100.1, which is the API server", "10.1.0.0/24": "", "10.1.0.0/28": ""} {
		x := stock()
		x.byNIC1(2)
		if got := x.Cuts(netip.MustParsePrefix(subnet), *x.link()); got != want {
			t.Errorf("%s: %q, want %q", subnet, got, want)
		}
	}
}

// A take-over that costs the link its default route says which one is the node's from then on.
func TestWhichDefaultRouteRemains(t *testing.T) {
	for name, test := range map[string]struct {
		change func(in *input)
		want   string
	}{
		"equal metrics":                        {func(*input) {}, "; the node's default route of IPv4 is that of link eth0, since of equal ones the object does not name its link (default via 192.0.2.254 metric 100)"},
		"the node's address is on the primary": {func(in *input) { in.NodeAddrs = nodeIs("192.0.2.10") }, "; the node's default route of IPv4 is that of link eth0, since 192.0.2.10, the node's address, is on the link (default via 192.0.2.254 metric 100)"},
		"a lease without a router":             {func(in *input) { in.link().Routes = in.link().Routes[1:] }, ""},
		"a default route in the NIC's table":   {func(in *input) { in.link().Routes[0].Table = 10001 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			x := stock()
			test.change(x)
			if got := x.Remaining(*x.link()); got != test.want {
				t.Errorf("got %q\nwant %q", got, test.want)
			}
		})
	}
}
