package testhost

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

const (
	drivePort = "02:00:00:00:01:01" // a NIC that the cloud told cloud-init of
	laterPort = "02:00:00:00:01:02" // one that it did not
)

// soon waits until a script prints what is wanted.
func soon(t *testing.T, h *Host, what, script, want string) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if got = run(t, h, script); got == want {
			return
		}
	}
	t.Errorf("%s: got\n%s\nwant\n%s", what, got, want)
}

// One host of each kind as a cloud makes it: the stock case, in which every NIC has a lease and a
// default route.
func TestHostsAsACloudMakesThem(t *testing.T) {
	for name, test := range map[string]struct {
		options Options
		written string // cloud-init's file
		owner   string // of the two extra NICs
	}{
		"networkd, Debian 12": {Options{Flavour: Networkd, Suite: "bookworm"}, "644 /etc/netplan/50-cloud-init.yaml", "10-netplan-all-en.network 10-netplan-all-en.network"},
		"networkd, Debian 13": {Options{Flavour: Networkd, Suite: "trixie"}, "600 /etc/netplan/50-cloud-init.yaml", "10-netplan-all-en.network 10-netplan-all-en.network"},
		"keyfiles, Debian 12": {Options{Flavour: NetworkManager, Suite: "bookworm"}, "600 /etc/NetworkManager/system-connections/cloud-init-ens4.nmconnection", "cloud-init ens4 Wired connection 1"},
		"keyfiles, Debian 13": {Options{Flavour: NetworkManager, Suite: "trixie"}, "600 /etc/NetworkManager/system-connections/cloud-init-ens4.nmconnection", "cloud-init ens4 Wired connection 1"},
		"ifcfg files":         {Options{Flavour: Ifcfg, Suite: "bookworm"}, "644 /etc/sysconfig/network-scripts/ifcfg-ens4", "System ens4 Wired connection 1"},
		"netplan for NetworkManager": {Options{Flavour: NetplanNetworkManager, Suite: "bookworm"}, "644 /etc/netplan/50-cloud-init.yaml",
			"netplan-ens4 Wired connection 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := world(t)
			server, err := w.ServeDHCP(t.Context(), "data1", DHCP{Network: netip.MustParsePrefix("192.168.100.0/24"), Fixed: map[string]netip.Addr{drivePort: netip.MustParseAddr("192.168.100.10")}})
			if err != nil {
				t.Fatal(err)
			}
			test.options.NICs = []NIC{{MAC: drivePort}, {MAC: laterPort}}
			test.options.Cloud = &Cloud{Ports: []string{drivePort}}
			h := bootHost(t, w, test.options)
			file := test.written[4:]
			check := func(when string) {
				t.Helper()
				if failed := h.FailedUnits(t.Context()); len(failed) > 0 {
					t.Errorf("%s: failed units %q, want none", when, failed)
				}
				later, err := server.Lease(laterPort)
				if err != nil {
					t.Fatal(err)
				}
				soon(t, h, "names, by MAC", "cat /sys/class/net/ens[345]/address | xargs", h.PrimaryMAC+" "+drivePort+" "+laterPort)
				soon(t, h, "routers", "ip -4 route show default | cut -d ' ' -f 3,5,7 | sort", "192.0.2.1 ens3 dhcp\n192.168.100.1 ens4 dhcp\n192.168.100.1 ens5 dhcp")
				soon(t, h, "addresses", "ip -4 -oneline address show scope global dynamic | awk '{print $2, $4}' | sed 's/ens5 .*/ens5/' | sort",
					"ens3 "+h.Address.String()+"\nens4 192.168.100.10/24\nens5")
				if later.IsValid() {
					soon(t, h, "the address of the NIC that was attached later", "ip -4 -oneline address show dev ens5 | awk '{print $4}'", later.String()+"/24")
				}
				owner := "nmcli -g GENERAL.CONNECTION device show ens4 | head -1; nmcli -g GENERAL.CONNECTION device show ens5 | head -1"
				if h.Flavour == Networkd {
					owner = "networkctl status ens4 ens5 | sed -n 's,.*Network File: .*/,,p'"
				}
				soon(t, h, "what brought that", "("+owner+") | xargs", test.owner)
				if got := run(t, h, "stat -c '%a %n' "+file); got != test.written {
					t.Errorf("%s: got %s, want %s", when, got, test.written)
				}
			}
			check("at first")
			if h.Flavour == Networkd { // metrics are equal there, and one apart for each link else
				soon(t, h, "metrics", "ip -4 route show default | grep -c 'metric 100 *$'", "3")
			}
			if got := server.Given(laterPort); got != 1 {
				t.Errorf("the NIC that was attached later was given a lease %d times, want once:\n%s", got, server.Log())
			}

			// At a boot cloud-init undoes what it finds: a file that is gone is written, and the
			// NIC that it knows is called as it was.
			run(t, h, "rm "+file+`
				mkdir -p /etc/systemd/network
				printf '[Match]\nMACAddress=`+drivePort+`\n[Link]\nName=other0\n' >/etc/systemd/network/00-other.link`)
			if err := h.Reboot(t.Context()); err != nil {
				t.Fatal(err)
			}
			check("after a boot")
			if got := h.UnitJournal(t.Context(), cloudInitUnitName); !strings.Contains(got, "renamed other0 to ens4") || !strings.Contains(got, "wrote "+file) {
				t.Errorf("cloud-init said\n%s", got)
			}
			if leases, err := server.Leases(); err != nil || len(leases) != 2 || leases[0].MAC != drivePort || leases[1].MAC != laterPort {
				t.Errorf("leases are %v, %v", leases, err)
			}
		})
	}
}

func TestADHCPServer(t *testing.T) {
	w := world(t)
	network := netip.MustParsePrefix("192.168.100.0/24")
	server, err := w.ServeDHCP(t.Context(), "data1", DHCP{Network: network, NoRouter: true, Renew: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	h := bootHost(t, w, Options{Cloud: &Cloud{StaticPrimary: true, Ports: []string{laterPort}}, NICs: []NIC{{MAC: laterPort}}})
	given := func(atLeast int) string {
		for deadline := time.Now().Add(60 * time.Second); server.Given(laterPort) < atLeast; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("given %d times, want %d at least:\n%s", server.Given(laterPort), atLeast, server.Log())
			}
		}
		lease, err := server.Lease(laterPort)
		if err != nil || !network.Contains(lease) {
			t.Fatalf("the lease is %v, %v", lease, err)
		}
		return lease.String() + "/24"
	}
	const address = "ip -4 -oneline address show dev ens4 | awk '{print $4}'"
	first := given(3)
	soon(t, h, "the address", address, first)
	soon(t, h, "default routes, of which a network without a router makes none", "ip -4 route show default", "default via 192.0.2.1 dev ens3 proto static")

	// Dead it answers nobody, and knows later what it gave.
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := h.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := given(1); again != first {
		t.Errorf("the lease is %s, was %s", again, first)
	}
	soon(t, h, "the address", address, first)
}

// A segment that has stopped: its router answers nobody, and hosts see no carrier go.
func TestASegmentStops(t *testing.T) {
	w := world(t)
	h := bootHost(t, w, Options{})
	const ping = "ping -qc1 -W5 192.0.2.1 >/dev/null && echo answers || echo silent"
	soon(t, h, "the gateway", ping, "answers")
	if err := w.SetSegment(managementSegment, false); err != nil {
		t.Fatal(err)
	}
	soon(t, h, "the gateway of a segment that stopped", ping, "silent")
	if got := run(t, h, "cat /sys/class/net/eth0/carrier; ip -4 route show default"); got != "1\ndefault via 192.0.2.1 dev eth0 proto static" {
		t.Errorf("the host sees %s", got)
	}
	if err := w.SetSegment(managementSegment, true); err != nil {
		t.Fatal(err)
	}
	soon(t, h, "the gateway of one that goes on", ping, "answers")
}
