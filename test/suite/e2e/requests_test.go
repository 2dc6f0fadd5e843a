package e2e

import (
	"fmt"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// What a change costs the API server, by its audit log: the node asks whether the server still answers, and reports. The object comes by the watch.
func TestAChangeCostsTheNodeTwoRequests(t *testing.T) {
	t.Parallel()
	const (
		name    = "cheap-node"
		mac     = "02:00:00:00:0b:01"
		changes = 5
	)
	b := bed.New(t)
	c := newCluster(t, b)
	n := &node{Node: c.Member(testhost.Options{Name: name, NICs: []testhost.NIC{{MAC: mac, Segment: "cheap"}}}, settings(name, "")), t: t, bed: b}
	if err := n.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	to := func(i int) {
		t.Helper()
		c.Want(object(name, nicYAML(1, mac, fmt.Sprintf("10.91.1.%d/24", i))))
		c.wantState(name, "Configured", "1/1")
	}
	// asked is by the node, except what comes by the clock: its Lease, the renewal of its token, and a watch that is opened anew.
	asked := func() (out []string) {
		t.Helper()
		all, err := c.Requests()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			if strings.HasSuffix(r.User.Username, "-"+name) && r.Verb != "watch" && r.ObjectRef.Resource != "leases" && r.ObjectRef.Subresource != "token" {
				out = append(out, r.Verb+" "+strings.SplitN(r.RequestURI, "?", 2)[0])
			}
		}
		return out
	}
	to(10)
	n.quiet()
	before := len(asked())
	for i := range changes {
		to(11 + i)
	}
	n.quiet()
	requests := asked()[before:]
	if len(requests) > 2*changes {
		t.Errorf("%d changes cost %d requests, want two each at most:\n%s", changes, len(requests), strings.Join(requests, "\n"))
	}
}
