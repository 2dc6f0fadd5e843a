package installed

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/status"
)

func TestBackwards(t *testing.T) {
	noon := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	state := func(generation, observed int64, state v1.State, minute int, released int64) v1.MultiNicNodeConfig {
		o := v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{UID: "a", Generation: generation}}
		at := metav1.NewTime(noon.Add(time.Duration(minute) * time.Minute))
		o.Status = v1.MultiNicNodeConfigStatus{ObservedGeneration: observed, State: state, LastProcessed: &at, ReleasedGeneration: released}
		return o
	}
	before := state(2, 2, v1.StateConfigured, 5, 2)
	anew := state(1, 1, v1.StatePending, 0, 0)
	anew.UID = "b"
	for sentence, row := range map[string]struct {
		now  v1.MultiNicNodeConfig
		want string
	}{
		"a new generation is no step back":          {state(3, 2, v1.StateConfigured, 5, 2), ""},
		"nor is work on it":                         {state(3, 3, v1.StateInProgress, 5, 3), ""},
		"nor is an object made anew":                {anew, ""},
		"an older generation is":                    {state(3, 1, v1.StateConfigured, 5, 2), "generation 1 after 2"},
		"a generation that there is not is":         {state(2, 3, v1.StateInProgress, 5, 2), "generation 3 of 2"},
		"less than Configured of what was is":       {state(2, 2, v1.StateInProgress, 5, 2), "InProgress after Configured"},
		"an earlier time is":                        {state(2, 2, v1.StateConfigured, 4, 2), "last processed"},
		"a release that is taken back is":           {state(3, 2, v1.StateConfigured, 5, 1), "released up to 1 after 2"},
		"that there is no release any more is, too": {state(3, 2, v1.StateConfigured, 5, -1), "released up to -1 after 2"},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := Backwards(before, row.now); got != row.want && (row.want == "" || !strings.HasPrefix(got, row.want)) {
				t.Errorf("it is %q, want %q", got, row.want)
			}
		})
	}
}

// Whoever waits for a status does not take one of an object before for that of the newest.
func TestAStatusIsAboutItsObject(t *testing.T) {
	view := func(link string, mtu int, address string, routes ...string) status.NIC {
		return status.NIC{MAC: MAC1, Name: link, Status: v1.StateConfigured, Reason: "Configured",
			Want: status.View{Link: link, Up: true, MTU: mtu, Addresses: []netip.Prefix{netip.MustParsePrefix(address)}, Routes: routes}}
	}
	one := view("multinic1", 1400, "192.168.100.10/24", "10.20.0.0/16 via 192.168.100.1", "default via 192.168.100.2 table 10001")
	object := Object("worker", Entry(1, MAC1, "192.168.100.10/24", "mtu: 1400", "gateway: 192.168.100.2", "routes: [{to: 10.20.0.0/16, via: 192.168.100.1}]"))
	const yes, other = "multinic1 Configured Configured", "of another object: "
	for sentence, row := range map[string]struct {
		object string
		status status.Node
		want   string
	}{
		"all as in the object":             {object, status.Node{NICs: []status.NIC{one}}, yes},
		"no object was written":            {"", status.Node{NICs: []status.NIC{one}}, yes},
		"another address":                  {object, status.Node{NICs: []status.NIC{view("multinic1", 1400, "192.168.100.11/24", one.Want.Routes...)}}, other + yes},
		"another MTU":                      {object, status.Node{NICs: []status.NIC{view("multinic1", 1500, "192.168.100.10/24", one.Want.Routes...)}}, other + yes},
		"another name":                     {object, status.Node{NICs: []status.NIC{view("multinic2", 1400, "192.168.100.10/24", one.Want.Routes...)}}, other + "multinic2 Configured Configured"},
		"no gateway":                       {object, status.Node{NICs: []status.NIC{view("multinic1", 1400, "192.168.100.10/24", one.Want.Routes[0])}}, other + yes},
		"a NIC that is no more":            {Object("worker"), status.Node{NICs: []status.NIC{one}}, other + yes},
		"nothing yet":                      {object, status.Node{}, other},
		"nothing, and nothing is wanted":   {Object("worker"), status.Node{}, ""},
		"a NIC that could not be taken":    {Object("worker"), status.Node{NICs: []status.NIC{{MAC: MAC1, Name: "multinic1", Status: v1.StateFailed, Reason: "RollbackFailed", Unwanted: true}}}, "multinic1 Failed RollbackFailed"},
		"the one before, by a rollback":    {object, status.Node{Held: true, NICs: []status.NIC{view("multinic1", 1400, "192.168.100.11/24")}}, yes},
		"an object that nobody can follow": {"a: [", status.Node{NICs: []status.NIC{one}}, yes},
	} {
		t.Run(sentence, func(t *testing.T) {
			n := &Node{object: row.object}
			if got := n.Said(row.status); got != row.want {
				t.Errorf("it says %q, want %q", got, row.want)
			}
		})
	}
}
