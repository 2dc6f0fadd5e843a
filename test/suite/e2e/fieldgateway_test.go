package e2e

import (
	"net/netip"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// onePod is a Pod of the node as Calico makes it, and the way to the Pods of another node.
const onePod = `ip link delete cali0 2>/dev/null || true
	ip netns delete pod1 2>/dev/null || true
	ip netns add pod1; ip link add cali0 type veth peer name eth0 netns pod1; ip link set cali0 up
	ip -n pod1 address add 203.0.113.5/32 dev eth0; ip -n pod1 link set eth0 up; ip -n pod1 route add default dev eth0
	ip route replace 203.0.113.5/32 dev cali0; sysctl -q -w net.ipv4.conf.cali0.proxy_arp=1
	ip route replace 203.0.113.64/26 via 192.0.2.12 dev eth0 proto bird`

// What a NIC with a gateway answers to Pods goes to the Pods, and not to the gateway. NICs that share a
// subnet answer by the NIC asked all the same.
func TestPodsReachANICWithAGateway(t *testing.T) {
	onKinds(t, brief(netplan12), podsReachANIC)
}

func podsReachANIC(t *testing.T, k kind) {
	b := bed.New(t)
	for segment, addresses := range map[string][]string{
		"data1": {"192.168.100.1/24", "198.51.100.9/32"}, // the router, and somebody behind it
		"data2": {"192.168.200.1/24"},                    // a neighbour, and a router too
		"mgmt":  {"192.0.2.12/32", "203.0.113.70/32"},    // another node, and a Pod of it
	} {
		for _, a := range addresses {
			if err := b.World.AddAddress(segment, netip.MustParsePrefix(a)); err != nil {
				t.Fatal(err)
			}
		}
	}
	const mac3 = "02:00:00:00:01:03"
	n := kindNode(t, b, k, []testhost.NIC{{MAC: mac1, Segment: "data1"}, {MAC: mac2, Segment: "data2"}, {MAC: mac3, Segment: "data2"}}...)
	if k.flavour != testhost.Networkd { // as Calico's own pages say
		n.file("/etc/NetworkManager/conf.d/calico.conf", "[keyfile]\nunmanaged-devices=interface-name:cali*\n")
		n.must("systemctl", "reload", "NetworkManager")
	}
	f := watch(t, b)
	n.start(nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "gateway: 192.168.100.1"), nicYAML(2, mac2, "192.168.200.10/24"),
		nicYAML(3, mac3, "192.168.200.11/24", "gateway: 192.168.200.1")))
	const configured = "multinic1 Configured Configured, multinic2 Configured Configured, multinic3 Configured Configured"
	const (
		toMain = "10001: from 192.168.100.10 lookup main suppress_prefixlength 0\n10003: from 192.168.200.11 lookup main suppress_prefixlength 0\n"
		others = "20001: from 192.168.100.10 lookup 10001\n20002: from 192.168.200.10 lookup 10002\n20003: from 192.168.200.11 lookup 10003\n" +
			"9999: from 192.168.200.11 to 192.168.200.0/24 lookup 10003\n"
	)
	right := func(when string) {
		t.Helper()
		n.wantNICs(configured)
		n.wantStays("rules "+when, toMain+others, n.rules)
		n.must("sh", "-ec", onePod)
		for _, a := range []string{"192.168.100.10", "192.168.200.10", "192.168.200.11"} {
			n.must("ip", "netns", "exec", "pod1", "ping", "-q", "-c", "3", "-i", "0.1", "-W", "5", a)
			if got := n.must("ip", "route", "get", "203.0.113.5", "from", a); !strings.Contains(got, "dev cali0") {
				t.Errorf("%s: the answer from %s to the node's own Pod: %s", when, a, got)
			}
		}
		f.take()
		for _, ping := range []string{"192.168.100.10 203.0.113.70", "192.168.100.10 198.51.100.9", "192.168.200.10 192.168.200.1", "192.168.200.11 192.168.200.1"} {
			n.must("sh", "-c", "ping -q -c 2 -i 0.1 -W 5 -I "+ping)
		}
		said := map[string]int{}
		for one := range f.take() {
			to := one.From.String() + " " + one.To.String()
			want, ok := map[string]string{"192.168.100.10 203.0.113.70": n.PrimaryMAC, "192.168.100.10 198.51.100.9": mac1,
				"192.168.200.10 192.168.200.1": mac2, "192.168.200.11 192.168.200.1": mac3}[to]
			if one.What != "request" || !ok {
				continue
			}
			said[to]++
			if one.FromMAC != want {
				t.Errorf("%s: by the wrong NIC: %s", when, one)
			}
		}
		if len(said) != 4 {
			t.Errorf("%s: of four pings the switch saw %v", when, said)
		}
	}
	right("at once")
	n.sameAgainDoesNothing("systemctl", "restart", "multinicd")
	n.must("sh", "-ec", k.restart())
	right("after a restart of who configures the links")
	n.must("sh", "-ec", "ip rule delete priority 10001; ip rule delete priority 9999")
	right("put back")
	n.reboot()
	// netplan has no word for the rule that leads to main: until the daemon starts the gateway has all but the subnets.
	atBoot := toMain + others
	if k.flavour == testhost.Networkd {
		atBoot = others
	}
	n.wantStays("rules at boot", atBoot, n.rules)
	if err := n.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	right("after a boot, once the daemon has started")
	n.sameAgainDoesNothing("systemctl", "restart", "multinicd")
	n.must("sh", "-ec", k.restart())
	right("after a boot and a restart of who configures the links")
	if log := n.Journal(t.Context()); strings.Contains(log, "standing back") {
		t.Errorf("it was taken for a fight:\n%s", log)
	}
	n.file(objectFile, nodeObject())
	n.must("systemctl", "restart", "multinicd")
	n.wantNICs("")
	n.eventually("rules that are left", "", n.rules)
}
