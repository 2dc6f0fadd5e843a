package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"multinicd/api/v1"
	"multinicd/nic"
	"multinicd/test/bed"
	"multinicd/test/bed/attacker"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
	"multinicd/test/bed/wire"
)

// hostile is a node with an attacker on the segment of each of its NICs.
type hostile struct {
	*node
	c    *cluster
	k    kind
	by   map[string]*attacker.Attacker // by segment
	wish []string                      // the interfaces that are configured in all rows
}

// What its two NICs have. The third is plugged in by the rows that need a NIC which is being configured.
const (
	hostile1 = "multinic1 up mtu 1400 192.168.100.10/24"
	hostile2 = "multinic2 up mtu 1500 192.168.200.10/24 2001:db8:200::10/64"
	hostile3 = "multinic3 up mtu 1500 192.168.3.10/24 2001:db8:3::10/64"
	allWell  = "multinic1 Configured Configured, multinic2 Configured Configured"
)

var (
	own1, own2v6 = netip.MustParseAddr("192.168.100.10"), netip.MustParseAddr("2001:db8:200::10")
	own3, own3v6 = netip.MustParseAddr("192.168.3.10"), netip.MustParseAddr("2001:db8:3::10")
	evil         = netip.MustParseAddr("fe80::bad:1")
)

// attack is a row: what the neighbours do, and what is left of it once they have stopped.
type attack struct {
	name string
	// do begins, and says what ends it.
	do func(h *hostile) (stop func())
}

// A neighbour on the segments of a node's NICs sends whatever it likes. Of a NIC that is configured nothing changes in the kernel, no file is
// written, nothing is logged or reported, and the daemon does not even look; of one that is being configured the node says what is wrong, and
// configures it once that is over. The other NICs of the node go on.
func TestANeighbourMeansHarm(t *testing.T) {
	onKinds(t, brief(netplan12), func(t *testing.T, k kind) {
		b := bed.New(t)
		h := newHostile(t, b, k)
		end := h.othersWatched()
		for _, a := range append(prerequisite.Long(attacks...), attack{"it does all of that at once", allAtOnce}) {
			t.Run(a.name, func(t *testing.T) { h.as(t).withstands(a) })
		}
		for _, p := range append(probings, prerequisite.Long(moreProbings...)...) {
			t.Run(p.name, func(t *testing.T) { h.as(t).comesThrough(p) })
		}
		for _, c := range append(comings, prerequisite.Long(moreComings...)...) {
			t.Run(c.name, func(t *testing.T) { h.as(t).comesBack(c) })
		}
		end("under attack")
	})
}

func newHostile(t *testing.T, b *bed.Bed, k kind) *hostile {
	t.Helper()
	c := newCluster(t, b)
	name := strings.ToLower(fmt.Sprintf("hostile-%s-%s-%s", k.flavour, k.suite, k.backend))
	o := k.options(bed.NICs(mac1, mac2)...)
	o.Name = name
	h := &hostile{c: c, k: k, by: map[string]*attacker.Attacker{}, wish: []string{
		nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1400", "gateway: 192.168.100.1", "routes: [{to: 10.20.0.0/16, via: 192.168.100.1}]"),
		nicYAML(2, mac2, "192.168.200.10/24", "addresses: [\"2001:db8:200::10/64\"]"),
	}}
	h.node = &node{Node: c.Member(o, strings.ReplaceAll(settings(name, ""), `"off"`, `"fast"`)+k.toml), t: t, bed: b}
	for segment, address := range map[string]string{"data1": "192.168.100.1/24", "data2": "192.168.200.1/24", "data3": "192.168.3.1/24"} {
		if err := b.World.AddAddress(segment, netip.MustParsePrefix(address)); err != nil {
			t.Fatal(err)
		}
		h.by[segment] = b.Attacker(segment)
	}
	if err := h.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.wants()
	c.wantState(name, "Configured", "2/2")
	return h
}

// wants has the object ask for these NICs beside the two.
func (h *hostile) wants(more ...string) {
	h.t.Helper()
	h.c.Want(object(h.Name, append(slices.Clone(h.wish), more...)...))
}

// as is the node within a row's own test.
func (h *hostile) as(t *testing.T) *hostile {
	row, n := *h, *h.node
	n.t, row.node, row.c = t, &n, newCluster(t, h.bed)
	return &row
}

// state is all of the host that an attack might change: links, addresses, routes, rules, what IPv6 makes of the MTU, name servers, files, and by
// which way the node's traffic leaves.
func (h *hostile) state() string {
	h.t.Helper()
	return h.must("sh", "-c", `
		ip -oneline address | sed 's/ \(dynamic\|noprefixroute\|mngtmpaddr\)//g'; ip -oneline link | sed 's/ state [A-Z]*//'
		ip -4 route show table all; ip -6 route show table all; ip -4 rule; ip -6 rule
		ip -4 route get 203.0.113.6; ip -4 route get 169.254.169.254; ip -4 route get 10.20.0.1
		grep -H . /proc/sys/net/ipv6/conf/multinic*/mtu /proc/sys/net/ipv6/conf/multinic*/accept_ra
		cat /etc/resolv.conf /run/systemd/resolve/resolv.conf /run/NetworkManager/resolv.conf 2>/dev/null
		find `+folders+` -type f -exec stat -c '%n %i %Y %Z %s' {} + 2>/dev/null | sort`)
}

// reports is how many times the node has written its report.
func (h *hostile) reports() (count int) {
	h.t.Helper()
	all, err := h.c.Requests()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, r := range all {
		if r.ObjectRef.Name == v1.ReportName(h.Name) && (r.Verb == "update" || r.Verb == "patch") && strings.Contains(r.User.Username, h.Name) {
			count++
		}
	}
	return count
}

// passes is how many times the daemon has looked.
func (h *hostile) passes() int64 {
	h.t.Helper()
	s, err := h.Status()
	if err != nil {
		h.t.Fatal(err)
	}
	return s.Meters.Passes
}

// withstands has the two configured NICs attacked for a while.
func (h *hostile) withstands(a attack) {
	before, reported, said := h.settles("the host", h.state), h.reports(), h.Journal(h.t.Context())
	kernel, err := h.MonitorKernel()
	if err != nil {
		h.t.Fatal(err)
	}
	defer kernel.Stop()
	looked, used := h.passes(), h.cpu()
	stop := a.do(h)
	h.must("sleep", "1") // nothing is to happen
	h.wantStays("status under attack", allWell, h.NICs)
	stop()
	if after := h.state(); after != before {
		h.t.Errorf("the host is\n%s\nwas\n%s", after, before)
	}
	if got, spent := h.passes()-looked, h.cpu()-used; got > 2 || spent > 200*time.Millisecond {
		h.t.Errorf("the daemon looked %d times, and used %s of CPU", got, spent)
	}
	if after := h.Journal(h.t.Context()); after != said {
		h.t.Errorf("the daemon says more than before:\n%s", strings.TrimPrefix(after, said))
	}
	if got := h.reports() - reported; got > 0 {
		h.t.Errorf("it reported %d times", got)
	}
	events, err := kernel.Events()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range events {
		h.t.Errorf("the kernel told of %s", e)
	}
}

// storm has the attacker of a segment send frames again and again.
func (h *hostile) storm(segment string, pause time.Duration, frames ...[]byte) (stop func()) {
	end := h.by[segment].Repeat(pause, frames...)
	return func() {
		if sent := end(); sent < 2*len(frames) {
			h.t.Errorf("the attacker has sent %d frames only", sent)
		}
	}
}

// claims are all the ways to say by ARP, or by neighbour discovery, that an address is one's own.
func claims(a *attacker.Attacker, address, of netip.Addr) [][]byte {
	if address.Is6() {
		return [][]byte{wire.Advertisement(a.MAC, address), wire.Solicitation(a.MAC, address)}
	}
	return [][]byte{
		wire.ARP(wire.Reply, a.MAC, address, of), wire.ARP(wire.Request, a.MAC, address, address),
		wire.ARP(wire.Request, a.MAC, netip.IPv4Unspecified(), address),
	}
}

// router is all that a router advertisement can tell.
func (h *hostile) router(segment string) []byte {
	return wire.Router{MAC: h.by[segment].MAC, Prefix: netip.MustParsePrefix("2001:db8:bad::/64"), MTU: 1280, Server: evil,
		Route: netip.MustParsePrefix("2001:db8:77::/64")}.Frame(evil)
}

var attacks = []attack{
	{"it claims the NIC's address by ARP", func(h *hostile) func() {
		return h.storm("data1", time.Millisecond, claims(h.by["data1"], own1, own1)...)
	}},
	{"it claims the NIC's address by neighbour discovery", func(h *hostile) func() {
		return h.storm("data2", time.Millisecond, claims(h.by["data2"], own2v6, own2v6)...)
	}},
	{"it claims to be the gateway, the name server and the metadata service", func(h *hostile) func() {
		a, b := h.by["data1"], h.by["data2"]
		var four [][]byte
		for _, one := range []string{"192.168.100.1", "192.0.2.1", "169.254.169.254"} {
			four = append(four, claims(a, netip.MustParseAddr(one), own1)...)
		}
		stop, end := h.storm("data1", time.Millisecond, four...), h.storm("data2", time.Millisecond, claims(b, netip.MustParseAddr("fd00:ec2::254"), own2v6)...)
		return func() { stop(); end() }
	}},
	{"it advertises itself as a router", func(h *hostile) func() {
		stop, end := h.storm("data1", time.Millisecond, h.router("data1")), h.storm("data2", time.Millisecond, h.router("data2"))
		return func() { stop(); end() }
	}},
	{"it offers leases", func(h *hostile) func() {
		server := h.bed.DHCP("data2", rogue("192.168.200.0/24"))
		return func() {
			if n := server.Given(mac2); n > 0 {
				h.t.Errorf("the NIC was given %d leases", n)
			}
			if err := server.Stop(); err != nil {
				h.t.Error(err)
			}
		}
	}},
	{"it sends from the NIC's own MAC", func(h *hostile) func() {
		twin, err := nic.ParseMAC(mac1)
		if err != nil {
			h.t.Fatal(err)
		}
		stop := h.storm("data1", time.Millisecond, wire.ARP(wire.Request, twin, own1, netip.MustParseAddr("192.168.100.1")),
			wire.ARP(wire.Request, twin, netip.MustParseAddr("192.168.100.66"), netip.MustParseAddr("192.168.100.1")))
		return func() {
			stop()
			h.must("ping", "-n", "-c", "1", "-w", "20", "-I", "multinic1", "192.168.100.1") // the switch has learned again where the NIC is
		}
	}},
	{"it sends frames with VLAN tags", func(h *hostile) func() {
		a := h.by["data1"]
		var frames [][]byte
		for _, b := range append(claims(a, own1, own1), h.router("data1")) {
			frames = append(frames, wire.Tagged(b, wire.VLAN, 0), wire.Tagged(b, wire.VLAN, 100), wire.Tagged(b, wire.Service, 5, wire.VLAN, 6))
		}
		return h.storm("data1", time.Millisecond, frames...)
	}},
	{"it asks for the NIC's address as fast as it can", func(h *hostile) func() {
		a := h.by["data1"]
		var frames [][]byte
		for range 3 { // who asks is in the host's neighbour table then, of which all hosts here have one: so they are few
			for last := range byte(50) {
				frames = append(frames, wire.ARP(wire.Request, a.MAC, netip.AddrFrom4([4]byte{192, 168, 100, 100 + last}), own1))
			}
		}
		return h.storm("data1", 5*time.Millisecond, frames...)
	}},
}

// allAtOnce is every attack at the same time.
func allAtOnce(h *hostile) (stop func()) {
	var stops []func()
	for _, a := range attacks {
		stops = append(stops, a.do(h))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// rogueServer is for names, if one believes the leases of rogue.
const rogueServer = "192.168.100.66"

// rogue is a DHCP server whose leases would have all traffic, a small MTU and another name server.
func rogue(network string) testhost.DHCP {
	const by = "192.168.100.1"
	return testhost.DHCP{Network: netip.MustParsePrefix(network), Renew: renew, More: []string{
		"26,1280", "6," + rogueServer, "121,0.0.0.0/0," + by + ",10.0.0.0/8," + by + ",203.0.113.0/24," + by,
	}}
}
