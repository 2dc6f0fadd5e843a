package e2e

import (
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// A DHCP server of an attacker has given a NIC its lease before the object comes: an MTU, a name server, a default route, and routes that
// draw what is behind other routers. All of it goes with the lease, and does not come back.
func TestWhatAnAttackersLeaseBroughtGoesWhenTheNICIsTaken(t *testing.T) {
	t.Parallel()
	for _, k := range stockKinds(netplan13 + asTheCloud) {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			b, server := stockBed(t, func(o *testhost.DHCP) { o.More = rogue("192.168.100.0/24").More })
			s := newStock(t, k, b, server, k.options(bed.NICs(mac1)...), nil)
			s.hasItsLease()
			s.eventually("the way to somebody behind the routers", k.nth(1), s.way)
			servers := func() string {
				return s.must("sh", "-c", "grep -rlsF "+rogueServer+" /etc/resolv.conf /run/systemd/resolve /run/systemd/netif /run/NetworkManager || true")
			}
			if servers() == "" {
				t.Fatal("nobody has heard of the name server: the row shows nothing")
			}
			end := s.othersWatched()
			s.start(nodeObject(nicYAML(1, mac1, "192.168.100.20/24", "mtu: 1500"))) // without, a link keeps the MTU that it has
			right := func(when string) {
				t.Helper()
				s.isOurs(when, "192.168.100.20/24")
				s.wantStays("who knows the attacker's name server "+when, "", servers)
				s.eventually("the way to somebody behind the routers "+when, s.Primary, s.way)
				if got := s.must("sh", "-c", "ip -4 route show table all dev multinic1 | grep -v -e 192.168.100 || true"); strings.TrimSpace(got) != "" {
					t.Errorf("%s: it has routes of the lease:\n%s", when, got)
				}
			}
			right("at once")
			s.gaveUpItsLease("at once")
			end("taken over")
			s.reboot()
			right("after a boot")
			if n := server.Given(mac1); n > 0 {
				s.gaveUpItsLease("after a boot")
			}
		})
	}
}
