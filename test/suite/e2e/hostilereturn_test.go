package e2e

import (
	"sync"

	"multinicd/test/bed/attacker"
	"multinicd/test/bed/wire"
)

// coming is a row about a NIC of ours that has to get its address anew, while a neighbour answers each question for it.
type coming struct {
	name, segment string
	// lose has the NIC lose its address.
	lose func(h *hostile)
	says string // by the daemon, of both NICs
}

var comings = []coming{
	{"its address is deleted, and each ARP probe is answered", "data1", func(h *hostile) {
		h.must("ip", "address", "flush", "dev", "multinic1", "scope", "global")
	}, "multinic1 Failed AddressInUse, multinic2 Configured Configured"},
	{"its address is put there anew, and the kernel's check is answered", "data2", func(h *hostile) {
		h.must("sh", "-ec", "printf 'address del 2001:db8:200::10/64 dev multinic2\naddress add 2001:db8:200::10/64 dev multinic2\n' | ip -force -batch -")
	}, "multinic1 Configured Configured, multinic2 Failed AddressInUse"},
	{"its link is set down and up, and each probe and check of an address is answered", "data2", func(h *hostile) {
		h.must("sh", "-ec", "ip link set multinic2 down; ip link set multinic2 up; ip address flush dev multinic2 scope global")
	}, "multinic1 Configured Configured, multinic2 Failed AddressInUse"},
}

var moreComings = []coming{
	// The kernel asks again, and believes no answer.
	{"its cable is pulled and put back, and each probe and check of an address is answered", "data2", func(h *hostile) {
		for _, up := range []bool{false, true} {
			if err := h.SetCarrier(mac2, up); err != nil {
				h.t.Fatal(err)
			}
		}
		h.wantLinksStay(map[string]string{mac1: hostile1, mac2: hostile2})
	}, allWell},
}

// comesBack has the NIC lose its address under attack, and get it back once that is over. The other NIC stays as it is.
func (h *hostile) comesBack(c coming) {
	a := h.by[c.segment]
	stop := sync.OnceFunc(h.denies(a))
	defer stop()
	a.Asked()
	reported, looked := h.reports(), h.passes()
	c.lose(h)
	h.wantNICs(c.says)
	stop()
	h.wantNICs(allWell)
	h.wantLinksStay(map[string]string{mac1: hostile1, mac2: hostile2})
	if asked, got, said := len(a.Asked()), h.passes()-looked, h.reports()-reported; asked > 60 || got > 40 || said > 8 {
		h.t.Errorf("the node has asked %d times, the daemon looked %d times, and it reported %d times", asked, got, said)
	}
}

// denies has an attacker answer for each address that somebody wants to have.
func (h *hostile) denies(a *attacker.Attacker) (stop func()) {
	a.Answer(func(q wire.Question) [][]byte {
		if !q.Probe {
			return nil
		}
		return [][]byte{yes(a.MAC, q)}
	})
	return func() { a.Answer(nil) }
}
