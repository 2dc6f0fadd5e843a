package e2e

import (
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// What the former agent, one Job per change, left on hosts of netplan.
const (
	former1 = `network:
  version: 2
  ethernets:
    multinic1:
      match:
        macaddress: 02:00:00:00:01:01
      set-name: multinic1
      dhcp4: false
      addresses: ["192.168.100.10/24"]
      mtu: 1450
      routes:
        - to: 10.20.0.0/16
          via: 192.168.100.1
`
	former2 = `network:
  version: 2
  ethernets:
    port-two:
      match: {macaddress: "02:00:00:00:01:02"}
      set-name: multinic2
      addresses: [192.168.200.99/24]
      routes:
        - {to: default, via: 192.168.200.1, table: 101}
        - {to: 192.168.200.0/24, scope: link, table: 101}
      routing-policy:
        - {from: 192.168.200.99/32, table: 101, priority: 32764}
`
	// Not of one NIC only: this is nobody's to remove.
	former3 = `network:
  version: 2
  ethernets:
    multinic3: {match: {macaddress: "02:00:00:00:01:03"}, set-name: multinic3, addresses: [192.168.30.3/24]}
    other: {match: {macaddress: "02:00:00:00:0f:0f"}, addresses: [192.168.31.3/24]}
`
	formerLink = "[Match]\nMACAddress=02:00:00:00:01:01\n\n[Link]\nName=multinic1\n"
)

func TestWhatTheFormerAgentLeftIsTakenOver(t *testing.T) {
	t.Parallel()
	for _, suite := range onDebian("bookworm") { // bookworm: netplan 0.106 with systemd 252; trixie: 1.1.2 with 257
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			takesOverFromTheFormerAgent(t, suite)
		})
	}
}

const (
	formerLink1 = "multinic1 up mtu 1450 192.168.100.10/24"
	formerLink2 = "multinic2 up mtu 1500 192.168.200.10/24"
)

// What the former agent left is wanted like this: the first NIC as it is, the second with another address.
var (
	formerFirst  = nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1450", "routes: [{to: 10.20.0.0/16, via: 192.168.100.1}]")
	formerSecond = nicYAML(2, mac2, "192.168.200.10/24")
)

func takesOverFromTheFormerAgent(t *testing.T, suite string) {
	n := fileNode(t, bed.New(t), testhost.Options{Suite: suite, NICs: bed.NICs(mac1, mac2, mac3)}, map[string]string{
		"/etc/netplan/91-multinic1.yaml": former1, "/etc/netplan/92-multinic2.yaml": former2, "/etc/netplan/93-multinic3.yaml": former3,
		"/etc/systemd/network/91-multinic1.link": formerLink,
	})
	n.wantLink(mac1, formerLink1)
	n.wantLink(mac2, "multinic2 up mtu 1500 192.168.200.99/24")
	n.must("sh", "-ec", "ip rule add from 192.168.200.99 lookup 101 priority 32763; ip rule add from 192.168.99.99 lookup 102 priority 32762")
	n.takesOverWhatMeansTheSame()
	n.takesOverWhatDiffers()
	n.takesOverAgainAfterAPowerCut()
}

// takesOverWhatMeansTheSame: only files change, and nothing is heard of it in the kernel.
func (n *node) takesOverWhatMeansTheSame() {
	n.t.Helper()
	n.quiet()
	kernel, err := n.MonitorKernel()
	if err != nil {
		n.t.Fatal(err)
	}
	defer kernel.Stop()
	planned := n.planOf(nodeObject(formerFirst), "multinic1 ("+mac1+"): configure", "file /etc/netplan/90-multinic1.yaml", "file /etc/netplan/91-multinic1.yaml",
		"file /etc/systemd/network/91-multinic1.link")
	if strings.Contains(planned, "  link ") {
		n.t.Errorf("plan wants to change a link that is as wanted:\n%s", planned)
	}
	n.apply(exitDone, nodeObject(formerFirst))
	if events, err := kernel.Events(); err != nil || len(events) > 0 {
		n.t.Errorf("%d events in the kernel: %v %v", len(events), events, err)
	}
	kernel.Stop()
	n.wantFormerFiles("01-primary.yaml 90-multinic1.yaml 92-multinic2.yaml 93-multinic3.yaml")
	n.sameAgainDoesNothing("multinicd", "apply", "-f", objectFile)
}

// takesOverWhatDiffers, in one go. A file that is about another NIC too is somebody's configuration as any other.
func (n *node) takesOverWhatDiffers() {
	n.t.Helper()
	n.planOf(nodeObject(formerFirst, formerSecond), "- address 192.168.200.99/24", "+ address 192.168.200.10/24", "- route default via 192.168.200.1 table 101",
		"- rule from 192.168.200.99/32 lookup 101 priority 32764")
	if out := n.apply(exitRefused, nodeObject(formerFirst, formerSecond, nicYAML(3, mac3, "192.168.30.10/24"))); !strings.Contains(out, "ForeignConfig") || !strings.Contains(out, "93-multinic3.yaml") {
		n.t.Errorf("NIC 3 was not refused for the file that speaks of two:\n%s", out)
	}
	n.formerIsTakenOver()
	if got := n.must("ip", "rule"); !strings.Contains(got, "from 192.168.99.99 lookup 102") {
		n.t.Errorf("somebody else's rule is gone:\n%s", got)
	}
	n.file(objectFile, nodeObject(formerFirst, formerSecond))
	n.sameAgainDoesNothing("multinicd", "apply", "-f", objectFile)
	n.reboot()
	n.formerIsTakenOver()
	n.sameAgainDoesNothing("multinicd", "apply", "-f", objectFile)
}

// takesOverAgainAfterAPowerCut: the power fails between our file and theirs, so that the boot finds both; what is done is done again.
func (n *node) takesOverAgainAfterAPowerCut() {
	n.t.Helper()
	n.file("/etc/netplan/91-multinic1.yaml", former1)
	n.file("/etc/netplan/92-multinic2.yaml", former2)
	n.reboot()
	n.wantLink(mac1, formerLink1)
	n.start(nodeObject(formerFirst, formerSecond))
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	n.formerIsTakenOver()
	n.must("systemctl", "restart", "systemd-networkd")
	n.formerIsTakenOver()
}

// planOf gives what plan says of an object, in which each of these must be.
func (n *node) planOf(object string, says ...string) string {
	n.t.Helper()
	n.file(objectFile, object)
	planned := n.must("multinicd", "plan", "-v", "-f", objectFile)
	for _, want := range says {
		if !strings.Contains(planned, want) {
			n.t.Errorf("plan does not say %q:\n%s", want, planned)
		}
	}
	return planned
}

// wantFormerFiles looks at the files of netplan, and at those of ours or the former agent for udev.
func (n *node) wantFormerFiles(want string) {
	n.t.Helper()
	got := strings.Join(strings.Fields(n.must("sh", "-c", "ls /etc/netplan; ls /etc/systemd/network | grep multinic || true")), " ")
	if got != want {
		n.t.Errorf("files: %s, want %s", got, want)
	}
}

// formerIsTakenOver: both NICs are as wanted, and nothing of the former agent's is left, except what is about a third NIC.
func (n *node) formerIsTakenOver() {
	n.t.Helper()
	n.wantLinksStay(map[string]string{mac1: formerLink1, mac2: formerLink2, mac3: "multinic3 up mtu 1500 192.168.30.3/24"})
	n.eventually("what there is of table 101", "", func() string {
		return n.must("sh", "-c", "ip rule | grep 'lookup 101' || true; ip route show table 101 2>/dev/null || true")
	})
	n.eventually("the route", "true", func() string {
		if got := n.must("ip", "route", "show", "10.20.0.0/16"); !strings.Contains(got, "via 192.168.100.1 dev multinic1") {
			return got
		}
		return "true"
	})
	n.wantFormerFiles("01-primary.yaml 90-multinic1.yaml 90-multinic2.yaml 93-multinic3.yaml")
}
