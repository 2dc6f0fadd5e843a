package e2e

import (
	"slices"
	"strings"
	"testing"

	"multinicd/host/survey"
	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

func TestCleanupLeavesTheHostAsItWasFound(t *testing.T) {
	onKinds(t, brief(netplan12), cleanupLeavesTheHost)
}

func cleanupLeavesTheHost(t *testing.T, k kind) {
	n := kindNode(t, bed.New(t), k, testhost.NIC{MAC: mac1, Segment: "data1"}, testhost.NIC{MAC: mac2, Segment: "data1"})
	// One is found up, with an MTU of its own, and gets a foreign address and rule later.
	n.must("sh", "-ec", "ip link set eth1 up mtu 1450; ip link set eth2 "+k.free())
	const list = "find " + folders + " -type f -exec grep -L '^nm-generated=true' {} + 2>/dev/null | sort; ip rule; ip -6 rule; ip route show table all | grep -v -E 'table (local|main)' || true; cat /proc/sys/net/ipv4/conf/*/arp_ignore"
	look := func() string { return n.must("sh", "-c", list) }
	before := look()
	found1, found2 := n.link(mac1), n.link(mac2)
	// Two in one subnet: tables, rules and sysctls come with them.
	text := nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1400"), nicYAML(2, mac2, "192.168.100.11/24", "gateway: 192.168.100.1"))
	configured := func() {
		t.Helper()
		n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
		n.wantLink(mac1, "multinic1 up mtu 1400 192.168.100.10/32")
	}
	n.start(text)
	configured()

	n.theDoctorLooks(k)
	configured()

	// Saying what would be done does nothing.
	n.sameAgainDoesNothing("sh", "-c", "multinicd cleanup --dry-run | grep -q 'multinic2 .*: remove'")

	// By the running daemon: nothing comes back by itself.
	cleanup := func() string {
		t.Helper()
		code, out := n.exit("multinicd", "cleanup")
		if code != 0 {
			t.Fatalf("cleanup ended with %d:\n%s", code, out)
		}
		n.eventually("what is left", before, look)
		return out
	}
	out := cleanup()
	for _, want := range []string{"multinic1 (" + mac1 + "): given back", "~ name multinic1 -> eth1", "~ mtu 1400 -> 1450", "- address 192.168.100.10/32", "- rule from 192.168.100.11/32", "file " + strings.Fields(k.files)[0]} {
		if !strings.Contains(out, want) {
			t.Errorf("cleanup does not say %q:\n%s", want, out)
		}
	}
	n.wantLinkStays(mac1, found1)
	n.wantLinkStays(mac2, found2)
	if s, err := n.status(); err != nil || s.State != "Removed" || len(s.NICs) != 0 {
		t.Errorf("the status is %+v, %v", s, err)
	}
	if out := cleanup(); !strings.Contains(out, "nothing here is ours") {
		t.Errorf("a second time:\n%s", out)
	}

	// Started anew it configures again; without a daemon cleanup does the same, beside what is somebody else's.
	n.must("systemctl", "restart", "multinicd")
	configured()
	n.must("systemctl", "stop", "multinicd")
	n.must("sh", "-ec", "ip address add 10.99.0.1/16 dev multinic1; ip route add 10.98.0.0/16 via 10.99.0.2; ip rule add from 10.98.0.0/16 lookup 98 priority 98")
	if code, said := n.exit("multinicd", "cleanup"); code != 0 {
		t.Fatalf("cleanup ended with %d:\n%s", code, said)
	}
	n.wantLink(mac1, found1+" 10.99.0.1/16")
	n.wantLink(mac2, found2)
	if foreign := n.must("sh", "-c", "ip route show 10.98.0.0/16; ip rule show priority 98"); strings.Count(foreign, "\n") != 2 {
		t.Errorf("somebody else's route and rule: %s", foreign)
	}
	n.must("sh", "-ec", "ip address del 10.99.0.1/16 dev eth1; ip rule del priority 98")
	n.eventually("what is left", before, look)

	// Where the record is lost, files and addresses go all the same; how the link was called nobody knows.
	n.apply(0, text)
	n.must("rm", "/var/lib/multinicd/record.json")
	if code, out := n.exit("multinicd", "cleanup"); code != 0 {
		t.Fatalf("cleanup ended with %d:\n%s", code, out)
	}
	n.eventually("the addresses of a NIC whose name is left", "multinic1 up", func() string {
		return strings.Join(slices.DeleteFunc(strings.Fields(n.link(mac1)), func(word string) bool { return word == "mtu" || word == "1400" || word == "1450" }), " ")
	})
	if left := n.profiles() + n.must("sh", "-c", "ip rule | grep lookup.1000 || true"); left != "" {
		t.Errorf("left: %s", left)
	}
}

// theDoctorLooks: the doctor changes nothing, and says what must be done, with the daemon and without.
func (n *node) theDoctorLooks(k kind) {
	n.t.Helper()
	file := strings.Fields(k.files)[0]
	if k.flavour == testhost.Networkd {
		n.sameAgainDoesNothing("sh", "-c", "multinicd doctor -o json | grep -q networkd-foreign")
	} else { // NetworkManager is asked which links it has
		n.must("sh", "-ec", "multinicd doctor -o json >/run/doctor.json; ! grep -q networkd-foreign /run/doctor.json")
	}
	type row struct {
		script string
		code   int
		says   string
	}
	rows := []row{{"true", 0, "multinicd, as multinic1"}}
	mode := "644" // there is no secret in an ifcfg file
	if k.backend != survey.Ifcfg {
		mode = "600"
		rows = append(rows, row{"systemctl stop multinicd; chmod 644 " + file, 1, "chmod go= " + file}) // the service would put it right within a second
	}
	if k.flavour == testhost.Networkd { // which runs as a user of its own
		const dropin = "/etc/systemd/networkd.conf.d/10-x.conf"
		rows = append(rows, row{"chmod 600 " + file + "; systemctl start multinicd; mkdir -p /etc/systemd/networkd.conf.d; umask 77; printf '[Network]\nManageForeignRoutes=no\n' >" + dropin, 0, "chmod a+r " + dropin},
			row{"chmod a+r " + dropin, 0, "networkd was started before that was written"}, row{"rm " + dropin, 0, "link-owner"})
	}
	rows = append(rows, row{"chmod " + mode + " " + file + "; systemctl stop multinicd", 0, "daemon-down"}, row{"systemctl start multinicd", 0, "link-owner"})
	for _, must := range rows {
		n.must("sh", "-ec", must.script)
		if code, out := n.exit("multinicd", "doctor"); code != must.code || !strings.Contains(out, must.says) {
			n.t.Errorf("after %s doctor ended with %d, want %d, and %q in:\n%s", must.script, code, must.code, must.says, out)
		}
	}
}
