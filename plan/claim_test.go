package plan_test

import (
	"net/netip"
	"strings"
	"testing"

	"multinicd/nic"
	"multinicd/plan"
)

// A take-over that costs the link its default route says which one is the node's from then on, and
// says the same the second time. Which one that is is tested in plan/lifeline.
func TestATakeOverSaysWhichDefaultRouteIsTheNodes(t *testing.T) {
	now := host()
	lease := netip.MustParsePrefix("10.1.0.5/24")
	now.Links[1].Addresses = []nic.Address{{Prefix: lease}}
	now.Links[1].Routes = []nic.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.1.0.1"), Metric: 100, Protocol: nic.ProtocolDHCP}}
	want := []nic.Config{config(1, "10.1.0.5/24")}
	a := plan.Make(want, nil, now, plan.Record{}).Actions[0]
	const says = "taken over with address 10.1.0.5/24, which somebody had leased; the node's default route of IPv4 is that of link eth0, since "
	if a.Kind != plan.Configure || !strings.HasPrefix(a.After.From, says) {
		t.Fatalf("got %s %+v\nwant %s", a.Kind, a.After, says)
	}
	if again := plan.Make(want, nil, now, plan.Record{NICs: []plan.Owned{*a.After}}).Actions[0]; again.After.From != a.After.From {
		t.Errorf("the second time it says %q", again.After.From)
	}
}
