package plan_test

import (
	"net/netip"
	"strings"
	"testing"

	"multinicd/nic"
	"multinicd/plan"
	"multinicd/plan/lifeline"
)

// pods is what a container network puts on a host: its own device, and the Pods of other nodes
// behind it.
func (in *input) pods(routes ...string) {
	l := nic.Link{Index: 40, Name: "flannel.1", Kind: "vxlan", Up: true, MTU: 1450}
	for _, r := range routes {
		l.Routes = append(l.Routes, route(r))
	}
	in.Links = append(in.Links, l)
}

func (in *input) nameServer(a string) {
	p := netip.MustParseAddr(a)
	in.Protect = append(in.Protect, lifeline.Protected{To: netip.PrefixFrom(p, p.BitLen()), What: "a name server of this host (/etc/resolv.conf)", Here: true})
}

func (in *input) protect(p string) {
	in.Protect = append(in.Protect, lifeline.Protected{To: netip.MustParsePrefix(p), What: "[routing] protect of multinicd.toml"})
}

func TestMakeDrawsWhatIsMeantOnly(t *testing.T) {
	for name, test := range map[string]struct {
		change func(in *input)
		reason plan.Reason
		says   string
	}{
		"the very subnet of another node's Pods": {func(in *input) { in.pods("203.0.113.64/26 203.0.113.64"); in.is("203.0.113.70/26") }, plan.SubnetConflict, "flannel.1"},
		"a part of another node's Pods":          {func(in *input) { in.pods("203.0.113.64/26 203.0.113.64"); in.is("203.0.113.70/28") }, plan.SubnetConflict, "203.0.113.64/26"},
		"a subnet that holds that of Pods":       {func(in *input) { in.pods("203.0.113.64/26 203.0.113.64"); in.is("203.0.113.70/24") }, "", ""},
		"half of the primary's subnet":           {func(in *input) { in.is("192.0.2.70/26") }, plan.SubnetConflict, "eth0"},
		"a host address within another subnet":   {func(in *input) { in.is("192.0.2.70/32") }, "", ""},
		"a route to a part of the Pods' network": {func(in *input) { in.pods("10.244.0.0/16"); in.routes(route("10.244.3.0/24 10.1.0.1")) }, plan.SubnetConflict, "10.244.0.0/16"},
		"a route to the primary's own subnet, by a better metric": {func(in *input) {
			in.Links[0].Routes[2].Metric = 100
			in.routes(route("192.0.2.0/24 10.1.0.1"))
		}, plan.SubnetConflict, "eth0"},
		"a route to the primary's own subnet, by an equal metric": {func(in *input) { in.routes(route("192.0.2.0/24 10.1.0.1")) }, plan.SubnetConflict, "eth0"},
		"a route to the primary's own subnet, by a worse metric": {func(in *input) {
			in.routes(nic.Route{To: netip.MustParsePrefix("192.0.2.0/24"), Via: netip.MustParseAddr("10.1.0.1"), Metric: 5000})
		}, "", ""},
		"an IPv6 subnet that a router behind the primary has": {func(in *input) {
			in.Links[0].Routes = append(in.Links[0].Routes, route("2001:db8:5::/48 fe80::1"))
			in.is("2001:db8:5:1::5/64")
		}, plan.SubnetConflict, "2001:db8:5::/48"},
		"two NICs of the object, one within the other's route": {func(in *input) {
			in.Links[2] = up(link(2), config(2, "10.2.0.5/16"))
			in.want = append(in.want, config(2, "10.2.0.5/16"))
			in.is("10.2.3.5/24")
		}, "", ""},
		"what is in force already stays": {func(in *input) {
			in.pods("203.0.113.64/26 203.0.113.64")
			in.is("203.0.113.70/28")
			in.Links[1] = up(link(1), in.want[0])
			in.record.NICs = []plan.Owned{owned(in.want[0])}
		}, "", ""},

		"the cloud's metadata":                          {func(in *input) { in.routes(route("169.254.169.254/32 10.1.0.1")) }, plan.SubnetConflict, "metadata"},
		"the cloud's metadata, by a wider route":        {func(in *input) { in.routes(route("169.0.0.0/8 10.1.0.1")) }, plan.SubnetConflict, "metadata"},
		"the address of the cloud's metadata":           {func(in *input) { in.is("169.254.169.254/32") }, plan.SubnetConflict, "metadata"},
		"the cloud's metadata of IPv6":                  {func(in *input) { in.routes(route("fd00:ec2::/32 fe80::1")) }, plan.SubnetConflict, "fd00:ec2::254"},
		"a name server that the default route leads to": {func(in *input) { in.nameServer("10.8.0.53"); in.routes(route("10.8.0.0/16 10.1.0.1")) }, plan.SubnetConflict, "resolv.conf"},
		"a name server by a longer route of the primary": {func(in *input) {
			in.nameServer("192.0.2.53")
			in.routes(route("192.0.0.0/16 10.1.0.1"))
		}, "", ""},
		"a name server in the NIC's own subnet, which a lease has brought": {func(in *input) {
			in.nameServer("10.1.0.53")
			in.link().Routes = []nic.Route{route("10.1.0.0/24")}
		}, "", ""},
		"what the host protects":                        {func(in *input) { in.protect("10.96.0.0/12"); in.routes(route("10.100.0.0/16 10.1.0.1")) }, plan.SubnetConflict, "[routing] protect"},
		"what the host protects, by a subnet around it": {func(in *input) { in.protect("10.1.0.128/25") }, plan.SubnetConflict, "10.1.0.128/25"},

		"an address whose subnet is half of the world":      {func(in *input) { in.is("10.0.0.7/1") }, plan.NotSupported, "shorter than /8"},
		"a route shorter than /8":                           {func(in *input) { in.routes(route("64.0.0.0/7 10.1.0.1")) }, plan.NotSupported, "gateway"},
		"an IPv6 route shorter than /16":                    {func(in *input) { in.routes(route("2000::/15 fe80::1")) }, plan.NotSupported, "shorter than /16"},
		"a table that others look up first":                 {func(in *input) { in.routes(in2(52, "172.20.0.0/16 10.1.0.1")) }, plan.NotSupported, "allow_tables"},
		"a table that the host allows":                      {func(in *input) { in.routes(in2(100, "172.20.0.0/16 10.1.0.1")) }, "", ""},
		"half of the world in a table that the host allows": {func(in *input) { in.routes(in2(100, "128.0.0.0/1 10.1.0.1")) }, plan.NotSupported, "shorter than /8"},
		"metadata in a table that the host allows":          {func(in *input) { in.routes(in2(100, "169.254.169.254/32 10.1.0.1")) }, plan.SubnetConflict, "metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			x := &input{View: host(), want: []nic.Config{config(1, "10.1.0.5/24")}}
			test.change(x)
			for _, a := range plan.Make(x.want, x.hold, x.View, x.record).Actions {
				if a.NIC.MAC != mac(1) {
					continue
				}
				if a.Reason != test.reason || !strings.Contains(a.Message, test.says) {
					t.Errorf("got %s %q (%s), want %q with %q", a.Kind, a.Reason, a.Message, test.reason, test.says)
				}
				checkAction(t, a)
			}
		})
	}
}
