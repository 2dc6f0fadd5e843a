package networkmanager

import (
	"slices"
	"testing"
	"time"

	"multinicd/test/bed"
	"multinicd/test/bed/monitor"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

// flavours of the hosts, by backend.
var flavours = map[string]testhost.Flavour{"networkmanager": testhost.NetworkManager, "ifcfg": testhost.Ifcfg, "netplan": testhost.NetplanNetworkManager}

// A profile more touches no link but its own; a profile that is read and reapplied as it was touches none.
func TestAProfileTouchesItsOwnLinkOnly(t *testing.T) {
	const script, yaml = "/etc/sysconfig/network-scripts/ifcfg-multinic1", "/etc/netplan/90-multinic1.yaml"
	type row struct{ suite, backend, file string }
	rows := append([]row{{"bookworm", "networkmanager", file1}}, prerequisite.Long(row{"trixie", "networkmanager", file1}, row{"bookworm", "ifcfg", script},
		row{"bookworm", "netplan", yaml}, row{"trixie", "netplan", yaml})...)
	for _, row := range rows {
		t.Run(row.backend+" on "+row.suite, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, bed.New(t), testhost.Options{Suite: row.suite, Flavour: flavours[row.backend], NICs: nics("e")}, row.backend)
			checked := func() {
				t.Helper()
				n.eventually("addresses that the kernel still checks", "", func() string { return n.Sh("ip -o -6 address show tentative") })
			}
			first := entry(1, "192.168.100.10/24", "addresses: [\"2001:db8::10/64\"]", "mtu: 1400", "routes: [{to: 10.20.0.0/16, via: 192.168.100.1}]")
			n.wish(first)
			n.done()
			checked()
			m, err := n.MonitorKernel()
			if err != nil {
				t.Fatal(err)
			}
			defer m.Stop()
			n.wish(first, entry(2, "192.168.101.10/24", "addresses: [\"2001:db8:1::10/64\"]", "mtu: 1300"))
			n.done()
			checked()
			events, err := m.Events()
			if err != nil {
				t.Fatal(err)
			}
			own := []string{"eth2", "multinic2"}
			if !slices.ContainsFunc(events, func(e monitor.Event) bool { return e.Link == own[1] && e.What == "address" && !e.Gone }) {
				t.Errorf("the monitor has not seen the NIC's own address: %v", events)
			}
			for _, e := range events {
				if !slices.Contains(own, e.Link) {
					t.Errorf("adding a profile touches something else: %s", e)
				}
			}
			m.Stop()

			if again := n.events(func() { n.Sh("nmcli device reapply multinic1") }); len(again) > 0 {
				t.Errorf("NetworkManager reapplies the profile as it is, and causes %v", again)
			}
			// The file says the same in other bytes: it is written, read and reapplied.
			n.Sh("sed -i 1d " + row.file)
			before := n.Sh("md5sum " + row.file)
			if again := n.events(n.done); len(again) > 0 {
				t.Errorf("the same profile written, loaded and reapplied causes %v", again)
			}
			if n.Sh("md5sum "+row.file) == before {
				t.Errorf("%s was not written again, so that this shows nothing", row.file)
			}
		})
	}
}

// NetworkManager lets go of a link when the administrator's scripts have run, and sets the MTU then that the link had when the profile came: after a boot
// that is ours. The NIC is as it was found all the same, since what we do to it comes behind that.
func TestANICIsGivenBackBehindNetworkManagersOwnDoings(t *testing.T) {
	type row struct{ suite, backend string }
	rows := append([]row{{"bookworm", "netplan"}}, prerequisite.Long(row{"trixie", "netplan"}, row{"bookworm", "networkmanager"}, row{"trixie", "networkmanager"})...)
	for _, row := range rows {
		t.Run(row.backend+" on "+row.suite, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, bed.New(t), testhost.Options{Suite: row.suite, Flavour: flavours[row.backend], NICs: nics("g")}, row.backend)
			n.Sh("ip link set eth1 mtu 1450") // as it is found
			n.wish(entry(1, "192.168.100.10/24", "mtu: 1400"))
			n.done()
			// NetworkManager has the link as wanted, and the profile not yet in force, when the NIC is given back.
			n.Sh(`printf '#!/bin/sh\nsleep 2\n' >/etc/NetworkManager/dispatcher.d/pre-up.d/50-slow; chmod 755 /etc/NetworkManager/dispatcher.d/pre-up.d/50-slow`)
			if err := n.Reboot(t.Context()); err != nil {
				t.Fatal(err)
			}
			link := func() string {
				return n.Sh("ip -o link show multinic1 | grep -o 'mtu [0-9]*'; ip -br -4 address show multinic1 | tr -s ' ' | cut -d' ' -f3")
			}
			n.eventually("the NIC after a boot", "mtu 1400\n192.168.100.10/24", link)
			n.Sh(`printf '#!/bin/sh\necho begins >>/run/slow\nsleep 2\necho ends >>/run/slow\n' >/etc/NetworkManager/dispatcher.d/pre-down.d/50-slow
				chmod 755 /etc/NetworkManager/dispatcher.d/pre-down.d/50-slow`)
			n.wish()
			n.done()
			if said := n.Sh("cat /run/slow"); said != "begins\nends" {
				t.Errorf("it was given back before NetworkManager had left it, whose script says %q", said)
			}
			mtu := func() string {
				return n.Sh("ip -o link show eth1 | grep -o 'mtu [0-9]*'; ip -br -4 address show eth1 | tr -s ' ' | cut -d' ' -f3")
			}
			for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				if got := mtu(); got != "mtu 1450" {
					t.Fatalf("the NIC that was given back has %q, and was found with an MTU of 1450", got)
				}
			}
		})
	}
}
