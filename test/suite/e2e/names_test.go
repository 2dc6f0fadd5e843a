package e2e

import (
	"slices"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// cloud-init gives a NIC that it knows its own name back at every boot. The addresses are there all the
// same, by the MAC; and the name is put right before anybody sets the link up, by no daemon.
func TestANameOutlivesCloudInit(t *testing.T) {
	named := slices.DeleteFunc(stockKinds(netplan12+asTheCloud), func(k kind) bool {
		return k.suite != "bookworm" || k.flavour != testhost.Networkd && k.flavour != testhost.NetworkManager
	})
	onKinds(t, named, func(t *testing.T, k kind) {
		n := kindNode(t, bed.New(t), k, bed.NICs(mac1)...)
		n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.10/24")))
		const want = "multinic1 up mtu 1500 192.168.100.10/24"
		n.wantLinkStays(mac1, want)

		n.reboot()
		n.wantLinkStays(mac1, want)
		if said := n.must("journalctl", "-b", "-o", "cat", "-u", "cloud-init-local"); !strings.Contains(said, "renamed multinic1 to ens4") {
			t.Errorf("cloud-init renamed nothing: %s", said)
		}
		if said := n.must("journalctl", "-b", "-o", "cat", "-u", "multinicd-recover"); !strings.Contains(said, "multinic1 (02:00:00:00:01:01): named again, was ens4") {
			t.Errorf("multinicd-recover said: %s", said)
		}

		n.must("systemctl", "--quiet", "disable", "multinicd-recover")
		n.reboot()
		n.wantLinkStays(mac1, strings.Replace(want, "multinic1", "ens4", 1))
	})
}
