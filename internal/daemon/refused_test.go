package daemon

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/nic"
)

// Who sees Failed wants to know first whether the node still has what it had.
func TestARefusedChangeSaysThatTheOldConfigurationIsInForce(t *testing.T) {
	const had = "192.0.2.1/24"
	for name, row := range map[string]struct {
		next    func(w *world) *v1.MultiNicNodeConfig
		message string
		differs string // in the status; "" where it cannot be said
	}{
		"an address of another link": {func(w *world) *v1.MultiNicNodeConfig {
			w.machine.Net[1].Addresses = []nic.Address{{Prefix: netip.MustParsePrefix("203.0.113.5/24")}}
			return object("u1", 2, "203.0.113.5/24")
		}, "can be on one link only; the NIC stays as it is: 192.0.2.1/24; give the NIC another address, or free this one",
			"address: want 203.0.113.5/24, have 192.0.2.1/24"},
		"a way to the API server": {func(w *world) *v1.MultiNicNodeConfig {
			w.machine.Net[1].Routes = []nic.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("203.0.113.1")}}
			return object("u1", 2, "203.0.113.5/24")
		}, "the node would be lost; the NIC stays as it is: 192.0.2.1/24; give the NIC a subnet or route that does not cover it",
			"address: want 203.0.113.5/24, have 192.0.2.1/24"},
		"an entry that today's rules refuse": {func(*world) *v1.MultiNicNodeConfig {
			obj := object("u1", 2, had)
			obj.Spec.Interfaces[0].MTU = new(int32) // 0
			return obj
		}, "; the NIC stays as it is: 192.0.2.1/24", ""},
		"a change that fails": {func(w *world) *v1.MultiNicNodeConfig {
			w.machine.FailFrom = w.machine.Ops + 1
			return object("u1", 2, "192.0.2.9/24")
		}, "; the NIC stays as it is: 192.0.2.1/24", "address: want 192.0.2.9/24, have 192.0.2.1/24"},
		"an object for another machine": {func(w *world) *v1.MultiNicNodeConfig {
			w.ids = []string{"i-0123456789abcdef0"}
			obj := object("u1", 2, "192.0.2.9/24")
			obj.Spec.InstanceID = "i-0123456789abcdef1"
			return obj
		}, "; the NIC of before stays as it is", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.start()()
				w.tell(asked.Wish{Object: object("u1", 1, had)})
				w.tell(asked.Wish{Object: row.next(w)})
				if got := w.addresses(); !strings.HasPrefix(got, "multinic1 "+had) {
					t.Errorf("the NIC is not kept: %s", got)
				}
				s := w.daemon.Status()
				r := w.lastReport()
				message, reported := s.Message, r.Refused != nil && strings.Contains(r.Refused.Message, row.message)
				if len(s.NICs) > 0 {
					message, reported = s.NICs[0].Message, strings.Contains(r.Interfaces[0].Message, row.message)
					if got := strings.Join(s.NICs[0].Difference, "; "); got != row.differs {
						t.Errorf("it differs in %q, want %q", got, row.differs)
					}
				}
				if s.State != string(v1.StateFailed) || !strings.Contains(message, row.message) || !reported {
					t.Errorf("%s, the status says %q, the report %+v; want %q", s.State, message, r, row.message)
				}
			})
		})
	}
}
