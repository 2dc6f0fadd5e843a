package fault

import (
	"slices"
	"strings"
	"testing"

	"multinicd/netplan"
	"multinicd/test/bed/testhost"
)

// serviceFault is something that a change leans on and that fails.
type serviceFault struct {
	name    string
	o       operation
	point   string // where the daemon is held while it fails; empty: it happens before the start
	inflict string
	heal    string
}

// askedBefore is the fault after which netplan need not be asked: what it accepted is kept.
const askedBefore = "D-Bus is down, and netplan was asked before"

func (s stand) serviceFaults() []serviceFault {
	add, change, remove := operations[0], operations[1], operations[2]
	const noBus, bus = "systemctl stop dbus.socket dbus.service", "systemctl start dbus.socket dbus.service"
	const hangs, goesOn = "systemctl kill --kill-whom=main --signal=SIGSTOP ", "systemctl kill --kill-whom=main --signal=SIGCONT "
	if s.name == onNetplan.name {
		const stop, start = "systemctl stop systemd-networkd.socket systemd-networkd.service", "systemctl start systemd-networkd.socket systemd-networkd.service"
		return []serviceFault{
			{"D-Bus is down", add, "", noBus, bus},
			{"D-Bus is down from `validate` on", change, "validate", noBus, bus},
			{"D-Bus is restarted before `validate`", remove, "validate", "systemctl restart dbus.service", ""},
			{"systemd-networkd is restarted before `addresses`", add, "addresses", "systemctl restart systemd-networkd.service", ""},
			{"systemd-networkd is restarted before `verify`", change, "verify", "systemctl restart systemd-networkd.service", ""},
			{"systemd-networkd is restarted before `runtime`", remove, "runtime", "systemctl restart systemd-networkd.service", ""},
			{"systemd-networkd is stopped", add, "", stop, start},
			{"systemd-networkd is stopped", change, "", stop, start},
			{"systemd-networkd is stopped", remove, "", stop, start},
			{"D-Bus hangs from `validate` on", add, "validate", hangs + "dbus.service", goesOn + "dbus.service"},
			{"D-Bus is down", change, "", noBus, bus},
			{"D-Bus is down", remove, "", noBus, bus},
			{askedBefore, change, "", noBus, bus},
		}
	}
	const (
		start = "; systemctl reset-failed NetworkManager; systemctl start NetworkManager; nm-online -qs -t 90"
		stop  = "systemctl stop NetworkManager"
		drop  = "/run/systemd/system/NetworkManager.service.d"
	)
	// NetworkManager does not outlive the bus that it is on.
	return []serviceFault{
		{"NetworkManager is stopped", add, "", stop, "true" + start},
		{"NetworkManager is stopped before `load`", change, "load", stop, "true" + start},
		{"NetworkManager is stopped before `verify`", remove, "verify", stop, "true" + start},
		{"NetworkManager is masked", add, "", stop + "; systemctl mask --runtime NetworkManager", "systemctl unmask --runtime NetworkManager" + start},
		{"NetworkManager cannot start any more", change, "", "mkdir -p " + drop + "; printf '[Service]\nExecStart=\nExecStart=/bin/false\n' >" + drop +
			"/broken.conf; systemctl daemon-reload; systemctl restart NetworkManager || true", "rm -r " + drop + "; systemctl daemon-reload" + start},
		{"NetworkManager is restarted before `release`", remove, "release", "systemctl restart NetworkManager; nm-online -qs -t 90", ""},
		{"NetworkManager hangs from `load` on", add, "load", hangs + "NetworkManager.service", goesOn + "NetworkManager.service"},
		{"D-Bus is down", change, "", noBus, bus + "; systemctl restart NetworkManager; nm-online -qs -t 90"},
		{"D-Bus is down from `load` on", remove, "load", noBus, bus + "; systemctl restart NetworkManager; nm-online -qs -t 90"},
		{"D-Bus hangs from `load` on", add, "load", hangs + "dbus.service", goesOn + "dbus.service"},
		{"NetworkManager is stopped", change, "", stop, "true" + start},
		{"NetworkManager is stopped", remove, "", stop, "true" + start},
	}
}

// What a change leans on fails: before it begins, or in its middle, where the daemon is held for as long as it takes to break something.
func TestServicesThatFail(t *testing.T) { eachStand(t, servicesFail) }

func servicesFail(t *testing.T, s stand) {
	n := s.prepare(t)
	wanted := s.texts(n)
	add, change, remove := operations[0], operations[1], operations[2]
	table := newMatrix("services"+s.suffix, "what fails, and when", s.name+": right after it", s.name+": once it works again, without a restart")
	for _, c := range slices.Concat(oneInThree(slices.Collect(slices.Chunk(s.serviceFaults(), len(operations))))...) { // add, change, remove
		n.Sh("rm -f /var/lib/multinicd/" + netplan.MemoryFile)
		if c.name == askedBefore {
			for _, o := range []operation{add, change, add} {
				n.wish(o.object)
				n.converge(o, "")
			}
		}
		before := n.text()
		n.wish(c.o.object)
		if c.point == "" {
			n.Sh(c.inflict)
			n.Sh("systemctl start --no-block multinicd")
		} else {
			n.pause(c.point)
			n.Sh(c.inflict)
			n.resume()
		}
		said, host := n.settled(c.o)
		row := c.name + " (" + c.o.name + ")"
		// networkd, once restarted, goes on by itself: what it brings back of a NIC that was given back is taken away again.
		n.eventually(c.name+": the host, one or the other", "true", func() string {
			if host == before || host == wanted[c.o.name] {
				return "true"
			}
			host = n.text()
			return host
		})
		got := n.outcome(c.name, host, before, wanted[c.o.name])
		table.set(row, table.columns[0], got)
		if truth := got == asWanted; truth != (said == c.o.nics) {
			t.Errorf("%s: the host is %s, the status says %s", c.name, got, said)
		}
		if c.heal != "" {
			n.Sh(c.heal)
		}
		n.eventually(c.name+": the status once it works again", c.o.nics, n.nics)
		n.eventually(c.name+": the host once it works again", wanted[c.o.name], n.text)
		table.set(row, table.columns[1], asWanted)
		n.stop()
		n.Sh("systemctl daemon-reload")
		if t.Failed() {
			return
		}
	}

	// The NIC is pulled out in mid-change: what is left of it is files, all of the old or all of the new.
	files := func(text string) string { _, f, _ := strings.Cut(text, "\n/etc/"); return persistent(f) }
	n.wish(remove.object)
	n.converge(remove, "")
	for _, point := range oneInThree([]string{"addresses", "persist", "record"}) {
		before := files(n.text())
		n.wish(add.object)
		n.pause(point)
		if err := n.Unplug(mac1); err != nil {
			t.Fatal(err)
		}
		n.resume()
		const waits = "multinic1 Pending WaitingForNIC, multinic2 Configured Configured"
		n.eventually("the status without the NIC", waits, n.nics)
		row := "the NIC is unplugged before " + rowOf(point) + " (add)"
		switch files(n.text()) {
		case before:
			table.set(row, table.columns[0], "files "+asBefore)
		case files(wanted[add.name]):
			table.set(row, table.columns[0], "files "+asWanted)
		default:
			t.Fatalf("unplugged at %s: the files are\n%s", point, n.text())
		}
		if err := n.Plug(testhost.NIC{MAC: mac1, Segment: "data1", Name: "eth1"}); err != nil {
			t.Fatal(err)
		}
		n.eventually("the status with the NIC", add.nics, n.nics)
		n.eventually("the host with the NIC", wanted[add.name], n.text)
		table.set(row, table.columns[1], asWanted)
		n.stop()
		n.wish(remove.object)
		n.converge(remove, "")
	}
	table.end(t)
}
