package e2e

import (
	"fmt"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// footprint is all that could be left over: links with their addresses, routes, rules, and files of ours.
func (n *node) footprint() string {
	n.t.Helper()
	// Who made a route differs: multinicd now, networkd at a boot.
	return n.link(mac1) + "\n" + n.link(mac2) + "\n" + n.must("sh", "-c", "ip -4 route show table all | grep -v -e ' dev eth0' -e ' dev ens3' | sed 's/ proto [a-z0-9]*//' | sort; ip rule") + n.profiles()
}

func TestChangesOfAnObjectLeaveNothingOfTheOld(t *testing.T) {
	onKinds(t, brief(netplan12), nothingOfTheOld)
}

func nothingOfTheOld(t *testing.T, k kind) {
	n := kindNode(t, bed.New(t), k, bed.NICs(mac1, mac2)...)
	before := n.footprint()
	route := "routes: [{to: 10.20.0.0/16, via: 192.168.100.1}]"

	n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1400", route)))
	n.wantLink(mac1, "multinic1 up mtu 1400 192.168.100.10/24")
	one := n.footprint()
	if !strings.Contains(one, "10.20.0.0/16 via 192.168.100.1 dev multinic1") {
		t.Errorf("the route is not there:\n%s", one)
	}

	// A NIC comes, and the first one changes in all that it has.
	n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.101.10/24", "mtu: 1300"), nicYAML(2, mac2, "192.168.200.10/24", "mtu: 9000")))
	n.wantLink(mac1, "multinic1 up mtu 1300 192.168.101.10/24")
	n.wantLink(mac2, "multinic2 up mtu 9000 192.168.200.10/24")
	if two := n.footprint(); strings.Contains(two, "10.20.0.0/16") || strings.Contains(two, "192.168.100") {
		t.Errorf("something of the old is left:\n%s", two)
	}

	// The second leaves, and the first goes back: as if the second had never been there.
	n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1400", route)))
	n.eventually("after a NIC was added and removed", one, n.footprint)

	// Another name for the same NIC.
	n.apply(exitDone, nodeObject(nicYAML(7, mac1, "192.168.100.10/24", "mtu: 1400", route)))
	n.eventually("after the NIC got another id", strings.ReplaceAll(one, "multinic1", "multinic7"), n.footprint)
	// Without an MTU and an address.
	n.apply(exitDone, nodeObject("{id: 1, macAddress: \""+mac1+"\"}"))
	if got := n.link(mac1); got != "multinic1 up mtu 1500" {
		t.Errorf("named and up, nothing more: got %q", got)
	}

	n.apply(exitDone, nodeObject())
	n.wantStays("after all NICs left the object: as they were found", before, n.footprint)
}

func TestAnAddressMovesFromOneNICToAnother(t *testing.T) {
	onKinds(t, brief(netplan12), anAddressMoves)
}

func anAddressMoves(t *testing.T, k kind) {
	n := kindNode(t, bed.New(t), k, bed.NICs(mac1, mac2)...)
	const one, two = "192.168.100.10/24", "192.168.200.10/24"
	want := func(first, second string) {
		t.Helper()
		n.wantLink(mac1, strings.TrimSpace("multinic1 up mtu 1500 "+first))
		n.wantLink(mac2, strings.TrimSpace("multinic2 up mtu 1500 "+second))
		routes := n.must("sh", "-c", "ip -4 route show dev multinic1 proto kernel; echo; ip -4 route show dev multinic2 proto kernel")
		for i, part := range strings.SplitN(routes, "\n\n", 2) {
			if address := []string{first, second}[i]; address != "" && !strings.Contains(part, "src "+strings.TrimSuffix(address, "/24")) {
				t.Errorf("NIC %d has the routes %q, its address is %s", i+1, part, address)
			}
		}
		for _, address := range []string{one, two} {
			local := n.must("ip", "route", "show", "table", "local", "type", "local", strings.TrimSuffix(address, "/24"))
			if got, want := strings.Count(local, "\n"), strings.Count(first+second, address); got != want {
				t.Errorf("%s is local %d times, want %d:\n%s", address, got, want, local)
			}
		}
	}
	n.apply(exitDone, nodeObject(nicYAML(1, mac1, one), nicYAML(2, mac2, two)))
	want(one, two)
	n.apply(exitDone, nodeObject(nicYAML(1, mac1, two), nicYAML(2, mac2, one)))
	want(two, one)
	n.reboot()
	want(two, one)
	n.apply(exitDone, nodeObject("{id: 1, macAddress: \""+mac1+"\"}", nicYAML(2, mac2, two)))
	want("", two)
	n.apply(exitDone, nodeObject(nicYAML(2, mac2, one)))
	n.wantLink(mac2, "multinic2 up mtu 1500 "+one)
	// The other NIC takes over all there is of it, name and address.
	n.apply(exitDone, nodeObject(nicYAML(2, mac1, one)))
	n.wantLink(mac1, "multinic2 up mtu 1500 "+one)
	n.wantLink(mac2, "eth2 "+k.free()+" mtu 1500")
	n.reboot()
	n.wantLinksStay(map[string]string{mac1: "multinic2 up mtu 1500 " + one, mac2: "eth2 " + k.free() + " mtu 1500"})
}

func TestThirtyChangesOfAnAddressLeaveOne(t *testing.T) { onKinds(t, brief(netplan12), thirtyChanges) }

func thirtyChanges(t *testing.T, k kind) {
	n := kindNode(t, bed.New(t), k, bed.NICs(mac1, mac2)...)
	wish := func(i int) string {
		return nodeObject(nicYAML(1, mac1, fmt.Sprintf("192.168.%d.10/24", 100+i), fmt.Sprintf("routes: [{to: 10.20.0.0/16, via: 192.168.%d.1}]", 100+i)))
	}
	n.apply(exitDone, wish(0))
	n.reboot() // networkd has the first address from here on, and files of its own
	n.wantLinkStays(mac1, "multinic1 up mtu 1500 192.168.100.10/24")
	before := n.footprint()
	for i := 1; i <= 30; i++ {
		n.apply(exitDone, wish(i%30))
	}
	n.wantStays("all that is left after 30 changes", before, n.footprint)
	n.reboot()
	n.wantStays("all that is left after 30 changes and a boot", before, n.footprint)
}

func TestARemovedNICIsAsItWasFoundAlsoAfterBoots(t *testing.T) {
	onKinds(t, both(netplan13+asTheCloud), asItWasFound)
}

func asItWasFound(t *testing.T, k kind) {
	n := kindNode(t, bed.New(t), k, bed.NICs(mac1, mac2)...)
	n.must("ip", "link", "set", k.nth(2), "up", "mtu", "1450") // found up, and with an MTU of its own
	n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1400"), nicYAML(2, mac2, "192.168.200.10/24", "mtu: 1400")))
	n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1400")))
	if got, want := n.link(mac2), k.nth(2)+" up mtu 1450"; got != want && (!k.cloud || !strings.HasPrefix(got, want)) {
		t.Errorf("removed before any boot: got %q, want %q", got, want)
	}
	n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1400"), nicYAML(2, mac2, "192.168.200.10/24", "mtu: 1400")))
	n.reboot()
	n.wantLink(mac2, "multinic2 up mtu 1400 192.168.200.10/24")

	one := nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1400"))
	n.apply(exitDone, one)
	if got := n.ours(); strings.Contains(got, "multinic2") {
		t.Errorf("files of the removed NIC are left:\n%s", got)
	}
	n.start(one)
	n.wantNICs("multinic1 Configured Configured")
	// networkd still has in mind what it read at the boot.
	link := strings.Fields(n.link(mac2))[0]
	if k.flavour == testhost.Networkd {
		n.must("networkctl", "reconfigure", link)
	} else {
		n.must("nmcli", "connection", "reload")
	}
	n.wantStays("addresses of the removed NIC", "", func() string {
		return n.must("sh", "-c", "ip -4 -oneline address show dev "+link+" | grep -v ' dynamic ' || true") // except a lease
	})
	n.must("systemctl", "stop", "multinicd")
	n.reboot()
	n.wantLinkStays(mac1, "multinic1 up mtu 1400 192.168.100.10/24")
	n.givenBack(k, 2, mac2, true)
}
