package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

func TestFiveNICsInOneSubnetOnTwoHosts(t *testing.T) {
	t.Parallel()
	for _, suite := range onDebian("trixie") { // systemd 252, and 257
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			fiveNICs(t, suite)
		})
	}
}

func fiveNICs(t *testing.T, suite string) {
	s := newSharedSubnet(t, suite)
	s.configures()
	s.isPutBack()
	s.outlivesABoot()
	s.nicsComeAndGo()
	s.isGivenBack()
}

// sharedSubnet is two hosts with all their NICs in one subnet. What is asked of it is asked of the first host.
type sharedSubnet struct {
	t        *testing.T
	one, two *node
	frames   *frames

	// What the first host was like before any NIC was configured: what is not ours, the table main, rules, and settings and text of the links.
	others, inMain, rules, conf, links string
	wantRules                          []string // with all NICs configured, sorted
}

const (
	// ofOthers makes rules and routes of others, some of which look like ours.
	ofOthers = "ip rule add fwmark 0x200/0xf00 lookup 2004 priority 9; ip rule add from 10.244.0.0/16 lookup 100 priority 100; ip rule add from 198.51.100.7 lookup 100 priority 20500;" +
		"ip route add 10.99.0.0/16 via 192.0.2.1 table 100; ip route add 10.98.0.0/16 via 192.0.2.1 table 2004 proto bird; ip route add 10.97.0.0/16 via 192.0.2.1 table 10077"
	fiveConfigured = "multinic1 Configured Configured, multinic2 Configured Configured, multinic3 Configured Configured, multinic4 Configured Configured, multinic5 Configured Configured"
)

func newSharedSubnet(t *testing.T, suite string) *sharedSubnet {
	t.Helper()
	b := bed.New(t)
	nodes := portNodes(t, b, kind{flavour: testhost.Networkd, suite: suite}, 2)
	s := &sharedSubnet{t: t, one: nodes[0], two: nodes[1], frames: watch(t, b)}
	s.one.must("sh", "-ec", ofOthers)
	s.one.eventually("addresses that the kernel still checks", "", func() string { return s.one.must("ip", "-o", "-6", "address", "show", "tentative") })
	s.others, s.inMain, s.rules, s.conf, s.links = s.one.others(), s.mainTable(), s.one.rules(), s.one.conf(), s.linkTexts()
	for id := 1; id <= ports; id++ {
		s.wantRules = append(s.wantRules, fmt.Sprintf("%d: from %s lookup %d", 20000+id, port4(1, id), 10000+id), fmt.Sprintf("%d: from %s lookup %d", 20000+id, port6(1, id), 10000+id))
	}
	s.wantRules = append(s.wantRules, strings.Split(strings.TrimSpace(s.rules), "\n")...)
	slices.Sort(s.wantRules)
	return s
}

func (s *sharedSubnet) linkTexts() string {
	var out []string
	for id := 1; id <= ports; id++ {
		out = append(out, s.one.link(portMAC(1, id)))
	}
	return strings.Join(out, "; ")
}

// mainTable is the table main, whoever made the routes.
func (s *sharedSubnet) mainTable() string {
	return strings.ReplaceAll(s.one.inMain(), "proto static", "proto 109")
}

// oursOf are those of some rules that lead to a table of ours.
func oursOf(rules []string) []string {
	return slices.DeleteFunc(slices.Clone(rules), func(r string) bool { return !strings.Contains(r, "lookup 1000") })
}

func (s *sharedSubnet) ourRules() []string { return oursOf(strings.Split(s.one.rules(), "\n")) }

// laidOut holds the first host to all that is to be so while its five NICs are configured, by whoever's doing; of the rules to ours alone where
// networkd was started meanwhile, which deletes what it does not know.
func (s *sharedSubnet) laidOut(rulesOfOthers bool) {
	s.t.Helper()
	one := s.one
	for id := 1; id <= ports; id++ {
		one.wantLinkStays(portMAC(1, id), fmt.Sprintf("multinic%d up mtu 1500 %s/32 %s/128", id, port4(1, id), port6(1, id)))
	}
	want, is := s.wantRules, one.rules
	if !rulesOfOthers {
		want, is = oursOf(want), func() string { return strings.Join(s.ourRules(), "\n") + "\n" }
	}
	one.eventually("rules", strings.Join(want, "\n")+"\n", is)
	one.eventually("main", sortLines(s.inMain+"192.168.192.0/24 dev multinic1 proto 109 scope link src 192.168.192.11 metric 20001\n2001:db8:192::/64 dev multinic1 proto 109 metric 20001 pref medium\n"),
		func() string { return sortLines(s.mainTable()) })
	var conf string
	for id := 1; id <= ports; id++ {
		conf += fmt.Sprintf("multinic%d 1 2 2\n", id)
		one.eventually("table", fmt.Sprintf("192.168.192.0/24 dev multinic%d scope link\n2001:db8:192::/64 dev multinic%[1]d metric 1024 pref medium\n", id), func() string {
			return one.must("sh", "-c", fmt.Sprintf("(ip route show table %d; ip -6 route show table %[1]d) | sed 's/ proto [^ ]*//; s/ *$//'", 10000+id))
		})
	}
	one.eventually("conf", conf, one.conf)
}

// configures: five NICs of each host are laid out, every pair of addresses talks by its own NICs, and what is not ours stays as it was.
func (s *sharedSubnet) configures() {
	s.t.Helper()
	s.one.start(portsObject(1, 1, 2, 3, 4, 5))
	s.two.start(portsObject(2, 1, 2, 3, 4, 5))
	s.one.wantNICs(fiveConfigured)
	s.two.wantNICs(fiveConfigured)
	s.laidOut(true)
	if got := s.one.others(); !sameButOurRules(s.others, got) {
		s.t.Errorf("what is not ours was\n%s\nis\n%s", s.others, got)
	}
	wantEveryPair(s.t, s.frames, s.one, s.two)
	s.one.must("ping", "-q", "-c", "1", "-W", "5", port4(2, 3)) // without a source: by main's route, not by the default route
	for frame := range s.frames.take() {
		if frame.What == "request" && frame.From != netip.MustParseAddr(port4(1, 1)) {
			s.t.Errorf("unsourced traffic leaves by %s", frame)
		}
	}
	s.one.sameAgainDoesNothing("systemctl", "restart", "multinicd")
}

// isPutBack: what others take away or set comes back.
func (s *sharedSubnet) isPutBack() {
	s.t.Helper()
	for _, by := range []struct{ name, script string }{
		{"a rule is deleted", "ip rule del priority 20003; ip -6 rule del priority 20004"},
		{"a table is flushed", "ip route flush table 10002; ip -6 route flush table 10005"},
		{"main's route is deleted", "ip route del 192.168.192.0/24; ip -6 route del 2001:db8:192::/64"},
		{"the kernel's filter is set", "echo 1 >/proc/sys/net/ipv4/conf/multinic4/rp_filter"},
		{"ARP answers for all, and a link goes down", "echo 0 >/proc/sys/net/ipv4/conf/multinic4/arp_ignore; ip link set multinic4 down"},
		{"networkd is restarted", "systemctl restart systemd-networkd"},
	} {
		s.t.Logf("%s", by.name)
		s.one.must("sh", "-ec", by.script)
		s.laidOut(by.name != "networkd is restarted")
	}
	wantEveryPair(s.t, s.frames, s.one, s.two)
}

// outlivesABoot: after a boot all is laid out without us, by networkd and udev; we have nothing to add.
func (s *sharedSubnet) outlivesABoot() {
	s.t.Helper()
	s.one.reboot()
	s.two.reboot()
	s.laidOut(false)
	wantEveryPair(s.t, s.frames, s.one, s.two)
	if err := s.one.StartDaemon(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.one.wantNICs(fiveConfigured)
	s.one.sameAgainDoesNothing("systemctl", "restart", "multinicd")
}

// nicsComeAndGo: other sets of NICs are wanted. From the boot on networkd has the NICs too, with what it read then: what networkd does by itself
// is put right.
func (s *sharedSubnet) nicsComeAndGo() {
	s.t.Helper()
	one := s.one
	for _, ids := range [][]int{{1, 2, 3, 4}, {2}, {1, 2}, {2}} {
		one.file(objectFile, portsObject(1, ids...))
		one.must("systemctl", "restart", "multinicd")
		var want []string
		for _, id := range ids {
			want = append(want, fmt.Sprintf("multinic%d Configured Configured", id))
		}
		one.wantNICs(strings.Join(want, ", "))
		s.provoke()
		lengths, rules := "24 64", 0
		if len(ids) > 1 {
			lengths, rules = "32 128", 2*len(ids)
		}
		four, six, _ := strings.Cut(lengths, " ")
		one.wantLinkStays(portMAC(1, 2), fmt.Sprintf("multinic2 up mtu 1500 %s/%s %s/%s", port4(1, 2), four, port6(1, 2), six))
		one.wantStays("how many rules are ours", fmt.Sprint(rules), func() string { return fmt.Sprint(len(s.ourRules())) })
		for id := 3; id <= ports; id++ {
			if !slices.Contains(ids, id) {
				one.wantLink(portMAC(1, id), fmt.Sprintf("eth%d down mtu 1500", id))
			}
		}
	}
}

// provoke has networkd set the second NIC up: its cable is pulled and plugged in, and networkd started anew.
func (s *sharedSubnet) provoke() {
	s.t.Helper()
	for _, up := range []bool{false, true} {
		if err := s.one.SetCarrier(portMAC(1, 2), up); err != nil {
			s.t.Fatal(err)
		}
		s.one.eventually("networkd's word on the link", map[bool]string{false: "no-carrier\n", true: "routable\n"}[up], func() string {
			return s.one.must("sh", "-c", "networkctl list --no-legend --no-pager multinic2 | awk '{print $4}'")
		})
	}
	s.one.must("systemctl", "restart", "systemd-networkd")
}

// isGivenBack: when no NIC is wanted any more the host is as it was before the first.
func (s *sharedSubnet) isGivenBack() {
	s.t.Helper()
	one := s.one
	one.must("sh", "-c", ofOthers+"; true") // networkd has deleted some
	one.file(objectFile, nodeObject())
	one.must("systemctl", "restart", "multinicd")
	one.wantNICs("")
	one.eventually("what is ours", "", one.ours)
	one.wantStays("links", s.links, s.linkTexts)
	for what, is := range map[string][2]string{"main": {s.inMain, s.mainTable()}, "rules": {s.rules, one.rules()}, "conf": {s.conf, one.conf()},
		"sysctl.d": {"", one.must("sh", "-c", "ls /etc/sysctl.d | grep multinic || true")}} {
		if is[0] != is[1] {
			s.t.Errorf("%s was\n%s\nis\n%s", what, is[0], is[1])
		}
	}
}
