package openstack

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"multinicd/internal/publish"
)

// noCache has no object, so that there are no Events.
type noCache struct{ client.Reader }

func (noCache) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("none")
}

// What is said of a node is said once, also if every other walk is not whole.
func TestAWalkThatIsNotWholeIsNoNews(t *testing.T) {
	var log strings.Builder
	l := &loop{poller: &poller{Options: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, cluster: noCache{}}, said: map[string]string{}}
	held := NodeVerdict{Node: "n1", Wish: &publish.Wish{}, Remarks: []Remark{{PortID: "a", Reason: RemovalHeld, Message: "look"}}}
	pending := NodeVerdict{Node: "n1", Wish: &publish.Wish{}, Remarks: []Remark{{PortID: "a", Reason: RemovalPending}}}
	none := NodeVerdict{Node: "n1", Frozen: NoPrimary, Message: "none"}
	for i, row := range []struct {
		node  NodeVerdict
		whole bool
		want  int // lines so far
	}{
		{none, false, 0}, {held, true, 1}, {pending, false, 1}, {held, true, 1}, {none, false, 1}, {held, true, 1}, // a cloud comes and goes
		{pending, true, 1}, {held, true, 2}, {none, true, 3}, {none, false, 3},
	} {
		var results []publish.Result
		if row.node.Wish != nil {
			results = []publish.Result{{Action: publish.Unchanged}}
		}
		l.tell(Verdict{Nodes: []NodeVerdict{row.node}}, results, row.whole)
		if got := strings.Count(log.String(), "a node needs attention"); got != row.want {
			t.Errorf("after walk %d there are %d lines, want %d:\n%s", i, got, row.want, &log)
		}
	}
}
