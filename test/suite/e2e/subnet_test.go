package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

// The everyday case in the field: five ports of one node in one subnet.
const ports = 5

// portMAC is the MAC of NIC id of host n; port4 and port6 are its addresses.
func portMAC(n, id int) string { return fmt.Sprintf("02:00:00:00:%02x:%02x", n, id) }
func port4(n, id int) string   { return fmt.Sprintf("192.168.192.%d", 10*n+id) }
func port6(n, id int) string   { return fmt.Sprintf("2001:db8:192::%d", 10*n+id) }

// portsObject wants these NICs of host n.
func portsObject(n int, ids ...int) string {
	var nics []string
	for _, id := range ids {
		nics = append(nics, nicYAML(id, portMAC(n, id), port4(n, id)+"/24", fmt.Sprintf("addresses: [%q]", port6(n, id)+"/64")))
	}
	return nodeObject(nics...)
}

// portNodes boots hosts with five NICs each, all on one segment.
func portNodes(t *testing.T, b *bed.Bed, k kind, hosts int) (out []*node) {
	t.Helper()
	for n := 1; n <= hosts; n++ {
		o := testhost.Options{Flavour: k.flavour, Suite: k.suite}
		for id := 1; id <= ports; id++ {
			o.NICs = append(o.NICs, testhost.NIC{MAC: portMAC(n, id), Segment: "data1"})
		}
		// As hosts of the RHEL family come: the strictest reverse path filter.
		one := fileNode(t, b, o, map[string]string{"/etc/sysctl.d/99-strict.conf": "net.ipv4.conf.all.rp_filter = 1\nnet.ipv4.conf.default.rp_filter = 1\n"})
		one.file("/etc/multinicd/multinicd.toml", settings("worker-node-01", fromFile)+k.toml)
		out = append(out, one)
	}
	return out
}

// inMain is main's routes that are not of the kernel's own making for IPv6.
func (n *node) inMain() string {
	n.t.Helper()
	return n.must("sh", "-c", "(ip -4 route show table main; ip -6 route show table main | grep -v -E '^fe80::/64|^multicast|proto kernel') | sed 's/ *$//' | sort")
}

// rules is all rules but the kernel's own.
func (n *node) rules() string {
	n.t.Helper()
	return n.must("sh", "-c", "(ip -4 rule; ip -6 rule) | grep -v -E '^(0|32766|32767):' | tr -s '\\t ' ' ' | sed 's/ proto [^ ]*//; s/ *$//' | sort")
}

// conf is what each data NIC has of net.ipv4.conf that matters here.
func (n *node) conf() string {
	n.t.Helper()
	return n.must("sh", "-c", "cd /proc/sys/net/ipv4/conf; for i in *; do case $i in multinic*|eth[1-9]) echo $i $(cat $i/arp_ignore $i/arp_announce $i/rp_filter);; esac; done")
}

// wantEveryPair pings from each NIC of one host to each of the other, and holds every frame to the NIC that has its address.
func wantEveryPair(t *testing.T, f *frames, a, b *node) {
	t.Helper()
	mac, script := map[netip.Addr]string{}, strings.Builder{}
	for id := 1; id <= ports; id++ {
		for n := 1; n <= 2; n++ {
			mac[netip.MustParseAddr(port4(n, id))], mac[netip.MustParseAddr(port6(n, id))] = portMAC(n, id), portMAC(n, id)
		}
		for other := 1; other <= ports; other++ {
			fmt.Fprintf(&script, "ping -q -c 2 -i 0.01 -W 5 -I %s %s >/dev/null || echo no answer: %[1]s %[2]s\n", port4(1, id), port4(2, other))
			fmt.Fprintf(&script, "ping -q -c 2 -i 0.01 -W 5 -I %s %s >/dev/null || echo no answer: %[1]s %[2]s\n", port6(1, id), port6(2, other))
		}
	}
	for n, one := range []*node{a, b} { // an address that the kernel still checks answers nobody
		one.eventually("addresses that answer", "", func() string {
			var missing []string
			out := one.must("ip", "-oneline", "address", "show", "scope", "global", "-tentative")
			for id := 1; id <= ports; id++ {
				for _, address := range []string{port4(n+1, id), port6(n+1, id)} {
					if !strings.Contains(out, " "+address+"/") {
						missing = append(missing, address)
					}
				}
			}
			return strings.Join(missing, " ")
		})
	}
	a.must("ip", "neigh", "flush", "all")
	b.must("ip", "neigh", "flush", "all")
	f.take()
	if out := a.must("sh", "-c", script.String()); out != "" {
		t.Errorf("%s", out)
	}
	replies := 0
	bed.Eventually(t, "replies", fmt.Sprint(2*2*ports*ports), func() string { // the last ones may not have been read yet
		for one, n := range f.take() {
			from, to := mac[one.From], mac[one.To]
			if from == "" {
				continue
			}
			if one.FromMAC != from || one.What != "arp" && one.ToMAC != to {
				t.Errorf("%d frames: %s, but %s is on %s, %s on %s", n, one, one.From, from, one.To, to)
			}
			if one.What == "reply" {
				replies += n
			}
		}
		return fmt.Sprint(replies)
	})
}

// The same on hosts of NetworkManager: what is laid out is so at once, after a boot without us, and when NetworkManager is started anew.
func TestFiveNICsInOneSubnetOnEveryKindOfHost(t *testing.T) {
	kinds := slices.DeleteFunc(prerequisite.Long(all()...), func(k kind) bool { return k.cloud || k.flavour == testhost.Networkd }) // TestFiveNICsInOneSubnetOnTwoHosts shows more of it
	onKinds(t, kinds, func(t *testing.T, k kind) {
		b := bed.New(t)
		nodes := portNodes(t, b, k, 2)
		f := watch(t, b)
		one := nodes[0]
		inMain := one.inMain()
		for i, n := range nodes {
			n.start(portsObject(i+1, 1, 2, 3, 4, 5))
		}
		const all = "multinic1 Configured Configured, multinic2 Configured Configured, multinic3 Configured Configured, multinic4 Configured Configured, multinic5 Configured Configured"
		for _, n := range nodes {
			n.wantNICs(all)
		}
		laidOut := func(when string) {
			t.Helper()
			var rules []string
			for id := 1; id <= ports; id++ {
				one.wantLink(portMAC(1, id), fmt.Sprintf("multinic%d up mtu 1500 %s/32 %s/128", id, port4(1, id), port6(1, id)))
				rules = append(rules, fmt.Sprintf("%d: from %s lookup %d", 20000+id, port4(1, id), 10000+id), fmt.Sprintf("%d: from %s lookup %d", 20000+id, port6(1, id), 10000+id))
				one.eventually("the table "+when, fmt.Sprintf("192.168.192.0/24 dev multinic%d scope link\n2001:db8:192::/64 dev multinic%[1]d metric 1024 pref medium\n", id), func() string {
					return one.must("sh", "-c", fmt.Sprintf("(ip route show table %d; ip -6 route show table %[1]d) | sed 's/ proto [^ ]*//; s/ *$//'", 10000+id))
				})
			}
			slices.Sort(rules)
			one.eventually("rules "+when, strings.Join(rules, "\n")+"\n", one.rules)
			plain := func(text string) string {
				return sortLines(strings.NewReplacer("proto static", "proto 109", "proto kernel ", "").Replace(text))
			}
			want := plain(inMain + "192.168.192.0/24 dev multinic1 proto 109 scope link src 192.168.192.11 metric 20001\n2001:db8:192::/64 dev multinic1 proto 109 metric 20001 pref medium\n")
			one.eventually("main "+when, want, func() string { return plain(one.inMain()) })
			wantEveryPair(t, f, nodes[0], nodes[1])
		}
		laidOut("at first")
		one.sameAgainDoesNothing("systemctl", "restart", "multinicd")
		one.must("systemctl", "restart", "NetworkManager")
		one.must("nm-online", "-qs", "-t", "90")
		laidOut("after NetworkManager was started anew")
		for _, n := range nodes {
			n.reboot()
		}
		laidOut("after a boot")
		if err := one.StartDaemon(t.Context()); err != nil {
			t.Fatal(err)
		}
		one.wantNICs(all)
		one.sameAgainDoesNothing("systemctl", "restart", "multinicd")
		one.file(objectFile, nodeObject())
		one.must("systemctl", "restart", "multinicd")
		one.wantNICs("")
		one.eventually("what is ours", "", one.profiles)
		one.eventually("rules of ours", "", one.rules)
	})
}

func sortLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// sameButOurRules compares what is not of the data NICs.
func sameButOurRules(before, after string) bool {
	var kept []string
	for line := range strings.Lines(after) {
		if !strings.Contains(line, "lookup 1000") {
			kept = append(kept, line)
		}
	}
	return before == strings.Join(kept, "")
}
