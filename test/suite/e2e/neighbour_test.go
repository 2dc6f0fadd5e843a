package e2e

import (
	"net/netip"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

func TestAnAddressThatANeighbourHasIsNotTaken(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	for segment, address := range map[string]string{"data1": "192.168.100.10/24", "data2": "2001:db8:200::10/64"} {
		if err := b.World.AddAddress(segment, netip.MustParsePrefix(address)); err != nil {
			t.Fatal(err)
		}
	}
	n := fileNode(t, b, testhost.Options{NICs: bed.NICs(mac1, mac2, mac3)}, nil)
	n.file("/etc/multinicd/multinicd.toml", strings.ReplaceAll(settings("worker-node-01", fromFile), `"off"`, `"fast"`))
	wish := func(first, second string) string {
		return nodeObject(nicYAML(1, mac1, first), nicYAML(2, mac2, second), nicYAML(3, mac3, "192.168.201.10/24"))
	}
	out := n.apply(exitRefused, wish("192.168.100.10/24", "2001:db8:200::10/64"))
	for _, want := range []string{"192.168.100.10 is held by the neighbour with MAC ", "2001:db8:200::10 is held by the neighbour with MAC ", "give the NIC another address"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not said:\n%s", want, out)
		}
	}
	if strings.Count(out, "Failed AddressInUse") != 2 {
		t.Errorf("not both are refused:\n%s", out)
	}
	n.wantLink(mac3, "multinic3 up mtu 1500 192.168.201.10/24")
	n.wantLink(mac1, "eth1 down mtu 1500")
	n.wantLink(mac2, "eth2 down mtu 1500")

	n.start(wish("192.168.100.11/24", "2001:db8:200::11/64"))
	n.wantLink(mac1, "multinic1 up mtu 1500 192.168.100.11/24")
	n.wantLink(mac2, "multinic2 up mtu 1500 2001:db8:200::11/64")
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured, multinic3 Configured Configured")
}
