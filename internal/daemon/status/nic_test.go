package status

import (
	"net/netip"
	"strings"
	"testing"

	"multinicd/nic"
)

// Of the host's rules the status shows those of the NIC, also the one that leads to main.
func TestTheStatusShowsTheRulesOfAGateway(t *testing.T) {
	from := netip.MustParsePrefix("192.0.2.1/32")
	l := nic.Link{Rules: []nic.Rule{{Priority: 9999, From: from, To: netip.MustParsePrefix("192.0.2.0/24"), Table: 10001}, {Priority: 10001, From: from, Table: nic.TableMain, NoDefault: true},
		{Priority: 10002, From: from, Table: nic.TableMain, NoDefault: true}, {Priority: 20001, From: from, Table: 10001}, {Priority: 20002, From: from, Table: 10002}}}
	const want = "from 192.0.2.1/32 to 192.0.2.0/24 lookup 10001 priority 9999; from 192.0.2.1/32 lookup main suppress_prefixlength 0 priority 10001; from 192.0.2.1/32 lookup 10001 priority 20001"
	if got := strings.Join(view(l, nic.Config{ID: 1}).Rules, "; "); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
