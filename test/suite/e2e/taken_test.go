package e2e

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// Who has told NetworkManager to leave a link alone finds it left alone after a change that could not be made, and after one
// that removes the NIC; and managed after one that was made.
func TestALinkThatWasTakenFromNetworkManagerIsTakenBackByTheUndo(t *testing.T) {
	onKinds(t, brief(keyfiles12), takenBack)
}

func takenBack(t *testing.T, k kind) {
	if k.flavour == testhost.Networkd {
		return // no NetworkManager
	}
	b := bed.New(t)
	n := kindNode(t, b, k, bed.NICs(mac1)...)
	ask := func(dad string) {
		n.file("/etc/multinicd/multinicd.toml", strings.ReplaceAll(settings("worker-node-01", fromFile)+k.toml, `"off"`, `"`+dad+`"`))
	}
	ask("fast")
	state := func() string {
		return strings.TrimSpace(n.must("sh", "-c", "nmcli -g GENERAL.STATE device show $(grep -l "+mac1+" /sys/class/net/*/address | cut -d/ -f5) | cut -d' ' -f1"))
	}
	n.apply(0, nodeObject(nicYAML(1, mac1, "192.168.100.10/24")))
	n.eventually("the state of a link of ours", "100", state)
	take := func() {
		n.must("nmcli", "device", "set", "multinic1", "managed", "no")
		n.eventually("the state of the link that was taken", "10", state)
	}
	take()
	before := n.settles("the link that was taken", func() string { return n.link(mac1) })

	for _, a := range []string{"192.168.100.12/24", "2001:db8:100::12/64"} {
		if err := b.World.AddAddress("data1", netip.MustParsePrefix(a)); err != nil {
			t.Fatal(err)
		}
	}
	// A neighbour has the address. Who asks knows it before NetworkManager has a part in the change. Who does not finds it out behind, or finds that
	// NetworkManager 1.42 has taken all addresses of the link, to begin anew.
	for _, test := range []struct {
		dad, nic string
		reasons  []string
	}{
		{"fast", nicYAML(1, mac1, "192.168.100.12/24"), []string{"reason=AddressInUse outcome=Refused"}},
		{"off", nicYAML(1, mac1, "192.168.100.10/24", "addresses: [\"2001:db8:100::12/64\"]"), []string{"reason=AddressInUse outcome=Refused", "reason=VerificationFailed outcome=RolledBack"}},
	} {
		ask(test.dad)
		n.file(objectFile, nodeObject(test.nic))
		if _, out := n.exit("multinicd", "apply", "-f", objectFile); !slices.ContainsFunc(test.reasons, func(r string) bool { return strings.Contains(out, r) }) {
			t.Errorf("the address of a neighbour is not refused:\n%s", out)
		}
		n.wantStays("the state of the link after the undo", "10", state)
		n.wantLinkStays(mac1, before)
	}
	n.must("sh", "-c", k.restart()) // after which NetworkManager 1.42 does not say any more why it leaves the link alone
	n.wantStays("the state of the link after a restart", "10", state)
	n.apply(0, nodeObject(nicYAML(1, mac1, "192.168.100.11/24")))
	n.wantLink(mac1, "multinic1 up mtu 1500 192.168.100.11/24")
	n.eventually("the state of the link that is ours again", "100", state)
	take()
	n.apply(0, nodeObject())
	n.wantStays("the state of the link that was given back", "10", state)
}
