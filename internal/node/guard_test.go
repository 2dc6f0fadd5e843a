package node

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"multinicd/internal/kube"
	"multinicd/nic"
	"multinicd/plan"
	"multinicd/plan/lifeline"
)

// An answer through a link is asked for where a NIC of the object has the path, counts for a moment, and is none of another link's.
func TestAnAnswerThroughALinkCountsForAMoment(t *testing.T) {
	mac := nic.MAC{2, 0, 0, 0, 1, 1}
	by := func(index int, name string, m nic.MAC) nic.Link {
		return nic.Link{Index: index, Name: name, MAC: m, Device: true, Routes: []nic.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1"), Metric: 100}}}
	}
	for name, test := range map[string]struct {
		known answer
		path  int // the link that leads to the API server
		want  []int
		asked bool
	}{
		"just now":                            {answer{"eth0", time.Now(), true}, 11, []int{2}, false},
		"no, just now":                        {answer{"eth0", time.Now(), false}, 11, nil, false},
		"a while ago":                         {answer{"eth0", time.Now().Add(-answersAge), true}, 11, nil, true},
		"through a link of another name":      {answer{"ens3", time.Now(), true}, 11, nil, true},
		"never":                               {answer{}, 11, nil, true},
		"never, and the primary has the path": {answer{}, 2, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			api, err := kube.New(kube.Options{Node: "node-a", Server: "https://198.51.100.1:6443"})
			if err != nil {
				t.Fatal(err)
			}
			m := &Machine{API: api, Record: func() plan.Record { return plan.Record{} }, answered: map[int]answer{2: test.known}}
			now := plan.View{Links: []nic.Link{by(2, "eth0", nic.MAC{2, 1}), by(11, "eth1", mac)}, Named: []nic.MAC{mac},
				Lifelines: []lifeline.Path{{What: "the API server", To: netip.MustParseAddr("198.51.100.1"), Index: test.path}}}
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // whoever is asked does not answer
			if got := m.answers(ctx, now); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if asked := m.answered[2] != test.known; asked != test.asked {
				t.Errorf("asked: %v", asked)
			}
		})
	}
}
