package fault

import (
	"strings"
	"testing"
	"time"

	"multinicd/test/bed"
)

// persistent leaves out what no boot keeps: the files below /run, which networkd's generator makes at each boot.
func persistent(text string) string {
	head, _, _ := strings.Cut(text, "\n/run/")
	return head
}

// boots waits until the host that has just booted, without multinicd, is as before or as wanted.
func (n *node) boots(before, wanted string) string {
	n.t.Helper()
	deadline := time.Now().Add(bed.Patience)
	for {
		looked := time.Now()
		switch got := persistent(n.text()); {
		case got == before:
			return asBefore
		case got == wanted:
			return asWanted
		case time.Now().After(deadline):
			n.t.Errorf("the host boots as\n%s\nbefore it was\n%s\nwanted is\n%s", got, before, wanted)
			return "between"
		}
		time.Sleep(bed.Rest(50*time.Millisecond, looked)) // and looks again
	}
}

// cuts are where the power goes, operation by operation, over and over.
func (s stand) cuts() []string {
	if s.name == onNetplan.name {
		return []string{"addresses", "persist", "persist", "record", "runtime#2", "record"}
	}
	return []string{"load", "verify", "settle", "record", "release", "record"}
}

// The power is cut when the change has come to a point, and the host is booted with new NICs: first alone, then multinicd starts.
// On hosts of NetworkManager "alone" is with multinicd-recover.service, which puts the files back before NetworkManager reads them.
func TestPowerCutInMidChange(t *testing.T) { eachStand(t, powerCut) }

func powerCut(t *testing.T, s stand) {
	n := s.prepare(t)
	wanted := s.texts(n)
	table := newMatrix("power"+s.suffix, "power cut right before", s.name+": the boot, without multinicd", s.name+": after its one start")
	for i, point := range s.cuts() {
		o := operations[i%len(operations)]
		before, want := persistent(n.text()), persistent(wanted[o.name])
		n.wish(o.object)
		n.startAndDie(point)
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := n.Boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		if state := n.Sh("systemctl show --property=ActiveState --value multinicd-recover"); state == "failed" {
			t.Errorf("power cut before %s of %s: multinicd-recover.service says\n%s", point, o.name, n.UnitJournal(t.Context(), "multinicd-recover.service"))
		}
		row := rowOf(point) + " of " + o.name
		table.set(row, table.columns[0], n.boots(before, want))
		n.startAndDie("recovered")
		table.set(row, table.columns[1], n.boots(before, want))
		if t.Failed() {
			return
		}
		n.start()
		n.eventually("status after "+o.name, o.nics, n.nics)
		n.eventually("the host after "+o.name, want, func() string { return persistent(n.text()) })
		n.stop()
	}
	table.publish(t)
}
