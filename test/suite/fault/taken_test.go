package fault

import (
	"slices"
	"strings"
	"testing"

	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

const mac3 = "02:00:00:00:01:03"

// on is the stand on a Debian of that name.
func (s stand) on(suite string) stand {
	s.name += " on " + suite
	s.options.Suite = suite
	return s
}

// The daemon is killed right behind a rename, and before it is back a NIC is plugged in that gets the old name. It starts all the same, and repairs another
// NIC; the one says what is in its way, everything but its name is as before, and what runs by hand says so too. Once the name is free the NIC is as
// wanted, by itself.
func TestTheOldNameIsTakenWhileTheDaemonIsDown(t *testing.T) {
	t.Parallel()
	netplanManager := managerStands[2]
	for _, s := range append([]stand{onNetplan.on("bookworm"), managerStands[0].on("bookworm")},
		prerequisite.Long(onNetplan.on("trixie"), managerStands[0].on("trixie"), managerStands[1], netplanManager.on("bookworm"), netplanManager.on("trixie"))...) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			n := s.prepare(t)
			wanted, steps := n.walk()
			add := operations[0]
			rename := slices.Index(steps[add.name], "rename")
			if rename < 0 {
				t.Fatalf("the steps are %v", steps[add.name])
			}
			old, _, _ := strings.Cut(n.Link(mac1), " ")
			half := strings.Replace(n.text(), mac1+" "+old+" ", mac1+" multinic1 ", 1) // all but the name is as before
			n.wish(add.object)
			n.startAndDie(steps[add.name][rename+1])
			if got := n.Link(mac1); !strings.HasPrefix(got, "multinic1 ") {
				t.Fatalf("killed behind the rename, and the link is %s", got)
			}
			if err := n.Plug(testhost.NIC{MAC: mac3, Segment: "data2", Name: old}); err != nil {
				t.Fatal(err)
			}
			n.Sh("ip address flush dev multinic2 scope global")

			const halfWay = "multinic1 Failed RollbackFailed, multinic2 Configured Configured"
			for range 2 { // a restart is no way out, and does no harm
				n.start()
				n.eventually("status while the name is taken", halfWay, n.nics)
				if said := n.message(mac1); !strings.Contains(said, mac3) || !strings.Contains(said, old) {
					t.Errorf("the status says %q, and not who has the name %s", said, old)
				}
				n.eventually("the host while the name is taken", half, n.text)
				n.stop()
			}
			for _, by := range [][]string{{"/usr/bin/multinicd", "apply", "-f", objectFile}, {"/usr/bin/multinicd", "recover"}} {
				// Sandboxed as the daemon is: systemd-nspawn gives others in the container another id of the boot.
				sandboxed := append([]string{"systemd-run", "--wait", "--pipe", "--quiet", "--collect", "--property=ProtectKernelTunables=yes"}, by...)
				if code, said := n.exit(sandboxed...); code != 4 || !strings.Contains(said, mac3) {
					t.Errorf("%v ended with %d and said %s; want 4 and who has the name", by, code, said)
				}
			}
			n.start()
			n.eventually("status while the name is taken", halfWay, n.nics)
			n.Sh("ip link set " + old + " down; ip link set " + old + " name eth99")
			n.eventually("status once the name is free", add.nics, n.nics)
			n.eventually("the host once the name is free", wanted[add.name], n.text)
			n.stop()
			if left := n.Sh("find /var/lib/multinicd -name 'journal*'"); left != "" {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

// message is what the status says of a NIC.
func (n *node) message(mac string) string {
	s, err := n.Status()
	if err != nil {
		return err.Error()
	}
	for _, i := range s.NICs {
		if i.MAC == mac {
			return i.Message
		}
	}
	return "nothing"
}
