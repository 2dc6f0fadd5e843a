package e2e

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// routed is a world with an IPv6 router on each segment, which advertises itself and a prefix ten times a second.
func routed(t *testing.T, segments ...string) *bed.Bed {
	t.Helper()
	b := bed.New(t)
	for i, segment := range segments {
		if err := b.World.Advertise(segment, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 0xa, byte(i)}), 64)); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// ipv6 is all that the kernel has of IPv6 on a link: addresses, and the routes of all tables but local. Who made a route differs between now
// and a boot, and so does its metric between network managers.
func (n *node) ipv6(link string) string {
	n.t.Helper()
	return n.must("sh", "-c", `ip -6 -oneline address show dev `+link+` | awk '{print $4}' | sort
		ip -6 route show table all dev `+link+` type unicast | sed 's/ proto [a-z0-9]*//; s/ metric [0-9]*//; s/ pref .*//; s/ expires.*//; s/ *$//' | sort`)
}

// conf6 is what decides on a link whether routers are listened to.
func (n *node) conf6(link string) string {
	n.t.Helper()
	return strings.TrimSpace(n.must("sh", "-c", "cd /proc/sys/net/ipv6/conf/"+link+" && grep -H . accept_ra addr_gen_mode disable_ipv6 | tr '\n' ' '"))
}

// restartTouchesNoNIC is sameAgainDoesNothing where the primary NIC's own router is heard all the time.
func (n *node) restartTouchesNoNIC() {
	n.t.Helper()
	kernel, err := n.MonitorKernel()
	if err != nil {
		n.t.Fatal(err)
	}
	defer kernel.Stop()
	n.must("systemctl", "restart", "multinicd")
	events, err := kernel.Events()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, e := range events {
		if strings.HasPrefix(e.Link, "multinic") {
			n.t.Errorf("with nothing to do: %s", e)
		}
	}
}

// What is live is what boots: a router that advertises itself on the segments of our NICs brings them neither a route nor an address.
func TestARouterAdvertisesItselfToOurNICs(t *testing.T) {
	onKinds(t, brief(netplan12), aRouterAdvertisesItself)
}

func aRouterAdvertisesItself(t *testing.T, k kind) {
	b := routed(t, "data1", "data2", "mgmt")
	n := kindNode(t, b, k, bed.NICs(mac1, mac2)...)
	n.file("/etc/multinicd/multinicd.toml", strings.ReplaceAll(settings("worker-node-01", fromFile)+k.toml, `"off"`, `"rfc5227"`)) // which leaves a router time
	primary := func() string { return n.ipv6("eth0") }
	before := n.settles("what the primary NIC makes of its own router", primary)
	found := map[string]string{"eth1": n.conf6("eth1"), "eth2": n.conf6("eth2")}
	const (
		link1, link2 = "multinic1 up mtu 1500 192.168.100.10/24", "multinic2 up mtu 1500 192.168.200.10/24 2001:db8:200::10/64"
		none         = ""
		own          = "2001:db8:200::10/64\nfe80::ff:fe00:102/64\n2001:db8:200::/64\nfe80::/64\n"
	)
	wish := nodeObject(nicYAML(1, mac1, "192.168.100.10/24"), nicYAML(2, mac2, "192.168.200.10/24", "addresses: [\"2001:db8:200::10/64\"]"))
	right := func(when string) {
		t.Helper()
		n.wantLinksStay(map[string]string{mac1: link1, mac2: link2})
		n.wantStays("IPv6 of the NIC without it "+when, none, func() string { return n.ipv6("multinic1") })
		n.wantStays("IPv6 of the NIC with an address of its own "+when, own, func() string { return n.ipv6("multinic2") })
		n.eventually("IPv6 of the primary NIC "+when, before, primary)
	}
	n.start(wish)
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	right("at first")
	live := n.conf6("multinic1") + n.conf6("multinic2")
	n.restartTouchesNoNIC()

	n.reboot()
	right("after a boot")
	if k.flavour == testhost.Networkd {
		n.eventually("what the boot makes of what was live", live, func() string { return n.conf6("multinic1") + n.conf6("multinic2") })
	}
	if err := n.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	n.restartTouchesNoNIC()

	// Opened by hand, the NIC listens to the router: what comes of that is drift.
	n.must("sh", "-c", "echo 2 >/proc/sys/net/ipv6/conf/multinic2/accept_ra")
	n.eventually("the log", "true", func() string {
		return strconv.FormatBool(regexp.MustCompile("put back what somebody changed.*nic=multinic2.*conf: want accept_ra 0").MatchString(n.Journal(t.Context())))
	})
	right("after it was opened by hand")
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")

	// And so it is where nobody looked: by a whole change, and when the NIC is given back.
	open := func(link string) {
		t.Helper()
		n.must("systemctl", "stop", "multinicd")
		n.must("sh", "-ec", "echo 2 >/proc/sys/net/ipv6/conf/"+link+"/accept_ra")
		n.eventually("a default route by the router", "default via fe80::bad", func() string {
			return strings.Join(strings.Fields(n.must("sh", "-c", "ip -6 route show default dev "+link+" | cut -d ' ' -f 1-3")), " ")
		})
	}
	open("multinic2")
	n.apply(exitDone, strings.ReplaceAll(wish, "192.168.200.10", "192.168.200.11"))
	n.wantLink(mac2, strings.Replace(link2, "200.10/24", "200.11/24", 1))
	n.wantStays("IPv6 of the NIC after a change", own, func() string { return n.ipv6("multinic2") })
	open("multinic2")
	out := n.apply(exitDone, nodeObject())
	if strings.Contains(out, "ProtectedLink") {
		t.Errorf("given back:\n%s", out)
	}
	n.wantLink(mac1, "eth1 "+k.free()+" mtu 1500")
	n.eventually("the second NIC's name", "eth2", func() string { name, _, _ := strings.Cut(n.link(mac2), " "); return name })
	// NetworkManager goes on to manage both, and leaves IPv6 off on one that had a profile without.
	opened := func(conf string) string { conf, _, _ = strings.Cut(conf, " disable_ipv6"); return conf }
	if k.flavour == testhost.Networkd {
		n.eventually("the first NIC in all", found["eth1"], func() string { return n.conf6("eth1") })
		// networkd had it from the boot on, and may close it once more before it lets go.
		_, rest, _ := strings.Cut(found["eth2"], " ")
		n.wantStays("the second NIC in all, as somebody opened it", "accept_ra:2 "+rest, func() string { return n.conf6("eth2") })
	} else {
		n.eventually("the first NIC as it was found", opened(found["eth1"]), func() string { return opened(n.conf6("eth1")) })
	}
	n.eventually("IPv6 of the primary NIC in the end", before, primary)
}

// A NIC that an older version has configured is closed without being touched otherwise: no address of its own goes, the link stays up, no file is written.
func TestANICIsClosedWithoutAFlap(t *testing.T) {
	t.Parallel()
	n := fileNode(t, routed(t, "data1", "data2"), testhost.Options{}, nil)
	n.start(nodeObject(nicYAML(1, mac1, "192.168.100.10/24"), nicYAML(2, mac2, "192.168.200.10/24", "addresses: [\"2001:db8:200::10/64\"]")))
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	n.must("sh", "-ec", `systemctl stop multinicd
		cd /proc/sys/net/ipv6/conf; echo 0 >multinic1/addr_gen_mode; echo 1 >multinic1/accept_ra; echo 1 >multinic2/accept_ra`)
	for _, link := range []string{"multinic1", "multinic2"} {
		n.eventually("a default route by the router", "default via fe80::bad", func() string {
			return strings.TrimSpace(n.must("sh", "-c", "ip -6 route show default dev "+link+" | cut -d ' ' -f 1-3"))
		})
	}
	n.quiet()
	const list = "find " + folders + " -type f -exec stat -c '%n %i %Y %Z %s' {} + 2>/dev/null | sort"
	files := n.must("sh", "-c", list)
	kernel, err := n.MonitorKernel()
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Stop()
	n.must("systemctl", "start", "multinicd")
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	// A link-local address alone is no reason to touch a link that is up: it stays until the next change, or the next boot.
	n.eventually("IPv6 of the NIC without", "fe80::ff:fe00:101/64\nfe80::/64\n", func() string { return n.ipv6("multinic1") })
	n.wantStays("IPv6 of the NIC with an address of its own", "2001:db8:200::10/64\nfe80::ff:fe00:102/64\n2001:db8:200::/64\nfe80::/64\n", func() string { return n.ipv6("multinic2") })
	if after := n.must("sh", "-c", list); after != files {
		t.Errorf("files were written:\n%s\nwere\n%s", after, files)
	}
	events, err := kernel.Events()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.What == "link" && strings.Contains(e.Text, "down") || e.Gone && (strings.Contains(e.Text, "192.168.") || strings.Contains(e.Text, "2001:db8:200:")) {
			t.Errorf("it was more than closed: %s", e)
		}
	}
}

// Where IPv6 is off, IPv4 works, and an IPv6 address is refused with the reason. Where only new links begin without it, an address switches it on, now as at
// the next boot.
func TestWhereIPv6IsOff(t *testing.T) {
	t.Parallel()
	n := fileNode(t, bed.New(t), testhost.Options{}, map[string]string{"/etc/sysctl.d/10-off.conf": "net.ipv6.conf.default.disable_ipv6=1\n"})
	four, six := nicYAML(1, mac1, "192.168.100.10/24"), nicYAML(2, mac2, "2001:db8:200::10/64")
	const link1, link2 = "multinic1 up mtu 1500 192.168.100.10/24", "multinic2 up mtu 1500 2001:db8:200::10/64"
	n.must("sh", "-ec", "for i in eth1 eth2; do echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6; done")
	n.apply(exitDone, nodeObject(four, six))
	n.wantLink(mac1, link1)
	n.wantLink(mac2, link2)
	n.reboot()
	n.wantLinksStay(map[string]string{mac1: link1, mac2: link2})
	n.apply(exitDone, nodeObject())

	n.must("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6")
	out := n.apply(exitRefused, nodeObject(four, six))
	if !strings.Contains(out, "NotSupported") || !strings.Contains(out, "net.ipv6.conf.all.disable_ipv6=1") {
		t.Errorf("it does not say why:\n%s", out)
	}
	n.wantLink(mac1, link1)
	if got := n.link(mac2); !strings.HasPrefix(got, "eth2 down") {
		t.Errorf("the NIC that was refused is %s", got)
	}
}
