package fault

import (
	"strings"
	"testing"
	"time"
)

// persistent leaves out what no boot keeps: the files below /run, which networkd's generator makes at each boot.
func persistent(text string) string {
	head, _, _ := strings.Cut(text, "\n/run/")
	return head
}

// boots waits until the host that has just booted, without multinicd, is as before or as wanted.
func (n *node) boots(before, wanted string) string {
	n.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		switch got := persistent(n.text()); {
		case got == before:
			return asBefore
		case got == wanted:
			return asWanted
		case time.Now().After(deadline):
			n.t.Errorf("the host boots as\n%s\nbefore it was\n%s\nwanted is\n%s", got, before, wanted)
			return "between"
		}
		time.Sleep(50 * time.Millisecond) // and looks again
	}
}

// The power is cut when the change has come to a point, and the host is booted with new NICs: first alone, then multinicd starts.
func TestPowerCutInMidChange(t *testing.T) {
	t.Parallel()
	n := prepare(t)
	wanted := n.wantedTexts()
	table := newMatrix("power", "power cut right before", "netplan: the boot, without multinicd", "netplan: after its one start")
	for _, cut := range []struct {
		o     operation
		point string
	}{
		{operations[0], "addresses"},
		{operations[1], "persist"},
		{operations[2], "persist"},
		{operations[0], "record"},
		{operations[1], "runtime#2"},
		{operations[2], "record"},
	} {
		before, want := persistent(n.text()), persistent(wanted[cut.o.name])
		n.wish(cut.o.object)
		n.startAndDie(cut.point)
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := n.Boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		row := rowOf(cut.point) + " of " + cut.o.name
		table.set(row, table.columns[0], n.boots(before, want))
		n.startAndDie("recovered")
		table.set(row, table.columns[1], n.boots(before, want))
		if t.Failed() {
			return
		}
		n.start()
		n.eventually("status after "+cut.o.name, cut.o.nics, n.nics)
		n.eventually("the host after "+cut.o.name, want, func() string { return persistent(n.text()) })
		n.stop()
	}
	table.publish(t)
}
