package e2e

import (
	"fmt"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// From the first boot with our YAML on, networkd has the NIC too, with what it read then: each of these makes it act on that.
func TestAChangeOutlivesWhatNetworkdRemembers(t *testing.T) {
	t.Parallel()
	for _, suite := range onDebian("trixie") { // systemd 252, and 257
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			outlivesNetworkd(t, suite)
		})
	}
}

func outlivesNetworkd(t *testing.T, suite string) {
	n := fileNode(t, bed.New(t), testhost.Options{Suite: suite}, nil)
	address := 10
	wish := func() string {
		return nodeObject(nicYAML(1, mac1, fmt.Sprintf("192.168.100.%d/24", address), fmt.Sprintf("addresses: [\"2001:db8:100::%d/64\"]", address)), nicYAML(2, mac2, "192.168.200.10/24"))
	}
	n.apply(exitDone, wish())
	n.must("systemctl", "enable", "multinicd")
	n.file(objectFile, wish())
	n.reboot()
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")

	traps := []struct {
		name string
		do   func()
	}{
		{"a carrier flap", func() {
			for _, up := range []bool{false, true} {
				if err := n.SetCarrier(mac1, up); err != nil {
					t.Fatal(err)
				}
				want := "no-carrier\n"
				if up {
					want = "routable\n"
				}
				n.eventually("networkd's word on the link", want, func() string {
					return n.must("sh", "-c", "networkctl list --no-legend --no-pager multinic1 | awk '{print $4}'")
				})
			}
		}},
		{"a restart of networkd", func() { n.must("systemctl", "restart", "systemd-networkd") }},
		{"networkctl reconfigure", func() { n.must("networkctl", "reconfigure", "multinic1") }},
		{"systemctl daemon-reload", func() { n.must("systemctl", "daemon-reload") }},
		{"daemon-reload and networkctl reload", func() { n.must("systemctl", "daemon-reload"); n.must("networkctl", "reload") }},
		{"a boot", func() { n.reboot() }},
	}
	for _, trap := range traps {
		address++
		n.file(objectFile, wish())
		n.must("systemctl", "restart", "multinicd")
		want := fmt.Sprintf("multinic1 up mtu 1500 192.168.100.%[1]d/24 2001:db8:100::%[1]d/64", address)
		n.wantLink(mac1, want)
		n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
		trap.do()
		t.Logf("%s: right after it: %s", trap.name, n.link(mac1))
		n.wantLinksStay(map[string]string{mac1: want, mac2: "multinic2 up mtu 1500 192.168.200.10/24"})
		n.eventually("routes after "+trap.name, "one", func() string {
			if routes := n.must("ip", "-4", "route", "show", "dev", "multinic1"); strings.Count(routes, "\n") != 1 {
				return routes
			}
			return "one"
		})
	}
}

// The same without the daemon: what networkd reads when it starts is what is wanted.
func TestARestartOfNetworkdAloneKeepsAChange(t *testing.T) {
	t.Parallel()
	n := fileNode(t, bed.New(t), testhost.Options{}, nil)
	n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1400")))
	n.reboot()
	n.wantLink(mac1, "multinic1 up mtu 1400 192.168.100.10/24")
	n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.11/24", "mtu: 1300, routes: [{to: 10.20.0.0/16, via: 192.168.100.1}]")))
	const want = "multinic1 up mtu 1300 192.168.100.11/24"
	there := func() string { // networkd sets routes after addresses
		if route := n.must("ip", "route", "show", "10.20.0.0/16"); !strings.Contains(route, "via 192.168.100.1 dev multinic1") {
			return route
		}
		return "true"
	}
	n.must("systemctl", "restart", "systemd-networkd")
	n.wantLinkStays(mac1, want)
	n.eventually("the route after a restart of networkd", "true", there)
	n.reboot()
	n.wantLinkStays(mac1, want)
	n.eventually("the route after a boot", "true", there)

	// What netplan generates from our YAML is, byte for byte, what we wrote in its place.
	const list = "cd /run/systemd/network && for f in *multinic*; do echo $f; cat $f; done"
	n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.12/24", "mtu: 1350, addresses: [192.168.101.12/24, \"2001:db8::12/64\"], routes: [{to: 10.21.0.0/16, via: 192.168.101.1, metric: 7}, {to: 10.22.0.0/16, table: 10001}]")))
	ours := n.must("sh", "-c", list)
	n.must("systemctl", "daemon-reload")
	if theirs := n.must("sh", "-c", list); theirs != ours {
		t.Errorf("we wrote\n%s\nnetplan's generator writes\n%s", ours, theirs)
	}
	n.sameAgainDoesNothing("multinicd", "apply", "-f", objectFile)
}
