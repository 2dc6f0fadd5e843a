package plan_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"multinicd/nic"
	"multinicd/plan"
)

// laid gives what a NIC is laid out as, in one line: addresses, routes, rules by where they come
// from, and "apart". "first" is a rule that comes before main, and "main" one that leads there.
func laid(c nic.Config) string {
	var out []string
	for _, a := range c.Addresses {
		out = append(out, a.String())
	}
	for _, r := range c.Routes {
		s := r.String()
		if r.OnLink {
			s += " onlink"
		}
		out = append(out, s)
	}
	for _, r := range c.Rules {
		s := strings.Replace(r.String(), fmt.Sprintf(" lookup %d priority %d", nic.Table(c.ID), nic.Priority(c.ID)), "", 1)
		s = strings.Replace(s, fmt.Sprintf(" lookup %d priority 9999", nic.Table(c.ID)), " first", 1)
		out = append(out, strings.Replace(s, fmt.Sprintf(" lookup main suppress_prefixlength 0 priority %d", 10000+c.ID), " main", 1))
	}
	if c.Apart {
		out = append(out, "apart")
	}
	return strings.Join(out, "; ")
}

// NICs 1, 2 and 3 are wanted with 10.1.0.5/24, 10.1.0.6/24 and 10.3.0.7/24; 3 is not plugged in.
func TestMakeLaysOut(t *testing.T) {
	const (
		first  = "10.1.0.5/32; 10.1.0.0/24 table 10001; 10.1.0.0/24 src 10.1.0.5 metric 20001; from 10.1.0.5/32; apart"
		second = "10.1.0.6/32; 10.1.0.0/24 table 10002; from 10.1.0.6/32; apart"
		third  = "10.3.0.7/24"
	)
	for name, test := range map[string]struct {
		change func(in *input)
		want   map[int]string
	}{
		"those that share a subnet, and not the one that is alone in its": {func(*input) {}, map[int]string{1: first, 2: second, 3: third}},
		"none where it is off":                 {func(in *input) { in.SubnetsOff = true }, map[int]string{1: "10.1.0.5/24", 2: "10.1.0.6/24"}},
		"none where prefixes differ in length": {func(in *input) { in.want[1].Addresses = prefixes("10.1.0.6/25") }, map[int]string{1: "10.1.0.5/24", 2: "10.1.0.6/25"}},
		"not host addresses": {func(in *input) {
			in.want[0].Addresses, in.want[1].Addresses = prefixes("10.1.0.5/32"), prefixes("10.1.0.5/32", "10.1.0.6/32")
		},
			map[int]string{1: "10.1.0.5/32"}},
		"not link-local addresses": {func(in *input) {
			in.Links[0].Routes = nil
			in.want[0].Addresses, in.want[1].Addresses = prefixes("fe80::5/64"), prefixes("fe80::6/64")
		},
			map[int]string{1: "fe80::5/64", 2: "fe80::6/64"}},
		"not two addresses of one NIC": {func(in *input) {
			in.want[0].Addresses, in.want[1].Addresses = prefixes("10.1.0.5/24", "10.1.0.6/24"), nil
		}, map[int]string{1: "10.1.0.5/24; 10.1.0.6/24"}},
		"beside one that is not plugged in yet": {func(in *input) { in.want[1].Addresses, in.want[2].Addresses = nil, prefixes("10.1.0.7/24") },
			map[int]string{1: first, 2: "", 3: "10.1.0.7/32; 10.1.0.0/24 table 10003; from 10.1.0.7/32; apart"}},
		"main's route is that of the lowest id that is plugged in": {func(in *input) {
			in.want[2].ID, in.want[2].Name = 0, "multinic0"
			in.want[2].Addresses = prefixes("10.1.0.7/24")
		}, map[int]string{0: "10.1.0.7/32; 10.1.0.0/24 table 10000; from 10.1.0.7/32; apart", 1: first, 2: second}},
		"nor of one that fails": {func(in *input) { in.Failed = []nic.MAC{mac(1)} }, map[int]string{
			1: "10.1.0.5/32; 10.1.0.0/24 table 10001; from 10.1.0.5/32; apart",
			2: "10.1.0.6/32; 10.1.0.0/24 table 10002; 10.1.0.0/24 src 10.1.0.6 metric 20002; from 10.1.0.6/32; apart"}},
		"not beside one that is refused": {func(in *input) { in.other().Master = 7 }, map[int]string{1: "10.1.0.5/24", 2: "10.1.0.6/24"}},
		"but beside its link, where that is in the subnet": {func(in *input) {
			in.other().Master = 7
			in.has(in.other(), "10.1.0.99/24")
		}, map[int]string{1: "10.1.0.5/32; 10.1.0.0/24 table 10001; 10.1.0.0/24 src 10.1.0.5 metric 20001; from 10.1.0.5/32; apart"}},
		"beside the primary: nothing in main": {func(in *input) { in.want = in.want[:1]; in.is("192.0.2.11/24", "2001:db8:2::11/64") },
			map[int]string{1: "192.0.2.11/32; 2001:db8:2::11/128; 192.0.2.0/24 table 10001; 2001:db8:2::/64 table 10001; from 192.0.2.11/32; from 2001:db8:2::11/128; apart"}},
		"beside the primary that has no address yet": {func(in *input) {
			in.want = in.want[:1]
			in.is("192.0.2.11/24")
			c := in.want[0]
			c.Addresses = prefixes("192.0.2.11/32")
			in.record = plan.Record{NICs: []plan.Owned{{MAC: c.MAC, Config: c, Applied: true, Beside: prefixes("192.0.2.0/24")}}}
			in.Links[0].Addresses, in.Links[0].Routes = nil, nil
		}, map[int]string{1: "192.0.2.11/32; 192.0.2.0/24 table 10001; from 192.0.2.11/32; apart"}},
		"not beside a primary that has got another": {func(in *input) {
			in.want = in.want[:1]
			in.is("192.0.2.11/24")
			c := in.want[0]
			c.Addresses = prefixes("192.0.2.11/32")
			in.record = plan.Record{NICs: []plan.Owned{{MAC: c.MAC, Config: c, Applied: true, Beside: prefixes("192.0.2.0/24")}}}
			in.Links[0].Addresses, in.Links[0].Routes = in.Links[0].Addresses[1:], []nic.Route{route("0.0.0.0/0 198.51.100.254")}
			in.Lifelines = nil
		}, map[int]string{1: "192.0.2.11/24"}},
		"IPv6 alone leaves ARP as it is": {func(in *input) {
			in.want[0].Addresses, in.want[1].Addresses = prefixes("2001:db8:7::5/64"), prefixes("2001:db8:7::6/64")
		},
			map[int]string{1: "2001:db8:7::5/128; 2001:db8:7::/64 table 10001; 2001:db8:7::/64 metric 20001; from 2001:db8:7::5/128",
				2: "2001:db8:7::6/128; 2001:db8:7::/64 table 10002; from 2001:db8:7::6/128"}},
		"the other addresses stay as they are": {func(in *input) { in.is("10.1.0.5/24", "10.9.0.5/24") }, map[int]string{
			1: "10.1.0.5/32; 10.9.0.5/24; 10.1.0.0/24 table 10001; 10.1.0.0/24 src 10.1.0.5 metric 20001; from 10.1.0.5/32; apart", 2: second}},
		"its own routes count for its own traffic too, and need no way in main": {func(in *input) {
			in.routes(route("10.0.0.0/8 10.1.0.1"), in2(100, "172.16.0.0/12 10.1.0.1"), route("172.20.0.0/16 10.7.0.1"))
		}, map[int]string{
			1: "10.1.0.5/32; 10.1.0.0/24 table 10001; 10.1.0.0/24 src 10.1.0.5 metric 20001; 10.0.0.0/8 via 10.1.0.1 onlink; 172.16.0.0/12 via 10.1.0.1 table 100 onlink; 172.20.0.0/16 via 10.7.0.1; " +
				"10.0.0.0/8 via 10.1.0.1 table 10001 onlink; 172.20.0.0/16 via 10.7.0.1 table 10001; from 10.1.0.5/32; apart", 2: second}},
		"a gateway, in a subnet of its own": {func(in *input) {
			in.want = in.want[:1]
			in.is("10.1.0.5/24", "10.9.0.5/16", "2001:db8:7::5/64")
			in.nic().Gateway = netip.MustParseAddr("10.9.0.1")
		}, map[int]string{1: "10.1.0.5/24; 10.9.0.5/16; 2001:db8:7::5/64; 10.1.0.0/24 table 10001; 10.9.0.0/16 table 10001; default via 10.9.0.1 table 10001; from 10.1.0.5/32; from 10.9.0.5/32; from 10.1.0.5/32 main; from 10.9.0.5/32 main"}},
		"a gateway, in a subnet that others share": {func(in *input) { in.nic().Gateway = netip.MustParseAddr("10.1.0.1") }, map[int]string{
			1: "10.1.0.5/32; 10.1.0.0/24 table 10001; 10.1.0.0/24 src 10.1.0.5 metric 20001; default via 10.1.0.1 table 10001; from 10.1.0.5/32 to 10.1.0.0/24 first; from 10.1.0.5/32; from 10.1.0.5/32 main; apart", 2: second}},
		"a gateway of IPv6": {func(in *input) {
			in.want = in.want[:1]
			in.Links[0].Routes = nil
			in.is("10.1.0.5/24", "2001:db8:7::5/64", "fe80::5/64")
			in.nic().Gateway = netip.MustParseAddr("fe80::1")
		}, map[int]string{1: "10.1.0.5/24; 2001:db8:7::5/64; fe80::5/64; 2001:db8:7::/64 table 10001; default via fe80::1 table 10001; from 2001:db8:7::5/128; from 2001:db8:7::5/128 main"}},
		"a gateway that is in none of the subnets": {func(in *input) {
			in.want = in.want[:1]
			in.is("10.1.0.5/32")
			in.nic().Gateway = netip.MustParseAddr("10.9.0.1")
		}, map[int]string{1: "10.1.0.5/32; default via 10.9.0.1 table 10001 onlink; from 10.1.0.5/32; from 10.1.0.5/32 main"}},
		"a gateway, also where sharing is off": {func(in *input) { in.SubnetsOff, in.nic().Gateway = true, netip.MustParseAddr("10.1.0.1") },
			map[int]string{1: "10.1.0.5/24; 10.1.0.0/24 table 10001; default via 10.1.0.1 table 10001; from 10.1.0.5/32 to 10.1.0.0/24 first; from 10.1.0.5/32; from 10.1.0.5/32 main", 2: "10.1.0.6/24"}},
		"a gateway, in the primary's subnet: main's route there does not come first": {func(in *input) {
			in.want = in.want[:1]
			in.is("192.0.2.201/24")
			in.nic().Gateway = netip.MustParseAddr("192.0.2.1")
		}, map[int]string{1: "192.0.2.201/32; 192.0.2.0/24 table 10001; default via 192.0.2.1 table 10001; from 192.0.2.201/32 to 192.0.2.0/24 first; from 192.0.2.201/32; from 192.0.2.201/32 main; apart"}},
		"a gateway, and routes of which main does not have all, nor all by this NIC": {func(in *input) {
			in.want[1].Addresses = prefixes("10.2.0.6/24")
			in.routes(route("172.16.0.0/12 10.1.0.1"), in2(10001, "172.17.0.0/16 10.1.0.2"), route("10.7.0.0/16 10.1.0.1"))
			in.want[1].Routes = []nic.Route{{To: prefixes("10.7.0.0/16")[0], Via: netip.MustParseAddr("10.2.0.1"), Metric: 7}}
			in.nic().Gateway = netip.MustParseAddr("10.1.0.1")
		}, map[int]string{1: "10.1.0.5/24; 10.1.0.0/24 table 10001; 172.16.0.0/12 via 10.1.0.1; 172.17.0.0/16 via 10.1.0.2 table 10001; 10.7.0.0/16 via 10.1.0.1; 172.16.0.0/12 via 10.1.0.1 table 10001; " +
			"10.7.0.0/16 via 10.1.0.1 table 10001; default via 10.1.0.1 table 10001; from 10.1.0.5/32 to 172.17.0.0/16 first; from 10.1.0.5/32 to 10.7.0.0/16 first; from 10.1.0.5/32; from 10.1.0.5/32 main",
			2: "10.2.0.6/24; 10.7.0.0/16 via 10.2.0.1 metric 7"}},
		"a default route that the object puts into the NIC's own table itself": {func(in *input) { in.routes(in2(10001, "0.0.0.0/0 10.1.0.1")) }, map[int]string{
			1: "10.1.0.5/32; 10.1.0.0/24 table 10001; 10.1.0.0/24 src 10.1.0.5 metric 20001; default via 10.1.0.1 table 10001 onlink; from 10.1.0.5/32 to 10.1.0.0/24 first; from 10.1.0.5/32; from 10.1.0.5/32 main; apart",
			2: second}},
	} {
		t.Run(name, func(t *testing.T) {
			x := &input{View: host(), want: []nic.Config{config(1, "10.1.0.5/24"), config(2, "10.1.0.6/24"), config(3, "10.3.0.7/24")}}
			test.change(x)
			got := map[int]string{}
			for _, a := range plan.Make(x.want, x.hold, x.View, x.record).Actions {
				got[a.NIC.ID] = laid(a.NIC)
				for i, asked := range a.Asked.Addresses {
					if has := a.NIC.Addresses[i]; a.AsAsked(has) != asked {
						t.Errorf("NIC %d: %s was asked, and %s is taken for %s", a.NIC.ID, asked, has, a.AsAsked(has))
					}
				}
				if !slices.ContainsFunc(x.want, a.Asked.Equal) {
					t.Errorf("NIC %d: nobody asked for %+v", a.NIC.ID, a.Asked)
				}
				if a.Kind == plan.Refuse && !strings.Contains(name, "refused") && !strings.Contains(name, "its link") {
					t.Errorf("NIC %d: %s: %s", a.NIC.ID, a.Reason, a.Message)
				}
			}
			for id, want := range test.want {
				if got[id] != want {
					t.Errorf("NIC %d: got  %s\nwant %s", id, got[id], want)
				}
			}
		})
	}
}

// The subnet is left: all that sharing has brought goes, and what the link had of its own comes
// back.
func TestMakeUndoesSharing(t *testing.T) {
	want := []nic.Config{config(1, "10.1.0.5/24"), config(2, "10.1.0.6/24")}
	m, rec := host(), plan.Record{}
	m.Links[1].Conf = nic.Conf{RPFilter: 1}
	do := func(want []nic.Config) (out []string) {
		for _, a := range plan.Make(want, nil, m, rec).Actions {
			if err := carryOut(a.Change, &m); err != nil {
				t.Fatal(err)
			}
			rec = rec.With(a.NIC.MAC, a.After)
			out = append(out, strings.Split(strings.TrimSpace(a.Change.String()), "\n")...)
		}
		return out
	}
	do(want)
	if m.Links[1].Conf != nic.Apart || len(m.Links[1].Rules) != 2 {
		t.Fatalf("it has %+v", m.Links[1])
	}
	const alone = "~ arp_ignore 1 arp_announce 2 rp_filter 2 -> arp_ignore 0 arp_announce 0 rp_filter 1; - address 10.1.0.5/32; + address 10.1.0.5/24; " +
		"- route 10.1.0.0/24 table 10001; - route 10.1.0.0/24 src 10.1.0.5 metric 20001; - rule from 10.1.0.5/32 lookup 10001 priority 20001"
	if got := strings.Join(do(want[:1]), "; "); !strings.HasSuffix(got, alone) {
		t.Errorf("got %s\nwant %s", got, alone)
	}
	if got := do(want[:1]); strings.Join(got, "") != "" {
		t.Errorf("the second time: %s", got)
	}
	m.Links[1].Conf = nic.Apart // by hand
	if got := do(want[:1]); strings.Join(got, "") != "" {
		t.Errorf("what somebody set is undone: %s", got)
	}
}

// A NIC that is given back and one that takes over its id and address have the same rule, also
// where that is shared only because a third is refused: what one gives, the other must not miss.
func TestMakeLeavesARuleToTheNICThatTakesItOver(t *testing.T) {
	id := func(id, n int, address string) nic.Config {
		c := config(n, address)
		c.ID, c.Name = id, nic.NameFor(id)
		return c
	}
	m, rec := host(), plan.Record{}
	m.Links = append(m.Links, link(3))
	for pass, want := range [][]nic.Config{
		{id(2, 1, "10.3.0.6/24"), id(3, 3, "10.3.0.5/24")},
		// The latter would take the traffic for the API server.
		{id(2, 2, "10.3.0.6/24"), id(1, 3, "192.0.2.201/25")},
		{id(2, 2, "10.3.0.6/24"), id(1, 3, "192.0.2.201/25")},
	} {
		for _, a := range plan.Make(want, nil, m, rec).Actions {
			if pass == 2 && !a.Change.Empty() {
				t.Errorf("the second time: %s %s: %s", a.Kind, a.NIC.MAC, a.Change)
			}
			if a.Kind == plan.Refuse {
				continue
			}
			if err := carryOut(a.Change, &m); err != nil {
				t.Fatal(err)
			}
			rec = rec.With(a.NIC.MAC, a.After)
		}
	}
	if got := fmt.Sprint(slices.SortedFunc(slices.Values(m.Links[0].Rules), func(a, b nic.Rule) int { return cmp.Compare(b.Priority, a.Priority) })); got != "[from 10.3.0.5/32 lookup 10003 priority 20003 from 10.3.0.6/32 lookup 10002 priority 20002]" {
		t.Errorf("the rules are %s", got)
	}
}

// What an object asks of its NIC's tables is answered alike on a host that is new to it and on one
// where the NIC has its table in force already.
func TestMakeAnswersAWishAlikeWhateverIsInForce(t *testing.T) {
	for name, test := range map[string]struct {
		change func(c *nic.Config)
		reason plan.Reason
		says   string
	}{
		"a default route beside gateway":    {func(c *nic.Config) { c.Routes = []nic.Route{in2(10001, "0.0.0.0/0 10.1.0.99")} }, plan.NotSupported, "take the route"},
		"the same default route as gateway": {func(c *nic.Config) { c.Routes = []nic.Route{in2(10001, "0.0.0.0/0 10.1.0.1")} }, "", ""},
		"a default route in another NIC's table": {func(c *nic.Config) { c.Routes = []nic.Route{in2(10002, "0.0.0.0/0 10.1.0.1")} },
			plan.NotSupported, "table 10002 is that of another NIC, multinic2; give the route table 10001"},
		"a route in another NIC's table":             {func(c *nic.Config) { c.Routes = []nic.Route{in2(10002, "172.16.0.0/12 10.1.0.1")} }, plan.NotSupported, "multinic2"},
		"a route in the table of a NIC nobody wants": {func(c *nic.Config) { c.Routes = []nic.Route{in2(19999, "172.16.0.0/12 10.1.0.1")} }, plan.NotSupported, "multinic9999"},
		"a route in a table beyond the NICs'":        {func(c *nic.Config) { c.Routes = []nic.Route{in2(20000, "172.16.0.0/12 10.1.0.1")} }, "", ""},
		"a route in its own table":                   {func(c *nic.Config) { c.Routes = []nic.Route{in2(10001, "172.16.0.0/12 10.1.0.1")} }, "", ""},
		"a router in an IPv6 subnet that links share": {func(c *nic.Config) {
			c.Addresses, c.Routes = prefixes("10.1.0.5/24", "2001:db8:2::11/64"), []nic.Route{route("2001:db8:9::/48 2001:db8:2::1")}
		}, plan.NotSupported, "table 10001"},
	} {
		t.Run(name, func(t *testing.T) {
			want := config(1, "10.1.0.5/24")
			want.Gateway = netip.MustParseAddr("10.1.0.1")
			m, rec := host(), plan.Record{}
			wish := want
			test.change(&wish)
			answer := func(when string) {
				a := plan.Make([]nic.Config{wish}, nil, m, rec).Actions[0]
				if a.Reason != test.reason || !strings.Contains(a.Message, test.says) {
					t.Errorf("%s: %s %q (%s), want %q with %q", when, a.Kind, a.Reason, a.Message, test.reason, test.says)
				}
			}
			answer("on a new host")
			a := plan.Make([]nic.Config{want}, nil, m, rec).Actions[0]
			if err := carryOut(a.Change, &m); err != nil || a.Kind != plan.Configure {
				t.Fatal(a.Kind, a.Message, err)
			}
			rec = rec.With(a.NIC.MAC, a.After)
			answer("where its table is in force")
		})
	}
}
