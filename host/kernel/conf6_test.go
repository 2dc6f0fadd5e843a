package kernel

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"multinicd/host"
	"multinicd/nic"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// conf6 lets the Kernel write what the namespace has under /proc/sys/net.
func (n *namespace) conf6() {
	n.t.Helper()
	n.ok(os.MkdirAll(filepath.Join(n.host.Root, "proc/sys"), 0o755))
	n.ok(os.Symlink("/proc/sys/net", filepath.Join(n.host.Root, "proc/sys/net")))
	n.inside = n.in
}

// linkLocal gives the IPv6 link-local addresses of a link.
func linkLocal(l nic.Link) (out []string) {
	for _, a := range l.Addresses {
		if a.Prefix.Addr().Is6() && a.Prefix.Addr().IsLinkLocalUnicast() {
			out = append(out, a.Prefix.String())
		}
	}
	return out
}

// advertise puts on a link what the kernel makes of a router advertisement: a default route, a prefix that is on the link, and an address in it.
func (n *namespace) advertise(l nic.Link) {
	n.t.Helper()
	n.sysctl("net/ipv6/conf/"+l.Name+"/accept_dad", "0")
	ip, subnet, err := net.ParseCIDR("2001:db8:a::1234/64")
	n.ok(err)
	n.ok(n.AddrAdd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.Index}}, &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: subnet.Mask},
		Flags: unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_NOPREFIXROUTE, ValidLft: 3600, PreferedLft: 1800}))
	n.ok(n.RouteAdd(&netlink.Route{LinkIndex: l.Index, Dst: subnet, Protocol: unix.RTPROT_KERNEL, Priority: 256 + l.Index}))
	n.ok(n.RouteAdd(&netlink.Route{LinkIndex: l.Index, Dst: &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}, Gw: net.ParseIP("fe80::bad"), Protocol: unix.RTPROT_RA, Priority: 1024 + l.Index}))
}

func TestALinkIsClosedToRouterAdvertisementsAndOpenedAgain(t *testing.T) {
	n := newNamespace(t)
	n.conf6()
	eui64 := []string{"fe80::ff:fe00:101/64"}
	for _, test := range []struct {
		name   string
		up     bool   // the link is up as it is found
		rename string // kernels before 6.2 rename no link that is up
		before []string
	}{
		{name: "a link that is down", rename: "multinic1"},
		{name: "a link that is up", up: true, rename: "eth1", before: eui64},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := n.veth("eth1", testMAC)
			defer func() { n.ok(n.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "eth1", Index: l.Index}})) }()
			if test.up {
				n.ok(n.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.Index}}))
				eventually(t, "the kernel's own address", func() bool { return len(linkLocal(n.link("eth1"))) > 0 })
			}
			found := n.link("eth1")
			if found.Conf6 == nil || *found.Conf6 != (nic.Conf6{AcceptRA: 1}) {
				t.Fatalf("found with %+v, want the kernel's defaults", found.Conf6)
			}
			c := nic.Change{Index: l.Index, MAC: l.MAC, Had: "eth1", Name: test.rename, Up: !test.up, Add: prefixes("192.0.2.10/24"),
				Conf6: &nic.Conf6{AddrGenMode: nic.AddrGenNone}, HadConf6: found.Conf6}
			n.change(c)
			got := n.link(test.rename)
			if *got.Conf6 != *c.Conf6 || !got.Up || len(linkLocal(got)) != 0 {
				t.Errorf("closed, but it has %s and %v", got.Conf6, linkLocal(got))
			}
			n.quiet()
			n.change(c)
			if got := n.events(); len(got) != 0 {
				t.Errorf("the second time there were events: %q", got)
			}
			n.undo(c)
			back := n.link("eth1")
			if *back.Conf6 != *found.Conf6 || back.Up != test.up {
				t.Errorf("opened again, but it has %s, up %v", back.Conf6, back.Up)
			}
			if diff := cmp.Diff(test.before, linkLocal(back)); diff != "" {
				t.Errorf("the kernel's own address (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatWasAdvertisedGoesAndNothingElse(t *testing.T) {
	n := newNamespace(t)
	n.conf6()
	l := n.veth("multinic1", testMAC)
	other := n.veth("eth2", "02:00:00:00:01:02")
	for _, x := range []nic.Link{l, other} {
		n.quick(x.Name)
		n.change(nic.Change{Index: x.Index, MAC: x.MAC, Up: true})
	}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Add: prefixes("192.0.2.10/24", "2001:db8:b::10/64", "fe80::7/64")})
	n.route(l.Index, "2001:db8:c::/64", "2001:db8:b::1", 254, 4)
	for _, x := range []nic.Link{l, other} {
		eventually(t, "the kernel's own address on "+x.Name, func() bool {
			return slices.ContainsFunc(linkLocal(n.link(x.Name)), func(a string) bool { return a != "fe80::7/64" })
		})
	}
	n.quiet()
	before := n.link("multinic1")
	n.advertise(l)
	n.advertise(other)
	n.quiet()
	others := n.link("eth2")
	l = n.link("multinic1")
	i := slices.IndexFunc(l.Addresses, func(a nic.Address) bool { return a.Advertised })
	if i < 0 || l.Addresses[i].Prefix != prefixes("2001:db8:a::1234/64")[0] {
		t.Fatalf("no address is said to be advertised: %+v", l.Addresses)
	}
	c := nic.Change{Index: l.Index, MAC: l.MAC, Advertised: prefixes("2001:db8:a::1234/64", "2001:db8:b::10/64")}
	for _, r := range l.Routes {
		if r.Protocol == unix.RTPROT_RA || r.To == netip.MustParsePrefix("2001:db8:a::/64") {
			c.AdvertisedRoutes = append(c.AdvertisedRoutes, r)
		}
	}
	n.change(c)
	got := n.link("multinic1")
	if diff := cmp.Diff(addresses(before), addresses(got)); diff != "" {
		t.Errorf("addresses (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(before.Routes, got.Routes, cmp.Comparer(func(a, b nic.Route) bool { return a == b })); diff != "" {
		t.Errorf("routes (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(linkLocal(before), linkLocal(got)); diff != "" {
		t.Errorf("link-local addresses (-before +after):\n%s", diff)
	}
	if now := n.link("eth2"); len(now.Routes) != len(others.Routes) || len(now.Addresses) != len(others.Addresses) {
		t.Errorf("the other link has lost something: %+v, had %+v", now, others)
	}
	if undo := c.Inverse(); !undo.Empty() {
		t.Errorf("what an advertisement brought would be put back: %s", undo)
	}
}

// The kernel deletes a route by a next-hop object, of whatever link, where it is asked for one of the same destination, metric and protocol.
func TestTheDefaultRouteOfAnotherLinkStays(t *testing.T) {
	const newNextHop, nhaID, nhaOIF, nhaGateway, nhID = 104, 1, 5, 6, 77 // linux/rtnetlink.h, linux/nexthop.h
	n := newNamespace(t)
	n.conf6()
	primary := n.veth("eth0", "02:00:00:00:00:01")
	l := n.veth("multinic1", testMAC)
	for _, x := range []nic.Link{primary, l} {
		n.change(nic.Change{Index: x.Index, MAC: x.MAC, Up: true})
	}
	n.quick("multinic1")
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Add: prefixes("192.0.2.10/24", "2001:db8:b::10/64"), AddRoutes: []nic.Route{
		{To: prefixes("2001:db8:c::/48")[0], Via: netip.MustParseAddr("2001:db8:b::1")}, {To: prefixes("198.51.100.0/24")[0], Via: netip.MustParseAddr("192.0.2.1")}}})
	eventually(t, "the kernel's own address", func() bool { return len(linkLocal(n.link("multinic1"))) > 0 })
	before := n.link("multinic1")

	gateway := netip.MustParseAddr("fe80::bad").AsSlice()
	n.ok(n.rtnl.do(t.Context(), newNextHop, unix.NLM_F_CREATE|unix.NLM_F_EXCL, []byte{unix.AF_INET6, 0, unix.RTPROT_RA, 0, 0, 0, 0, 0},
		attrUint32(nhaID, nhID), attrUint32(nhaOIF, uint32(primary.Index)), attr(nhaGateway, gateway)))
	body := []byte{unix.AF_INET6, 0, 0, 0, 254, unix.RTPROT_RA, 0, unix.RTN_UNICAST, 0, 0, 0, 0}
	n.ok(n.rtnl.do(t.Context(), unix.RTM_NEWROUTE, unix.NLM_F_CREATE, body, attrUint32(rtaNHID, nhID), attrUint32(unix.RTA_PRIORITY, 1024)))
	n.ok(n.rtnl.do(t.Context(), unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, body, attrUint32(unix.RTA_OIF, uint32(l.Index)), attr(unix.RTA_GATEWAY, gateway), attrUint32(unix.RTA_PRIORITY, 1024)))
	defaults := func(name string) (out []nic.Route) {
		for _, r := range n.link(name).Routes {
			if r.IsDefault() {
				out = append(out, r)
			}
		}
		return out
	}
	ours := defaults("multinic1")
	if len(defaults("eth0")) != 1 || len(ours) != 1 {
		t.Fatalf("the default routes are %v and %v", defaults("eth0"), ours)
	}

	err := n.Writer(func(nic.Link, []nic.Link) error { return nil }).Change(t.Context(), nic.Change{Index: l.Index, MAC: l.MAC, DelRoutes: []nic.Route{{To: ours[0].To, Via: ours[0].Via, Metric: 1024}}})
	if !errors.Is(err, ErrRouteMistaken) {
		t.Errorf("deleted as any route: %v", err)
	}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, AdvertisedRoutes: ours})
	if len(defaults("eth0")) != 1 || len(defaults("multinic1")) != 0 {
		t.Errorf("the default routes are %v and %v", defaults("eth0"), defaults("multinic1"))
	}
	eventually(t, "the kernel's own address", func() bool { return len(linkLocal(n.link("multinic1"))) > 0 })
	after := n.link("multinic1")
	if diff := cmp.Diff(addresses(before), addresses(after)); diff != "" {
		t.Errorf("addresses (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(routes(before), routes(after)); diff != "" {
		t.Errorf("routes (-before +after):\n%s", diff)
	}
	if !after.Up || *after.Conf6 != *before.Conf6 {
		t.Errorf("it is up: %v, with %s", after.Up, after.Conf6)
	}
}

func TestNobodySetsWhatIsReadOnly(t *testing.T) {
	n := newNamespace(t)
	n.veth("eth1", testMAC)
	if l := n.link("eth1"); l.Conf6 != nil || l.NoIPv6 {
		t.Errorf("without /proc/sys it shows %s, IPv6 off: %v", l.Conf6, l.NoIPv6)
	}
	n.sysctl("net/ipv6/conf/eth1/disable_ipv6", "1")
	if l := n.link("eth1"); l.Conf6 != nil || !l.NoIPv6 {
		t.Errorf("switched off by another it shows %s, IPv6 off: %v", l.Conf6, l.NoIPv6)
	}
	n.conf6()
	if l := n.link("eth1"); l.Conf6 == nil {
		t.Error("with /proc/sys it shows nothing")
	}
}

func TestALinkWithoutIPv6NeedsNoValues(t *testing.T) {
	n := newNamespace(t)
	n.conf6()
	l := n.veth("eth1", testMAC)
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, MTU: 576})
	if got := n.link("eth1"); got.Conf6 != nil {
		t.Errorf("below 1280 it shows %s", got.Conf6)
	}
	closed := &nic.Conf6{AddrGenMode: nic.AddrGenNone}
	open := &nic.Conf6{AcceptRA: 1}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Conf6: closed, HadConf6: open}) // nothing to set, and no error
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, MTU: 1500, Conf6: closed, HadConf6: open})
	if got := n.link("eth1"); got.Conf6 == nil || *got.Conf6 != *closed {
		t.Errorf("with its MTU it got %v", got.Conf6)
	}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Conf6: &nic.Conf6{Off: true, AddrGenMode: nic.AddrGenNone}, HadConf6: closed})
	if got := n.link("eth1"); got.Conf6 == nil || !got.Conf6.Off {
		t.Errorf("switched off, it shows %v", got.Conf6)
	}
}

func TestNoIPv6(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing is known":                      {nil, ""},
		"IPv6 is on":                            {map[string]string{"ipv4/conf/all/rp_filter": "0\n", "ipv6/conf/all/disable_ipv6": "0\n"}, ""},
		"it is off for all links":               {map[string]string{"ipv4/conf/all/rp_filter": "0\n", "ipv6/conf/all/disable_ipv6": "1\n"}, "net.ipv6.conf.all.disable_ipv6=1"},
		"the kernel was started without it":     {map[string]string{"ipv4/conf/all/rp_filter": "0\n"}, "ipv6.disable=1 on the kernel's command line"},
		"only what new links begin with is off": {map[string]string{"ipv4/conf/all/rp_filter": "0\n", "ipv6/conf/all/disable_ipv6": "0\n", "ipv6/conf/default/disable_ipv6": "1\n"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := &Kernel{host: &host.Host{Root: t.TempDir()}}
			for file, data := range test.files {
				p := filepath.Join(k.host.Root, "proc/sys/net", file)
				if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := k.NoIPv6(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
