package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"multinicd/test/bed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

// On a host as the cloud made it a NIC comes before the object names it, as OpenStack attaches
// ports, or after, or at the same moment: while the host's own network manager is at it, or has it,
// or we have.
func TestANICComesBeforeAfterAndWithItsObject(t *testing.T) {
	t.Parallel()
	rounds := 2
	if len(prerequisite.Long(rounds)) > 0 {
		rounds = 20
	}
	for _, k := range stockKinds(netplan13+asTheCloud, keyfiles12+asTheCloud) {
		orders := prerequisite.Long("before", "with", "after")
		if orders == nil && k.flavour == testhost.Networkd {
			orders = []string{"with", "after"}
		} else if orders == nil {
			orders = []string{"before"}
		}
		for _, order := range orders {
			t.Run(fmt.Sprintf("%s it, %s", order, k.name), func(t *testing.T) {
				t.Parallel()
				b, server := stockBed(t)
				s := newStock(t, k, b, server, k.options([]testhost.NIC{}...), nil)
				s.start(nodeObject())
				s.wantNICs("")
				end := s.othersWatched()
				for round := 1; ; round++ {
					s.comes(order)
					when := fmt.Sprintf("in round %d", round)
					s.isOurs(when, "192.168.100.20/24")
					if round == rounds {
						break
					}
					s.goes()
				}
				s.gaveUpItsLease("after the last round")
				end("after all rounds")
				s.reboot()
				s.isOurs("after a boot", "192.168.100.20/24")
				s.gaveUpItsLease("after a boot")
			})
		}
	}
}

// comes plugs the NIC in, and has the object name it, in that order or another.
func (s *stock) comes(order string) {
	s.t.Helper()
	wish := nodeObject(nicYAML(1, mac1, "192.168.100.20/24"))
	plug := func() {
		s.t.Helper()
		if err := s.Plug(testhost.NIC{MAC: mac1, Name: s.k.nth(1)}); err != nil {
			s.t.Fatal(err)
		}
	}
	switch order {
	case "before":
		plug()
		s.hasItsLease()
		s.file(objectFile, wish)
	case "after":
		s.file(objectFile, wish)
		s.wantNICs("multinic1 Pending WaitingForNIC")
		plug()
	default: // while the daemon starts, reads the object and looks at the links
		s.file(objectFile, wish)
		started := make(chan error)
		go func() { started <- s.RestartDaemon(s.t.Context()) }()
		time.Sleep(rand.N(300 * time.Millisecond)) // anywhere in that
		plug()
		if err := <-started; err != nil {
			s.t.Fatal(err)
		}
	}
}

// goes takes the NIC out of the object, and then out of the host.
func (s *stock) goes() {
	s.t.Helper()
	s.file(objectFile, nodeObject())
	s.wantNICs("")
	if err := s.Unplug(mac1); err != nil {
		s.t.Fatal(err)
	}
	bed.Eventually(s.t, "the NIC that was unplugged", "absent", func() string { return s.link(mac1) })
}
