package daemon

import (
	"flag"
	"net/netip"
	"testing"
	"testing/synctest"

	"multinicd/internal/daemon/asked"
	"multinicd/internal/hosttest"
	"multinicd/nic"
)

var update = flag.Bool("update", false, "write golden files anew")

// What `multinicd status` shows of a daemon at work.
func TestTheScreensOfStatus(t *testing.T) {
	got := map[string]string{}
	for name, bring := range map[string]func(w *world){
		"as-wanted": func(w *world) { w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "192.0.3.1/24")}) },
		"one-is-refused-and-one-waits": func(w *world) {
			w.machine.Net[1].Up = true
			w.machine.Net[1].Routes = []nic.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.3.254"), Protocol: nic.ProtocolDHCP, Metric: 100}}
			w.tell(asked.Wish{Object: object("u1", 7, "192.0.2.1/24", "192.0.3.1/24", "192.0.4.1/24")})
		},
		"another-writer": func(w *world) {
			w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "2001:db8:1:2:3:4:5:6/64")})
			w.fightFor(1000e9)
		},
		"put-back": func(w *world) {
			w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "192.0.3.1/24")})
			w.lost.Store(true)
			w.wake <- struct{}{}
			sleep(1e9)
			w.edit(nil)
		},
		"a-change-fails": func(w *world) {
			w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "192.0.3.1/24")})
			w.machine.FailFrom = w.machine.Ops + 1
			w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.9/24", "192.0.3.1/24")})
		},
		"rolled-back": func(w *world) {
			w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
			w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.2/24")})
			w.daemon.ask(w.t.Context(), AskRollback)
		},
		"no-object": func(w *world) { w.tell(asked.Wish{}) },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.with = func(d *Daemon) {
				d.NodeEvidence, d.Backend = "the host's name", "netplan"
				d.Evidence = []string{"netplan 1.1.2 is installed", "/etc/netplan/50-cloud-init.yaml configures eth0", "renderer networkd, which runs"}
			}
			defer w.start()()
			bring(w)
			hosttest.Screens(t, name, got, w.daemon.Status().Table)
		})
	}
	hosttest.Golden(t, "testdata/screens", got, *update)
}
