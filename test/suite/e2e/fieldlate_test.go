package e2e

import (
	"fmt"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/rootfs"
	"multinicd/test/bed/testhost"
)

// The package comes to a stock host that runs, as most do, and the extra NIC has its lease already. Before
// netplan 1.2 the installation has netplan's generator write all files of networkd anew, so that networkd may
// not be asked to read them: it has to let go of this one link, by what it has in mind.
func TestThePackageComesToAStockHostThatRuns(t *testing.T) {
	t.Parallel()
	for _, k := range stockKinds(netplan12 + asTheCloud) {
		addresses := map[string]string{"another address": "192.168.100.20/24"}
		for _, leased := range prerequisite.Long("192.168.100.10/24") {
			addresses["the address that is leased"] = leased
		}
		for name, cidr := range addresses {
			t.Run(name+", "+k.name, func(t *testing.T) {
				t.Parallel()
				s := lateStock(t, k)
				end := s.othersWatched()
				s.start(nodeObject(nicYAML(1, mac1, cidr)))
				s.isOurs("at once", cidr)
				if k.flavour == testhost.Networkd {
					s.eventually("the file by which networkd has the link", "", s.inMind)
				}
				s.gaveUpItsLease("at once")
				s.isOurs("after the lease's time", cidr)
				s.wantNoFight()
				end("taken over")
				for _, up := range []bool{false, true} {
					if err := s.SetCarrier(mac1, up); err != nil {
						t.Fatal(err)
					}
				}
				s.isOurs("after the carrier flapped", cidr)
				s.must("systemctl", "daemon-reload")
				s.file(objectFile, nodeObject(nicYAML(1, mac1, strings.Replace(cidr, "0/24", "1/24", 1))))
				s.isOurs("after a change", strings.Replace(cidr, "0/24", "1/24", 1))
				s.file(objectFile, nodeObject(nicYAML(1, mac1, cidr)))
				s.isOurs("after a change back", cidr)
				s.reboot()
				s.isOurs("after a boot", cidr)
				s.gaveUpItsLease("after a boot")
				s.wantNoFight()
			})
		}
	}
}

// lateStock is a host as the cloud made it, which has booted, and whose NIC has its lease, before
// multinicd is installed.
func lateStock(t *testing.T, k kind) *stock {
	t.Helper()
	b, server := stockBed(t)
	s := &stock{node: &node{Node: installed.On(t, b.HostWith(k.options(bed.NICs(mac1)...))), t: t, bed: b}, k: k, server: server}
	s.hasItsLease()
	s.must("touch", "/tmp/before")
	s.Install(settings("worker-node-01", fromFile) + k.toml)
	if k.flavour == testhost.Networkd && k.suite == rootfs.DefaultSuite {
		s.eventually("files of networkd that were written anew", "true", func() string {
			return fmt.Sprint(strings.Contains(s.must("find", "/run/systemd/network", "-newer", "/tmp/before"), ".network"))
		})
	}
	return s
}

// inMind is the file by which networkd has the NIC in hand, "" where that is one of ours or none.
func (n *node) inMind() string {
	n.t.Helper()
	return strings.TrimSpace(n.must("sh", "-c", `grep ^NETWORK_FILE= "/run/systemd/netif/links/$(cat /sys/class/net/multinic1/ifindex)" | grep -v multinic || true`))
}

// wantNoFight looks whether a repair was taken for a fight, or stood back.
func (n *node) wantNoFight() {
	n.t.Helper()
	if log := n.Journal(n.t.Context()); strings.Contains(log, "standing back") || strings.Contains(log, "DriftFighting") {
		n.t.Errorf("it was taken for a fight:\n%s", log)
	}
}

// An alternative name of the NIC has the form that the image's catch-all asks for, as enp0s4 beside ens4: networkd
// keeps the link until the next boot, and what a renewal of the lease brings goes at once, without a fight.
func TestANICThatNetworkdKeepsUntilTheBoot(t *testing.T) {
	t.Parallel()
	for _, k := range prerequisite.Long(stockKinds(netplan12+asTheCloud, netplan13+asTheCloud)...) {
		if k.flavour != testhost.Networkd {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			const cidr = "192.168.100.20/24"
			s := lateStock(t, k)
			s.must("ip", "link", "property", "add", "dev", k.nth(1), "altname", "enp0s4")
			s.start(nodeObject(nicYAML(1, mac1, cidr)))
			s.isOurs("at once", cidr)
			if log := s.Journal(t.Context()); k.suite == rootfs.DefaultSuite && !strings.Contains(log, "networkd keeps the link until the next boot") {
				t.Errorf("it is not said:\n%s", log)
			}
			s.must("sleep", "250") // two lease times
			s.isOurs("after two lease times", cidr)
			s.wantNoFight()
			s.reboot()
			s.isOurs("after a boot", cidr)
			s.gaveUpItsLease("after a boot")
		})
	}
}
