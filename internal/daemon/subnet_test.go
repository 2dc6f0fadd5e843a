package daemon

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/nic"
)

// routesOf lists what main has of a link.
func (w *world) routesOf(id int) (out []string) {
	for _, r := range w.machine.Net[id-1].Routes {
		if r.Key().Table == nic.TableMain {
			out = append(out, r.String())
		}
	}
	return out
}

// The object says the subnet's length, and so does the report; the kernel has a host address.
func TestNICsThatShareASubnetAreReportedAsTheObjectHasThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "192.0.2.2/24")})
		w.want("multinic1 192.0.2.1/32, multinic2 192.0.2.2/32")
		for i, is := range w.lastReport().Interfaces {
			if want := []string{"192.0.2.1/24", "192.0.2.2/24"}[i]; is.Address != want || is.Status != v1.StateConfigured {
				t.Errorf("%s is reported as %s with %s, want %s", is.Name, is.Status, is.Address, want)
			}
		}
		s := w.daemon.Status().NICs[1]
		if s.Want.String() != "multinic2 up 192.0.2.2/24" || len(s.Difference) > 0 ||
			s.Have.String() != "multinic2 up mtu 1500 192.0.2.2/32 route 192.0.2.0/24 table 10002 rule from 192.0.2.2/32 lookup 10002 priority 20002" {
			t.Errorf("wanted %s, there %s, different %v", s.Want.String(), s.Have.String(), s.Difference)
		}
		if !w.daemon.ours(0) {
			t.Error("nobody is woken when a rule goes")
		}
		w.machine.Rules = nil
		w.wake <- struct{}{}
		sleep(time.Second)
		if len(w.machine.Rules) != 2 {
			t.Errorf("the rules are %v", w.machine.Rules)
		}
		w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.1/24")})
		w.want("multinic1 192.0.2.1/24")
		if len(w.machine.Rules) != 0 {
			t.Errorf("the rules are %v", w.machine.Rules)
		}
	})
}

// main's route to the subnet passes to the next while the first one fails, and comes back to it.
func TestMainsRouteIsNotThatOfANICThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.dad = true
		defer w.start()()
		neighbour := netip.MustParseAddr("192.0.2.1")
		w.machine.Neighbours = map[netip.Addr]nic.MAC{neighbour: {2, 9}}
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "192.0.2.2/24")})
		sleep(10 * time.Second)
		if got := strings.Join(w.routesOf(2), ", "); got != "192.0.2.0/24 src 192.0.2.2 metric 20002" {
			t.Errorf("while the first fails main has %q by the second", got)
		}
		w.machine.Neighbours = nil
		w.wake <- struct{}{} // which also tells the race detector that the daemon comes after us
		sleep(10 * time.Minute)
		if got := slices.Concat(w.routesOf(1), w.routesOf(2)); strings.Join(got, ", ") != "192.0.2.0/24 src 192.0.2.1 metric 20001" {
			t.Errorf("then main has %q", got)
		}
		if s := w.daemon.Status(); s.State != string(v1.StateConfigured) {
			t.Errorf("it is %s", s.State)
		}
	})
}
