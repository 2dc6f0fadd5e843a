package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// Other programs of the host, and somebody who never stops.
func TestOthersAreUndoneAndAFightIsBraked(t *testing.T) {
	onKinds(t, brief(netplan12, keyfiles12), othersAreUndone)
}

// third is what a third party does to a host with the NICs multinic1 and multinic2.
type third struct{ name, script string }

// thirds are those of a kind of host.
func (k kind) thirds() []third {
	if k.flavour == testhost.Networkd {
		return []third{
			{"networkd is told to read its files again", "networkctl reload"},
			{"netplan generates, and networkd reads", "netplan generate; networkctl reload"},
			{"networkd configures anew", "networkctl reconfigure multinic1"},
			{"networkd is started anew", k.restart()},
		}
	}
	return []third{ // what may be undone before nmcli has seen it done counts as an error there
		{"NetworkManager reads all profiles again", "nmcli connection reload"},
		{"our profile is modified, and brought up", "nmcli connection modify multinic1 ipv4.addresses 192.168.100.66/32; nmcli connection up multinic1 || true"},
		{"our profile is taken down", "nmcli connection down multinic1 || true"},
		{"the link is disconnected", "nmcli device disconnect multinic1 || true"},
		{"NetworkManager is told not to manage the link", "nmcli device set multinic1 managed no"},
		{"another profile is brought up on the link", slowly("theirs") + "nmcli connection add type ethernet con-name theirs ifname multinic1 connection.autoconnect no ipv4.method manual ipv4.addresses 10.66.0.1/24; nmcli connection up theirs || true"},
		{"our profile is deleted", "nmcli connection delete multinic1"},
		{"NetworkManager is started anew", k.restart()},
	}
}

// slowly has NetworkManager take a second to bring a profile up, in which its own file still says that the one before is in force.
func slowly(profile string) string {
	const script = "/etc/NetworkManager/dispatcher.d/pre-up.d/slowly"
	return fmt.Sprintf(`printf '#!/bin/sh\n[ "$CONNECTION_ID" != %s ] || sleep 1\n' >%s; chmod 755 %[2]s; `, profile, script)
}

// deleted does a deletion that somebody before may be at still: what is not there is put back, and deleted then.
func deleted(command string) string {
	return "until " + command + "; do sleep 0.05; done"
}

func othersAreUndone(t *testing.T, k kind) {
	n := kindNode(t, bed.New(t), k, testhost.NIC{MAC: mac1, Segment: "data1"}, testhost.NIC{MAC: mac2, Segment: "data1"})
	n.start(nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1400"), nicYAML(2, mac2, "192.168.100.11/24", "gateway: 192.168.100.1")))
	const configured = "multinic1 Configured Configured, multinic2 Configured Configured"
	n.wantNICs(configured)
	n.must("systemctl", "enable", "multinicd")
	n.reboot() // from here on networkd knows the NICs too
	n.wantNICs(configured)

	const want = "multinic1 up mtu 1400 192.168.100.10/32; multinic2 up mtu 1500 192.168.100.11/32; multinic1 1 2 2 multinic2 1 2 2; " +
		"9999: from 192.168.100.11 to 192.168.100.0/24 lookup 10002 10002: from 192.168.100.11 lookup main suppress_prefixlength 0 " +
		"20001: from 192.168.100.10 lookup 10001 20002: from 192.168.100.11 lookup 10002; default via 192.168.100.1 dev multinic2"
	state := func() string {
		rules := n.must("sh", "-c", "ip -4 rule | grep -e lookup.1000 -e suppress | tr -s '\\t ' ' ' | sed 's/ proto [^ ]*//; s/ *$//'")
		route := n.must("sh", "-c", "ip route show table 10002 default | sed 's/ proto.*//; s/ *$//' | sort -u")
		return strings.Join([]string{n.link(mac1), n.link(mac2), strings.Join(strings.Fields(n.conf()), " "), strings.Join(strings.Split(strings.TrimSpace(rules), "\n"), " "), strings.TrimSpace(route)}, "; ")
	}
	n.eventually("the host", want, state)
	files := n.profiles()
	for _, by := range append(k.thirds(), []third{
		{"a rule is deleted", deleted("ip rule del priority 20001")},
		{"the rule that leads to main is deleted", deleted("ip rule del priority 10002")},
		{"a gateway is deleted", deleted("ip route del default table 10002")},
		{"a sysctl is changed", "sysctl -q -w net.ipv4.conf.multinic1.rp_filter=1"},
		{"all sysctls are changed", "sysctl -q -w net.ipv4.conf.multinic2.arp_ignore=0 net.ipv4.conf.multinic2.arp_announce=0 net.ipv4.conf.multinic2.rp_filter=0"},
		{"systemd generates anew", "systemctl daemon-reload"},
		{"the links go down and up", "ip link set multinic1 down; ip link set multinic2 down; ip link set multinic1 up; ip link set multinic2 up"},
	}...) {
		t.Logf("%s", by.name)
		n.must("sh", "-ec", by.script)
		n.eventually("when "+by.name, want, state)
		n.wantNICs(configured)
	}
	n.wantStays("the host", want, state)
	n.eventually("the files", files, n.profiles)
	n.must("sh", "-ec", deleted("ip route del default table 10002"))
	n.eventually("the host", want, state)
	n.eventually("the log, which says what was changed, and by whom", "", func() string { // once it was verified, too
		log := n.Journal(t.Context())
		for _, part := range []string{"put back what somebody changed", k.owner(), "want default via 192.168.100.1 table 10002, have absent"} {
			if !strings.Contains(log, part) {
				return part + " is not in:\n" + log
			}
		}
		return ""
	})

	// Ten times a second.
	n.must("systemd-run", "--quiet", "--unit=fight", "sh", "-c", "while :; do ip address del 192.168.100.10/32 dev multinic1 2>/dev/null; sleep 0.1; done")
	begun := strings.TrimSpace(n.must("date", "+%H:%M:%S"))
	n.wantNICs("multinic1 InProgress DriftFighting, multinic2 Configured Configured")
	// Within ten seconds where the script has its ten times a second; what it gets of a busy machine is another matter.
	log := n.must("sh", "-c", "journalctl --sync; journalctl -u multinicd --since "+begun+" -o cat --no-pager")
	braked, _, found := strings.Cut(log, "standing back")
	if repairs := strings.Count(braked, "put back what somebody changed"); !found || repairs > 12 {
		t.Errorf("%d repairs before the brake:\n%s", repairs, log)
	}
	before := n.cpu()
	const watched = 10 * time.Second
	n.must("sleep", fmt.Sprint(watched.Seconds()))
	if used := n.cpu() - before; used > watched/20 {
		t.Errorf("the daemon used %s of %s during the fight", used, watched)
	}
	n.wantNICs("multinic1 InProgress DriftFighting, multinic2 Configured Configured")
	n.eventually("the status, which says what the fight is about", "", func() string {
		if status := n.must("multinicd", "status"); !strings.Contains(status, "another writer keeps changing it: address: want 192.168.100.10/32, have absent") {
			return status
		}
		return ""
	})
	n.must("systemctl", "stop", "fight")
	n.wantNICs(configured)
	n.eventually("the host in peace", want, state)
}

// cpu is the time that the daemon has used.
func (n *node) cpu() time.Duration {
	n.t.Helper()
	pid, err := n.DaemonPID(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	fields := strings.Fields(n.must("nsenter", "--target", "1", "--pid", "--mount", "cat", fmt.Sprintf("/proc/%d/stat", pid)))
	var ticks int
	for _, f := range fields[13:15] { // utime and stime of proc(5), of 10 ms
		t, err := strconv.Atoi(f)
		if err != nil {
			n.t.Fatal(err)
		}
		ticks += t
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func TestNICsSwapTheirNames(t *testing.T) { onKinds(t, brief(netplan12), swapNames) }

func swapNames(t *testing.T, k kind) {
	n := kindNode(t, bed.New(t), k, bed.NICs(mac1, mac2)...)
	n.start(nodeObject(nicYAML(1, mac1, "192.168.100.10/24"), nicYAML(2, mac2, "192.168.200.10/24")))
	const configured = "multinic1 Configured Configured, multinic2 Configured Configured"
	n.wantNICs(configured)
	n.must("systemctl", "enable", "multinicd")
	swapped := func() {
		t.Helper()
		n.wantLink(mac1, "multinic2 up mtu 1500 192.168.100.10/24")
		n.wantLink(mac2, "multinic1 up mtu 1500 192.168.200.10/24")
		n.wantNICs(configured)
		n.wantLinkStays(mac1, "multinic2 up mtu 1500 192.168.100.10/24")
	}
	back := func() {
		t.Helper()
		n.wantLink(mac1, example1)
		n.wantLink(mac2, example2)
		n.wantNICs(configured)
	}
	swap := func(a, b int) {
		t.Helper()
		n.file(objectFile, nodeObject(nicYAML(a, mac1, "192.168.100.10/24"), nicYAML(b, mac2, "192.168.200.10/24")))
		n.must("systemctl", "restart", "multinicd")
	}
	swap(2, 1)
	swapped()
	n.sameAgainDoesNothing("systemctl", "restart", "multinicd")
	n.reboot()
	swapped()
	swap(1, 2)
	back()
	n.must("sh", "-ec", k.restart())
	n.wantNICs(configured)
	n.wantLinkStays(mac1, example1)
	n.wantLinkStays(mac2, example2)

	// By hand, while nobody looks: also back, although each has the other's name.
	n.must("sh", "-ec", "systemctl stop multinicd; for i in 1 2; do ip link set multinic$i down; done; ip link set multinic1 name other; ip link set multinic2 name multinic1; ip link set other name multinic2; systemctl start multinicd")
	back()

	// A name that is somebody else's, and one that is an alternative name, are refused, with the way out.
	n.must("ip", "link", "add", "multinic5", "type", "bridge")
	n.must("ip", "link", "property", "add", "dev", "eth0", "altname", "multinic6")
	n.file(objectFile, nodeObject(nicYAML(5, mac1, "192.168.100.10/24"), nicYAML(6, mac2, "192.168.200.10/24")))
	n.must("systemctl", "restart", "multinicd")
	n.wantNICs("multinic5 Failed NameTaken, multinic6 Failed NameTaken")
	n.wantLinkStays(mac1, example1)
	n.must("ip", "link", "del", "multinic5")
	n.must("ip", "link", "property", "del", "dev", "eth0", "altname", "multinic6")
	n.wantLink(mac1, "multinic5 up mtu 1500 192.168.100.10/24")
	n.wantNICs("multinic5 Configured Configured, multinic6 Configured Configured")
}
