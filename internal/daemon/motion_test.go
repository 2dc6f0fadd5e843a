package daemon

import (
	"testing"
	"testing/synctest"
	"time"

	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/pace"
	"multinicd/nic"
)

// What a CNI plugin does with a NIC is not undone before the plugin has ended, however long it takes between two commands. The
// link that is left alone by all is as wanted soon after.
func TestALinkOnItsWayToAPodAndBackIsLeftAlone(t *testing.T) {
	for name, pause := range map[string]time.Duration{"at once": 0, "5 ms between the commands": 5 * time.Millisecond, "200 ms between the commands": 200 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.start()()
				w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
				w.want("multinic1 192.0.2.1/24")
				step := func(what, name string, up bool, change func(l *nic.Link)) {
					t.Helper()
					change(&w.machine.Net[0])
					w.wake <- struct{}{}
					sleep(pause)
					if l := w.machine.Net[0]; l.Name != name || l.Up != up {
						t.Fatalf("%s: the link is %s, up: %v", what, l.Name, l.Up)
					}
				}
				for range 50 {
					step("set down", "multinic1", false, func(l *nic.Link) { l.Up = false; l.Routes = nil })
					step("renamed", "dev-tmp", false, func(l *nic.Link) { l.Name = "dev-tmp" })
					away := w.machine.Net[0]
					step("moved", "", false, func(l *nic.Link) { *l = nic.Link{} })
					sleep(2 * time.Second)
					if s := w.daemon.Status().NICs[0]; s.Reason != "WaitingForNIC" {
						t.Fatalf("while it is away the status is %s: %s", s.Reason, s.Message)
					}
					step("moved back", "dev-tmp2", false, func(l *nic.Link) { *l = away; l.Name, l.Addresses = "dev-tmp2", nil })
					step("renamed back", "multinic1", false, func(l *nic.Link) { l.Name = "multinic1" })
					sleep(time.Second)
					w.want("multinic1 192.0.2.1/24")
				}
				if s := w.daemon.Status().NICs[0]; s.Reason != "Configured" {
					t.Errorf("in the end the status is %s: %s", s.Reason, s.Message)
				}
			})
		})
	}
}

// Who never ends is answered all the same, and what says nothing of a CNI plugin is repaired at once.
func TestALinkThatIsRenamedAgainAndAgainIsRepairedInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.machine.Net[0].Addresses = nil
		w.wake <- struct{}{}
		sleep(60 * time.Millisecond)
		w.want("multinic1 192.0.2.1/24")
		names := []string{"a", "b"}
		began, repaired := time.Now(), time.Duration(0)
		for i := 0; repaired == 0 && time.Since(began) < 10*time.Second; i++ {
			w.machine.Net[0].Name = names[i%2]
			w.wake <- struct{}{}
			sleep(100 * time.Millisecond)
			if w.machine.Net[0].Name == "multinic1" {
				repaired = time.Since(began)
			}
		}
		if repaired < pace.MotionMost-100*time.Millisecond || repaired > pace.MotionMost+500*time.Millisecond {
			t.Errorf("repaired after %s", repaired)
		}
	})
}
