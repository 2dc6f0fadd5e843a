package status

import (
	"net/netip"
	"testing"

	"multinicd/nic"
	"multinicd/plan"
)

func TestItIsSaidForWhichOfTheChangesAnAuthorStands(t *testing.T) {
	a, b := netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("198.51.100.1/24")
	route := nic.Route{To: netip.MustParsePrefix("203.0.113.0/24"), Via: netip.MustParseAddr("192.0.2.9")}
	bird := route
	bird.Protocol = 12
	rule := nic.Rule{Priority: 20001, From: netip.MustParsePrefix("192.0.2.1/32"), Table: 10001}
	const ip, networkd = "ip (process 264, user root)", "systemd-networkd"
	for name, tt := range map[string]struct {
		change nic.Change
		have   []nic.Route
		told   map[any]string
		want   string
	}{
		"an address, by a command":                        {change: nic.Change{Add: []netip.Prefix{a}}, told: map[any]string{a: ip}, want: ip},
		"two addresses, by the same":                      {change: nic.Change{Add: []netip.Prefix{a, b}}, told: map[any]string{a: ip, b: ip}, want: ip},
		"two addresses, by two":                           {change: nic.Change{Add: []netip.Prefix{a}, Del: []netip.Prefix{b}}, told: map[any]string{a: ip, b: networkd}, want: ip + " for address 192.0.2.1/24; systemd-networkd for address 198.51.100.1/24"},
		"one address of two":                              {change: nic.Change{Add: []netip.Prefix{a, b}}, told: map[any]string{b: ip}, want: ip + " for address 198.51.100.1/24; unknown for address 192.0.2.1/24"},
		"a link that was set down":                        {change: nic.Change{Up: true}, want: "unknown"},
		"set down and renamed, and networkd had its say":  {change: nic.Change{Name: "multinic1", Up: true, Add: []netip.Prefix{a}}, told: map[any]string{a: networkd}, want: "systemd-networkd for address; unknown for name, up"},
		"renamed, and networkd changed what is as wanted": {change: nic.Change{Name: "multinic1"}, told: map[any]string{a: networkd}, want: "unknown"},
		"all of a link, and nobody told":                  {change: nic.Change{Name: "multinic1", MTU: 1400, Up: true, Conf: &nic.Conf{}, Add: []netip.Prefix{a}, AddRules: []nic.Rule{rule}}, want: "unknown"},
		"a rule and a route, by two":                      {change: nic.Change{AddRules: []nic.Rule{rule}, AddRoutes: []nic.Route{route}}, told: map[any]string{rule: networkd, route: ip}, want: ip + " for route; systemd-networkd for rule"},
		"a route, by the mark of what took its place":     {change: nic.Change{Add: []netip.Prefix{a}, AddRoutes: []nic.Route{route}}, have: []nic.Route{bird}, want: "bird for route; unknown for address"},
		"opened to routers, one of which has come":        {change: nic.Change{Conf6: &nic.Conf6{}, Advertised: []netip.Prefix{b}, AdvertisedRoutes: []nic.Route{route}}, want: "a router advertisement for address, route; unknown for conf"},
		"opened to routers, and a command's address":      {change: nic.Change{Conf6: &nic.Conf6{}, Add: []netip.Prefix{a}}, told: map[any]string{a: ip}, want: ip + " for address; unknown for conf"},
		"a route, by the kernel's word before any mark":   {change: nic.Change{AddRoutes: []nic.Route{route}}, have: []nic.Route{bird}, told: map[any]string{route: ip}, want: ip},
	} {
		t.Run(name, func(t *testing.T) {
			whose := func(index int, what any) string {
				if index != 3 {
					t.Errorf("asked for link %d", index)
				}
				return tt.told[what]
			}
			got := Author(plan.Action{Kind: plan.Configure, Link: &nic.Link{Index: 3, Routes: tt.have}, Change: tt.change}, whose)
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	if got := Author(plan.Action{Link: &nic.Link{}, Change: nic.Change{Add: []netip.Prefix{a}}}, nil); got != Unknown {
		t.Errorf("where nobody can be asked: %s", got)
	}
}
