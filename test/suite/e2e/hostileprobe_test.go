package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"multinicd/nic"
	"multinicd/test/bed/attacker"
	"multinicd/test/bed/testhost"
	"multinicd/test/bed/wire"
)

// probing is a row about the third NIC: it is plugged in while a neighbour on its segment does this.
type probing struct {
	name string
	// do begins, and says what ends it.
	do func(h *hostile, a *attacker.Attacker) (stop func())
	// says is part of the NIC's message while it goes on: an address, and who has it. Empty: the NIC is configured all the same.
	says string
	// once: it ends by itself.
	once bool
}

// answers has the attacker answer the questions for the addresses of the third NIC that it is given.
func answers(a *attacker.Attacker, which func(q wire.Question) [][]byte) (stop func()) {
	a.Answer(func(q wire.Question) [][]byte {
		if q.Target != own3 && q.Target != own3v6 {
			return nil
		}
		return which(q)
	})
	return func() { a.Answer(nil) }
}

// yes claims what is asked for.
func yes(from nic.MAC, q wire.Question) []byte {
	if q.Target.Is6() {
		return wire.Advertisement(from, q.Target)
	}
	return wire.To(q.From, wire.ARP(wire.Reply, from, q.Target, netip.IPv4Unspecified()))
}

var probings = []probing{
	{name: "it answers each ARP probe", says: "192.168.3.10 is held by the neighbour with MAC ATTACKER", do: func(_ *hostile, a *attacker.Attacker) func() {
		return answers(a, func(q wire.Question) [][]byte {
			if q.Target.Is6() {
				return nil
			}
			return [][]byte{yes(a.MAC, q)}
		})
	}},
	{name: "it answers the kernel's own check alone", says: "2001:db8:3::10 is held by a neighbour, says the kernel's duplicate address detection", do: func(_ *hostile, a *attacker.Attacker) func() {
		return answers(a, func(q wire.Question) [][]byte {
			if !q.Kernel {
				return nil
			}
			return [][]byte{yes(a.MAC, q)}
		})
	}},
	{name: "it answers with VLAN tags", do: func(_ *hostile, a *attacker.Attacker) func() {
		return answers(a, func(q wire.Question) [][]byte {
			b := yes(a.MAC, q)
			return [][]byte{wire.Tagged(b, wire.VLAN, 100), wire.Tagged(b, wire.Service, 5, wire.VLAN, 6)}
		})
	}},
	{name: "it floods the segment, with ARP about other addresses and router advertisements", do: func(h *hostile, a *attacker.Attacker) func() {
		frames := [][]byte{h.router("data3")}
		for range 200 {
			frames = append(frames, wire.ARP(wire.Reply, a.MAC, netip.MustParseAddr("192.168.3.77"), netip.MustParseAddr("192.168.3.78")))
		}
		return h.storm("data3", 5*time.Millisecond, frames...)
	}},
}

var moreProbings = []probing{
	{name: "it answers each check of an IPv6 address", says: "2001:db8:3::10 is held by the neighbour with MAC ATTACKER", do: func(_ *hostile, a *attacker.Attacker) func() {
		return answers(a, func(q wire.Question) [][]byte {
			if q.Target.Is4() {
				return nil
			}
			return [][]byte{yes(a.MAC, q)}
		})
	}},
	{name: "it answers once, and never again", says: "192.168.3.10 is held by the neighbour with MAC ATTACKER", once: true, do: func(_ *hostile, a *attacker.Attacker) func() {
		said := false
		return answers(a, func(q wire.Question) [][]byte {
			if said || q.Target.Is6() {
				return nil
			}
			said = true
			return [][]byte{yes(a.MAC, q)}
		})
	}},
	{name: "it answers ARP probes in the NIC's own name", do: func(_ *hostile, a *attacker.Attacker) func() {
		return answers(a, func(q wire.Question) [][]byte {
			if q.Target.Is6() {
				return nil
			}
			return [][]byte{yes(q.From, q)}
		})
	}},
}

// comesThrough plugs the third NIC in under attack, and takes it out again.
func (h *hostile) comesThrough(p probing) {
	a := h.by["data3"]
	const third = ", multinic3 "
	h.wants(nicYAML(3, mac3, "192.168.3.10/24", "addresses: [\"2001:db8:3::10/64\"]"))
	h.wantNICs(allWell + third + "Pending WaitingForNIC")
	reported, looked := h.reports(), h.passes()
	stop := sync.OnceFunc(p.do(h, a))
	defer func() { // for the next row, whatever comes of this one
		stop()
		h.wants()
		if err := h.Unplug(mac3); err != nil {
			h.t.Error(err)
		}
		h.wantNICs(allWell)
	}()
	a.Asked()
	if err := h.Plug(testhost.NIC{MAC: mac3, Segment: "data3"}); err != nil {
		h.t.Fatal(err)
	}
	if p.says != "" {
		h.wantNICs(allWell + third + "Failed AddressInUse")
		says := strings.ReplaceAll(p.says, "ATTACKER", a.MAC.String())
		h.eventually("what is said of the NIC", says, func() string {
			s, err := h.Status()
			if err != nil || len(s.NICs) != 3 || !strings.Contains(s.NICs[2].Message, says) {
				return fmt.Sprint(err, s.NICs)
			}
			return says
		})
		h.c.wantState(h.Name, "Failed", "2/3")
		if !p.once {
			stop()
		}
	}
	h.wantNICs(allWell + third + "Configured Configured")
	h.c.wantState(h.Name, "Configured", "3/3")
	h.wantLinksStay(map[string]string{mac1: hostile1, mac2: hostile2, mac3: hostile3})
	if routes := h.must("sh", "-c", "ip -6 route show table all dev multinic3 | grep -e default -e bad: || true"); routes != "" {
		h.t.Errorf("it has routes by the neighbour:\n%s", routes)
	}
	// A try asks for each of the two addresses three times at most, and there are two or three tries; the kernel asks too. Each try is a handful
	// of looks, as each row of the status is a report.
	if asked, got, said := len(a.Asked()), h.passes()-looked, h.reports()-reported; asked > 60 || got > 40 || said > 8 {
		h.t.Errorf("the node has asked %d times, the daemon looked %d times, and it reported %d times", asked, got, said)
	}
}
