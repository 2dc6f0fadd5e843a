package kernel

import (
	"net/netip"
	"slices"
	"testing"

	"multinicd/nic"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ruleTexts gives the rules of the host that have a source, as they are met on a link.
func ruleTexts(l nic.Link) (out []string) {
	for _, r := range l.Rules {
		out = append(out, r.String())
	}
	return out
}

func TestChangeMakesTableRulesAndConfAndASecondTimeNothing(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("multinic1", testMAC)
	n.quick("multinic1")
	n.sysctl("net/ipv4/conf/multinic1/rp_filter", "1")
	n.ok(n.RuleAdd(mark(t, "192.0.2.10/32")))
	plain := nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24", "2001:db8::10/64")}
	n.change(plain)
	c := nic.Change{Index: l.Index, MAC: l.MAC, Had: "multinic1", Add: prefixes("192.0.2.10/32", "2001:db8::10/128"), Del: plain.Add,
		AddRoutes: []nic.Route{{To: prefixes("192.0.2.0/24")[0], Table: 10001}, {To: prefixes("2001:db8::/64")[0], Table: 10001},
			{To: prefixes("192.0.2.0/24")[0], Metric: 20001, Source: prefixes("192.0.2.10/32")[0].Addr()},
			{To: prefixes("10.0.0.0/8")[0], Via: netip.MustParseAddr("203.0.113.1"), OnLink: true}},
		AddRules: []nic.Rule{{Priority: 9999, From: prefixes("192.0.2.10/32")[0], To: prefixes("192.0.2.0/24")[0], Table: 10001},
			{Priority: 20001, From: prefixes("192.0.2.10/32")[0], Table: 10001}, {Priority: 20001, From: prefixes("2001:db8::10/128")[0], Table: 10001},
			{Priority: 10001, From: prefixes("192.0.2.10/32")[0], Table: nic.TableMain, NoDefault: true},
			{Priority: 10001, From: prefixes("2001:db8::10/128")[0], Table: nic.TableMain, NoDefault: true}},
		Conf: &nic.Conf{ARPIgnore: 1, ARPAnnounce: 2, RPFilter: 2}, HadConf: &nic.Conf{RPFilter: 1}}
	before := n.link("multinic1")
	if before.Conf != *c.HadConf {
		t.Errorf("it has %s, want %s", before.Conf, c.HadConf)
	}
	n.change(c)
	got := n.link("multinic1")
	if got.Conf != nic.Apart {
		t.Errorf("it has %s", got.Conf)
	}
	if diff := cmp.Diff([]string{"192.0.2.10/32", "2001:db8::10/128"}, addresses(got)); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	wantRules := []string{"from 192.0.2.10/32 to 192.0.2.0/24 lookup 10001 priority 9999", "from 192.0.2.10/32 lookup main suppress_prefixlength 0 priority 10001",
		"from 192.0.2.10/32 lookup 10001 priority 20001", "from 192.0.2.10/32 lookup 10001 priority 20001",
		"from 2001:db8::10/128 lookup main suppress_prefixlength 0 priority 10001", "from 2001:db8::10/128 lookup 10001 priority 20001"}
	if diff := cmp.Diff(wantRules, ruleTexts(got)); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	wantRoutes := []string{"10.0.0.0/8 via 203.0.113.1 proto 109", "192.0.2.0/24 src 192.0.2.10 metric 20001 proto 109",
		"192.0.2.0/24 table 10001 proto 109", "2001:db8::/64 metric 1024 table 10001 proto 109"}
	if diff := cmp.Diff(wantRoutes, routes(got)); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	n.quiet()
	n.change(c)
	if got := n.events(); len(got) != 0 {
		t.Errorf("the second time there were events: %q", got)
	}

	n.change(c.Inverse())
	after := n.link("multinic1")
	if diff := cmp.Diff(ruleTexts(before), ruleTexts(after)); diff != "" {
		t.Errorf("undone, rules (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(addresses(before), addresses(after)); diff != "" || after.Conf != before.Conf || len(routes(after)) != 0 {
		t.Errorf("undone, but the link is %+v", after)
	}
}

// mark is somebody else's rule that looks like ours but for the mark.
func mark(t *testing.T, from string) *netlink.Rule {
	t.Helper()
	r := netlink.NewRule()
	r.Src, r.Table, r.Priority, r.Mark, r.Family, r.Protocol = mustNet(t, from), 10001, 20001, 7, netlink.FAMILY_V4, unix.RTPROT_BIRD
	return r
}

func TestRulesThatSayMoreAreNotOurs(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("multinic1", testMAC)
	interfaces := mark(t, "192.0.2.10/32")
	interfaces.Mark, interfaces.IifName = 0, "multinic1"
	suppress := mark(t, "192.0.2.10/32")
	suppress.Mark, suppress.SuppressPrefixlen, suppress.Priority, suppress.Table = 0, 8, 20002, 100 // the library says it of small tables only
	invert := mark(t, "192.0.2.10/32")
	invert.Mark, invert.Invert, invert.Priority = 0, true, 20003
	for _, r := range []*netlink.Rule{mark(t, "192.0.2.10/32"), interfaces, suppress, invert} {
		n.ok(n.RuleAdd(r))
	}
	ours := nic.Rule{Priority: 20001, From: prefixes("192.0.2.10/32")[0], Table: 10001}
	others := n.link("multinic1").Rules
	if len(others) != 4 || slices.ContainsFunc(others, func(r nic.Rule) bool { return !r.Other }) {
		t.Fatalf("the rules are %+v", others)
	}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, DelRules: []nic.Rule{ours}})
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, AddRules: []nic.Rule{ours}})
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, DelRules: []nic.Rule{ours}})
	if got := n.link("multinic1").Rules; !slices.Equal(got, others) {
		t.Errorf("the rules of others were\n%+v\nare\n%+v", others, got)
	}
}

// The rule that leads to main is there only while the one is that keeps it in check.
func TestRulesComeInOrderAndGoInTheOppositeOne(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("multinic1", testMAC)
	from := prefixes("192.0.2.10/32")[0]
	c := nic.Change{Index: l.Index, MAC: l.MAC, AddRules: []nic.Rule{{Priority: 9999, From: from, To: prefixes("192.0.2.0/24")[0], Table: 10001},
		{Priority: 20001, From: from, Table: 10001}, {Priority: 10001, From: from, Table: nic.TableMain, NoDefault: true}}}
	n.quiet()
	n.change(c)
	n.change(c.Inverse())
	if got, want := n.events(), []string{"rule +9999", "rule +20001", "rule +10001", "rule -10001", "rule -20001", "rule -9999"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// An address that the link has to itself already gets its new length at once: nobody is asked again.
func TestAnIPv6AddressGetsAnotherLengthWithoutBeingCheckedAgain(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("multinic1", testMAC)
	plain := nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("2001:db8::10/64")}
	n.change(plain)
	tentative := func() bool {
		return slices.ContainsFunc(n.link("multinic1").Addresses, func(a nic.Address) bool { return a.Tentative && !a.Prefix.Addr().IsLinkLocalUnicast() })
	}
	eventually(t, "the end of duplicate address detection", func() bool { return !tentative() })
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Add: prefixes("2001:db8::10/128"), Del: plain.Add})
	if tentative() {
		t.Error("it is checked once more")
	}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Add: prefixes("2001:db8::11/128")})
	if !tentative() {
		t.Error("a new one is not checked")
	}
}

func TestARouteIsDeletedWithItsSourceOnly(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("multinic1", testMAC)
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("192.0.2.10/24")})
	to := prefixes("198.51.100.0/24")[0]
	with := nic.Route{To: to, Source: netip.MustParseAddr("192.0.2.10")}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, AddRoutes: []nic.Route{with}})
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, DelRoutes: []nic.Route{{To: to}}})
	if diff := cmp.Diff([]string{"198.51.100.0/24 src 192.0.2.10 proto 109"}, routes(n.link("multinic1"))); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

// IPv6 has one route per destination, metric and table, and would make one of two routers.
func TestAnIPv6RouteGetsAnotherRouter(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("multinic1", testMAC)
	n.quick("multinic1")
	by := func(via string) []nic.Route {
		return []nic.Route{{To: prefixes("2001:db8:9::/48")[0], Via: netip.MustParseAddr(via)}}
	}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes("2001:db8::10/64"), AddRoutes: by("2001:db8::1")})
	c := nic.Change{Index: l.Index, MAC: l.MAC, AddRoutes: by("2001:db8::2"), DelRoutes: by("2001:db8::1")}
	n.change(c)
	if diff := cmp.Diff([]string{"2001:db8:9::/48 via 2001:db8::2 metric 1024 proto 109"}, routes(n.link("multinic1"))); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	n.change(c.Inverse())
	if diff := cmp.Diff([]string{"2001:db8:9::/48 via 2001:db8::1 metric 1024 proto 109"}, routes(n.link("multinic1"))); diff != "" {
		t.Errorf("undone, routes (-want +got):\n%s", diff)
	}
}
