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
	for _, suite := range []string{"bookworm", "trixie"} { // netplan 0.106 with systemd 252, 1.1.2 with 257
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			takesOverFromTheFormerAgent(t, suite)
		})
	}
}

func takesOverFromTheFormerAgent(t *testing.T, suite string) {
	n := fileNode(t, bed.New(t), testhost.Options{Suite: suite, NICs: bed.NICs(mac1, mac2, mac3)}, map[string]string{
		"/etc/netplan/91-multinic1.yaml": former1, "/etc/netplan/92-multinic2.yaml": former2, "/etc/netplan/93-multinic3.yaml": former3,
		"/etc/systemd/network/91-multinic1.link": formerLink,
	})
	const link1, link2 = "multinic1 up mtu 1450 192.168.100.10/24", "multinic2 up mtu 1500 192.168.200.10/24"
	n.wantLink(mac1, link1)
	n.wantLink(mac2, "multinic2 up mtu 1500 192.168.200.99/24")
	n.must("sh", "-ec", "ip rule add from 192.168.200.99 lookup 101 priority 32763; ip rule add from 192.168.99.99 lookup 102 priority 32762")
	first := nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1450", "routes: [{to: 10.20.0.0/16, via: 192.168.100.1}]")
	second := nicYAML(2, mac2, "192.168.200.10/24")

	// What means the same: only files change, and nothing is heard of it in the kernel.
	n.quiet()
	kernel, err := n.MonitorKernel()
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Stop()
	n.file(objectFile, nodeObject(first))
	planned := n.must("multinicd", "plan", "-f", objectFile)
	for _, want := range []string{"multinic1 (" + mac1 + "): configure", "file /etc/netplan/90-multinic1.yaml", "file /etc/netplan/91-multinic1.yaml", "file /etc/systemd/network/91-multinic1.link"} {
		if !strings.Contains(planned, want) {
			t.Errorf("plan does not say %q:\n%s", want, planned)
		}
	}
	if strings.Contains(planned, "  link ") {
		t.Errorf("plan wants to change a link that is as wanted:\n%s", planned)
	}
	n.apply(exitDone, nodeObject(first))
	if events, err := kernel.Events(); err != nil || len(events) > 0 {
		t.Errorf("%d events in the kernel: %v %v", len(events), events, err)
	}
	kernel.Stop()
	files := func(want string) {
		t.Helper()
		got := strings.Join(strings.Fields(n.must("sh", "-c", "ls /etc/netplan; ls /etc/systemd/network | grep multinic || true")), " ")
		if got != want {
			t.Errorf("files: %s, want %s", got, want)
		}
	}
	files("01-primary.yaml 90-multinic1.yaml 92-multinic2.yaml 93-multinic3.yaml")
	n.sameAgainDoesNothing("multinicd", "apply", "-f", objectFile)

	// What differs, in one go. A file that is about another NIC too is somebody's configuration as any other.
	n.file(objectFile, nodeObject(first, second))
	planned = n.must("multinicd", "plan", "-f", objectFile)
	for _, want := range []string{"- address 192.168.200.99/24", "+ address 192.168.200.10/24", "- route default via 192.168.200.1 table 101", "- rule from 192.168.200.99/32 lookup 101 priority 32764"} {
		if !strings.Contains(planned, want) {
			t.Errorf("plan does not say %q:\n%s", want, planned)
		}
	}
	if out := n.apply(exitRefused, nodeObject(first, second, nicYAML(3, mac3, "192.168.30.10/24"))); !strings.Contains(out, "ForeignConfig") || !strings.Contains(out, "93-multinic3.yaml") {
		t.Errorf("NIC 3 was not refused for the file that speaks of two:\n%s", out)
	}
	asWanted := func() {
		t.Helper()
		n.wantLinksStay(map[string]string{mac1: link1, mac2: link2, mac3: "multinic3 up mtu 1500 192.168.30.3/24"})
		n.eventually("what there is of table 101", "", func() string {
			return n.must("sh", "-c", "ip rule | grep 'lookup 101' || true; ip route show table 101 2>/dev/null || true")
		})
		n.eventually("the route", "true", func() string {
			if got := n.must("ip", "route", "show", "10.20.0.0/16"); !strings.Contains(got, "via 192.168.100.1 dev multinic1") {
				return got
			}
			return "true"
		})
		files("01-primary.yaml 90-multinic1.yaml 90-multinic2.yaml 93-multinic3.yaml")
	}
	asWanted()
	if got := n.must("ip", "rule"); !strings.Contains(got, "from 192.168.99.99 lookup 102") {
		t.Errorf("somebody else's rule is gone:\n%s", got)
	}
	n.file(objectFile, nodeObject(first, second))
	n.sameAgainDoesNothing("multinicd", "apply", "-f", objectFile)
	n.reboot()
	asWanted()
	n.sameAgainDoesNothing("multinicd", "apply", "-f", objectFile)

	// The power fails between our file and theirs: the boot finds both, and what is done is done again.
	n.file("/etc/netplan/91-multinic1.yaml", former1)
	n.file("/etc/netplan/92-multinic2.yaml", former2)
	n.reboot()
	n.wantLink(mac1, link1)
	n.start(nodeObject(first, second))
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	asWanted()
	n.must("systemctl", "restart", "systemd-networkd")
	asWanted()
}
