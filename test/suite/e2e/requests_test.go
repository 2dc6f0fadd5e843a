package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"multinicd/test/bed"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/testhost"
)

// What a change costs the API server, by its audit log: the node asks whether the server still answers, and reports. The object comes by the watch. The
// bridge writes the status once, and once more where a change took longer than a second, as on a busy machine.
func TestAChangeCostsThreeRequests(t *testing.T) {
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
	// asked is by the node, except what comes by the clock: its Lease, the renewal of its token, and a watch that is opened anew. of are the writes of its
	// object, each with the writes of its status behind it.
	asked := func() (out []string, of [][]controlplane.Request) {
		t.Helper()
		all, err := c.Requests()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			object := r.ObjectRef.Resource == "multinicnodeconfigs" && r.ObjectRef.Name == name && slices.Contains([]string{"create", "update", "patch"}, r.Verb)
			switch {
			case strings.HasSuffix(r.User.Username, "-"+name) && r.Verb != "watch" && r.ObjectRef.Resource != "leases" && r.ObjectRef.Subresource != "token":
				out = append(out, r.Verb+" "+strings.SplitN(r.RequestURI, "?", 2)[0])
			case object && r.ObjectRef.Subresource == "":
				of = append(of, []controlplane.Request{r})
			case object && len(of) > 0:
				of[len(of)-1] = append(of[len(of)-1], r)
			}
		}
		return out, of
	}
	to(10)
	n.quiet()
	before, wishes := asked()
	for i := range changes {
		to(11 + i)
	}
	n.quiet()
	requests, all := asked()
	if requests = requests[len(before):]; len(requests) > 2*changes {
		t.Errorf("%d changes cost %d requests of the node, want two each at most:\n%s", changes, len(requests), strings.Join(requests, "\n"))
	}
	if all = all[len(wishes):]; len(all) != changes {
		t.Fatalf("%d writes of the object, want %d", len(all), changes)
	}
	for _, r := range all {
		var after []time.Duration
		for _, s := range r[1:] {
			after = append(after, s.Received.Sub(r[0].Received))
		}
		t.Logf("the status was written after %v", after)
		// The bridge says InProgress a second after it has seen the object, which is after the write has come in.
		if len(after) == 0 || len(after) > 2 || len(after) == 2 && after[0] < time.Second {
			t.Errorf("a change cost the bridge writes after %v, want one, or the first after a second", after)
		}
	}
}
