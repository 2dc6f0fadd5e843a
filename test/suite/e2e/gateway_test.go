package e2e

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// A NIC's traffic leaves by its own gateway, and nobody else's does.
func TestAGatewayIsForTheNICsOwnTraffic(t *testing.T) {
	t.Parallel()
	for _, suite := range onDebian("bookworm") {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			gateway(t, suite)
		})
	}
}

func gateway(t *testing.T, suite string) {
	b := bed.New(t)
	for segment, address := range map[string][]string{"data1": {"192.168.100.1/24", "192.168.100.2/24", "2001:db8:100::1/64"}, "data9": {"203.0.113.1/32", "2001:db8:9::1/128"}} {
		for _, a := range address { // the routers, and somebody behind them
			if err := b.World.AddAddress(segment, netip.MustParsePrefix(a)); err != nil {
				t.Fatal(err)
			}
		}
	}
	n := fileNode(t, b, testhost.Options{Suite: suite}, nil)
	f := watch(t, b)
	before := n.inMain()
	const v6 = "addresses: [\"2001:db8:100::10/64\"]"
	wish := func(gateway string) string {
		return nodeObject(nicYAML(1, mac1, "192.168.100.10/24", v6, "gateway: "+gateway, "routes: [{to: 10.20.0.0/16, via: 192.168.100.2}]"), nicYAML(2, mac2, "192.168.200.10/24"))
	}
	n.start(wish("192.168.100.1"))
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	const toMain = "10001: from 192.168.100.10 lookup main suppress_prefixlength 0\n"
	right := func(toMain string) {
		t.Helper()
		n.eventually("table", "default via 192.168.100.1 dev multinic1\n10.20.0.0/16 via 192.168.100.2 dev multinic1\n192.168.100.0/24 dev multinic1 scope link\n", func() string {
			return n.must("sh", "-c", "ip route show table 10001 | sed 's/ proto [^ ]*//; s/ *$//'")
		})
		n.eventually("rules", toMain+"20001: from 192.168.100.10 lookup 10001\n", n.rules)
		n.eventually("main's default route", "one by eth0", func() string {
			if got := n.must("ip", "route", "show", "default"); strings.Count(got, "\n") != 1 || !strings.Contains(got, "dev eth0") {
				return got
			}
			return "one by eth0"
		})
		f.take()
		n.must("ping", "-q", "-c", "2", "-i", "0.1", "-W", "5", "-I", "192.168.100.10", "203.0.113.1")
		n.must("ping", "-q", "-c", "2", "-i", "0.1", "-W", "5", "192.0.2.1")
		for one := range f.take() {
			if want := map[string]string{"192.168.100.10": mac1, n.Address.Addr().String(): n.PrimaryMAC}[one.From.String()]; one.What == "request" && one.FromMAC != want {
				t.Errorf("by the wrong NIC: %s", one)
			}
		}
		if got := n.must("ip", "route", "get", "10.20.0.1", "from", "192.168.100.10"); !strings.Contains(got, "via 192.168.100.2 dev multinic1") {
			t.Errorf("the NIC's own route does not count for its own traffic: %s", got)
		}
	}
	right(toMain)
	n.sameAgainDoesNothing("systemctl", "restart", "multinicd")
	n.must("ip", "route", "del", "default", "table", "10001")
	right(toMain)
	n.reboot()
	right("") // netplan has no word for it
	if err := n.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	right(toMain)
	n.sameAgainDoesNothing("systemctl", "restart", "multinicd")

	// Another gateway, of the other family too, and none.
	for _, change := range []struct{ gateway, want string }{
		{"192.168.100.2", "default via 192.168.100.2 dev multinic1"},
		{"192.168.99.1", "default via 192.168.99.1 dev multinic1 onlink"}, // a router that is not in the subnet, as clouds have them
		{"'2001:db8:100::1'", "default via 2001:db8:100::1 dev multinic1 metric 1024 pref medium"},
		{"'2001:db8:100::2'", "default via 2001:db8:100::2 dev multinic1 metric 1024 pref medium"},
		{"'fe80::ff:fe00:9999'", "default via fe80::ff:fe00:9999 dev multinic1 metric 1024 pref medium"},
		{"'2001:db8:ffff::1'", "default via 2001:db8:ffff::1 dev multinic1 metric 1024 onlink pref medium"},
		{"192.168.100.1", "default via 192.168.100.1 dev multinic1"},
	} {
		n.file(objectFile, wish(change.gateway))
		n.must("systemctl", "restart", "multinicd")
		n.eventually("default route by "+change.gateway, change.want, func() string {
			return strings.TrimSpace(n.must("sh", "-c", "(ip route show default table 10001; ip -6 route show default table 10001 2>/dev/null) | sed 's/ proto [^ ]*//; s/ *$//'"))
		})
		n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	}
	n.file(objectFile, nodeObject())
	n.must("systemctl", "restart", "multinicd")
	n.wantNICs("")
	n.eventually("what is ours", "", n.ours)
	if got := n.inMain(); got != before {
		t.Errorf("main is\n%s\nwas\n%s", got, before)
	}
	if got := n.rules(); got != "" {
		t.Errorf("rules are left: %s", got)
	}
}

// A NIC in the primary's own subnet takes no traffic from it: main has the primary's route, and none of ours.
func TestANICInThePrimarysSubnet(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	o := testhost.Options{NICs: []testhost.NIC{{MAC: mac1, Segment: "mgmt"}, {MAC: mac2, Segment: "data2"}}}
	n := fileNode(t, b, o, nil)
	f := watch(t, b)
	before := n.inMain()
	const want = "multinic1 up mtu 1500 192.0.2.201/32"
	n.start(nodeObject(nicYAML(1, mac1, "192.0.2.201/24"), nicYAML(2, mac2, "192.168.200.10/24")))
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	right := func() {
		t.Helper()
		n.wantLinkStays(mac1, want)
		n.eventually("main", strings.TrimSpace(before), func() string {
			return strings.TrimSpace(n.must("sh", "-c", "(ip -4 route show table main; ip -6 route show table main | grep -v -E '^fe80::/64|^multicast|proto kernel') | grep -v multinic2 | sed 's/ *$//' | sort"))
		})
		n.eventually("rules", "20001: from 192.0.2.201 lookup 10001\n", n.rules)
		f.take()
		n.must("ping", "-q", "-c", "2", "-i", "0.1", "-W", "5", "-I", "192.0.2.201", "192.0.2.1")
		n.must("ping", "-q", "-c", "2", "-i", "0.1", "-W", "5", "192.0.2.1")
		for one := range f.take() {
			if want := map[string]string{"192.0.2.201": mac1, n.Address.Addr().String(): n.PrimaryMAC}[one.From.String()]; one.What == "request" && one.FromMAC != want {
				t.Errorf("by the wrong NIC: %s", one)
			}
		}
	}
	right()
	n.reboot()
	right()
	if err := n.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	n.sameAgainDoesNothing("systemctl", "restart", "multinicd")

	// While the primary has no address, as at a boot with a slow DHCP server, ours does not take its place.
	n.must("sh", "-ec", "systemctl stop multinicd; ip address flush dev eth0; systemctl start multinicd")
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	n.wantLinkStays(mac1, want)
	if got := n.must("sh", "-c", "ip route show 192.0.2.0/24"); got != "" {
		t.Errorf("without the primary's route main has %s", got)
	}
	n.must("sh", "-ec", fmt.Sprintf("ip address add %s dev eth0; ip route add default via 192.0.2.1 proto static; systemctl restart multinicd", n.Address))
	right()
}

// A NIC is laid out anew when others come into its subnet and leave it. None of its own packets is lost meanwhile.
func TestANICComesAndGoesWithoutLossOnAnother(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	n := portNodes(t, b, kind{}, 1)[0]
	for _, a := range []string{"192.168.192.1/24", "2001:db8:192::1/64"} {
		if err := b.World.AddAddress("data1", netip.MustParsePrefix(a)); err != nil {
			t.Fatal(err)
		}
	}
	n.start(portsObject(1, 3))
	n.wantNICs("multinic3 Configured Configured")
	n.must("sh", "-ec", "ping -c 1 -W 5 -I 192.168.192.13 192.168.192.1; ping -c 1 -W 5 -I 2001:db8:192::13 2001:db8:192::1")
	ping := n.Command(t.Context(), "ping", "-n", "-i", "0.002", "-W", "2", "-I", "192.168.192.13", "192.168.192.1")
	var out strings.Builder
	ping.Stdout, ping.Stderr = &out, &out
	if err := ping.Start(); err != nil {
		t.Fatal(err)
	}
	for _, ids := range [][]int{{1, 3}, {1, 2, 3, 4, 5}, {3, 4}, {3}, {2, 3}, {3}} {
		n.file(objectFile, portsObject(1, ids...))
		n.must("systemctl", "restart", "multinicd")
		var want []string
		for _, id := range ids {
			want = append(want, fmt.Sprintf("multinic%d Configured Configured", id))
		}
		n.wantNICs(strings.Join(want, ", "))
	}
	n.must("ping", "-c", "1", "-W", "5", "-I", "192.168.192.13", "192.168.192.1")
	n.must("pkill", "-INT", "-x", "ping")
	err := ping.Wait()
	said := out.String()
	// The last ones may be on their way when it is told to end. What was answered is to be all before.
	last, lost, answered := 0, 0, 0
	for _, m := range regexp.MustCompile(`icmp_seq=([0-9]+) ttl=`).FindAllStringSubmatch(said, -1) {
		seq, _ := strconv.Atoi(m[1]) // of digits
		lost += (seq - last - 1) & 0xffff
		last, answered = seq, answered+1
	}
	_, summary, _ := strings.Cut(said, " ping statistics ---\n")
	if err != nil || answered == 0 || lost != 0 {
		t.Errorf("%v, %d lost:\n%s", err, lost, summary)
	}
	t.Logf("%s", summary)
	n.wantLinkStays(portMAC(1, 3), "multinic3 up mtu 1500 192.168.192.13/24 2001:db8:192::13/64")
}

// Two NICs of one segment swap their addresses at once, although each is asked for among the neighbours first: the host itself is none.
func TestTwoNICsSwapTheirAddresses(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	n := portNodes(t, b, kind{}, 1)[0]
	n.file("/etc/multinicd/multinicd.toml", strings.ReplaceAll(settings("worker-node-01", fromFile), `"off"`, `"fast"`))
	wish := func(first, second int) string {
		return nodeObject(nicYAML(1, portMAC(1, 1), port4(1, first)+"/24", fmt.Sprintf("addresses: [%q]", port6(1, first)+"/64")),
			nicYAML(2, portMAC(1, 2), port4(1, second)+"/24", fmt.Sprintf("addresses: [%q]", port6(1, second)+"/64")))
	}
	n.apply(exitDone, wish(1, 2))
	n.apply(exitDone, wish(2, 1))
	n.wantLink(portMAC(1, 1), fmt.Sprintf("multinic1 up mtu 1500 %s/32 %s/128", port4(1, 2), port6(1, 2)))
	n.wantLink(portMAC(1, 2), fmt.Sprintf("multinic2 up mtu 1500 %s/32 %s/128", port4(1, 1), port6(1, 1)))
	want := fmt.Sprintf("20001: from %s lookup 10001\n20001: from %s lookup 10001\n20002: from %s lookup 10002\n20002: from %s lookup 10002\n", port4(1, 2), port6(1, 2), port4(1, 1), port6(1, 1))
	if got := n.rules(); got != want {
		t.Errorf("the rules are\n%s\nwant\n%s", got, want)
	}
	if got := n.inMain(); !strings.Contains(got, "192.168.192.0/24 dev multinic1 proto 109 scope link src 192.168.192.12 metric 20001") || strings.Count(got, "192.168.192.0/24") != 1 {
		t.Errorf("main is\n%s", got)
	}
	n.sameAgainDoesNothing("multinicd", "apply", "-f", objectFile)
}
