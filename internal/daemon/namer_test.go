package daemon

import (
	"testing"
	"testing/synctest"

	"multinicd/internal/daemon/asked"
	"multinicd/nic"
	"multinicd/plan"
)

// A reboot that is said to help, and does not, is done again and again.
func TestANICThatWaitsForItsNameSaysWhatIsInTheWay(t *testing.T) {
	for name, test := range map[string]struct {
		namer func(nic.Link, string) string
		want  string
	}{
		"nobody can say":     {nil, "configured as eth1; the kernel does not rename a link that is up, it is multinic1 from the next boot on"},
		"nothing":            {func(nic.Link, string) string { return "" }, "configured as eth1; the kernel does not rename a link that is up, it is multinic1 from the next boot on"},
		"a rule of somebody": {func(l nic.Link, want string) string { return l.Name + " is never " + want }, "configured as eth1; eth1 is never multinic1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.machine.Net[0].Up, w.machine.RenameBusy = true, true
				w.with = func(d *Daemon) { d.Namer = test.namer }
				defer w.start()()
				w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
				n := w.daemon.Status().NICs[0]
				if n.Reason != string(plan.RenameAtReboot) || n.Message != test.want {
					t.Errorf("got %s: %q, want %q", n.Reason, n.Message, test.want)
				}
			})
		})
	}
}
