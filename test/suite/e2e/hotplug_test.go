package e2e

import (
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

func TestANICThatIsNotThereIsWaitedFor(t *testing.T) {
	t.Parallel()
	n := fileNode(t, bed.New(t), testhost.Options{NICs: bed.NICs(mac1)}, nil)
	const second = "multinic2 up mtu 1400 192.168.200.10/24"
	text := nodeObject(nicYAML(1, mac1, "192.168.100.10/24"), nicYAML(2, mac2, "192.168.200.10/24", "mtu: 1400"))
	plug := func() {
		t.Helper()
		if err := n.Plug(testhost.NIC{MAC: mac2, Segment: "data2"}); err != nil {
			t.Fatal(err)
		}
		n.wantLink(mac2, second)
		n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	}
	unplug := func() {
		t.Helper()
		if err := n.Unplug(mac2); err != nil {
			t.Fatal(err)
		}
		n.wantNICs("multinic1 Configured Configured, multinic2 Pending WaitingForNIC")
		n.wantLinkStays(mac1, "multinic1 up mtu 1500 192.168.100.10/24")
	}

	n.apply(exitWaiting, text)
	n.wantLink(mac1, "multinic1 up mtu 1500 192.168.100.10/24")
	n.start(text)
	n.wantNICs("multinic1 Configured Configured, multinic2 Pending WaitingForNIC")
	pid, err := n.DaemonPID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plug()
	unplug()
	plug()

	// From here on networkd knows the NIC, and configures it too.
	n.must("systemctl", "enable", "multinicd")
	unplugged := func() {
		t.Helper()
		if now, err := n.DaemonPID(t.Context()); err != nil || now != pid {
			t.Errorf("the daemon is process %d, %v; was %d: want no restart", now, err, pid)
		}
	}
	unplugged()
	n.reboot()
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	unplug()
	plug()
	n.wantLinkStays(mac2, second)

	// Configured while it was away: nobody but the daemon knows the new address.
	unplug()
	n.file(objectFile, nodeObject(nicYAML(1, mac1, "192.168.100.10/24"), nicYAML(2, mac2, "192.168.200.20/24", "mtu: 1400")))
	n.must("systemctl", "restart", "multinicd")
	if err := n.Plug(testhost.NIC{MAC: mac2, Segment: "data2"}); err != nil {
		t.Fatal(err)
	}
	n.wantLink(mac2, "multinic2 up mtu 1400 192.168.200.20/24")
	n.wantLinkStays(mac2, "multinic2 up mtu 1400 192.168.200.20/24")

	// Removed from the object while it was away: nothing of it comes back with it, whatever networkd remembers.
	unplug()
	n.file(objectFile, nodeObject(nicYAML(1, mac1, "192.168.100.10/24")))
	n.must("systemctl", "restart", "multinicd")
	n.wantNICs("multinic1 Configured Configured")
	if err := n.Plug(testhost.NIC{MAC: mac2, Segment: "data2"}); err != nil {
		t.Fatal(err)
	}
	n.wantStays("addresses of the removed NIC", "", func() string {
		said := n.link(mac2)
		if words := strings.Fields(said); len(words) >= 4 { // its name, up or down, and the MTU
			return strings.Join(words[4:], " ")
		}
		return said
	})
}
