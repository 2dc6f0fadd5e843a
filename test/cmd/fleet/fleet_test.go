package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multinicd/test/bed/measure"
)

func TestScaleSharesOutAndCompares(t *testing.T) {
	r := scale{Walls: []wall{{NICs: 1, Fits: 4000, Bytes: 1_500_000, Refused: "too large"}, {NICs: 5, Fits: 1500, Bytes: 1_500_000}, {NICs: 64, Fits: 150, Bytes: 1_500_000}},
		Joins: []joining{{Nodes: 10, Renewal: traffic{NodeSends: 100, NodeGets: 50}}}}
	for _, nics := range scaleNICs {
		for _, nodes := range []int{10, 100} {
			w := weight{Nodes: nodes, NICs: nics, Object: float64(1000 * nics), Report: 500, Lease: 200, Identity: 300, Events: 7}
			w.Change = traffic{NodeSends: 250, NodeGets: 150, BridgeSends: 10, BridgeGets: 20}.minus(2, r.Joins[0].Renewal)
			r.Weights = append(r.Weights, w)
		}
	}
	text := r.text()
	for _, want := range []string{
		"| 100 | 5 | 5000 | 500 | 200 | 300 | 6000 | 1.00 | 7 |",
		"| 100 | NICs: 64, all of them changed | 50 | 50 | 10 | 20 | 130 |",
		"| 10 | renews its Lease | 100 | 50 | 0 | 0 | 150 |",
		"| 1 | 4000 | 1500000 | `too large` | 0.07 % |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	page := r.page()
	if f := page.Figures; len(f) != 6 || f[0].Value != 2000 || f[1].Value != 130 {
		t.Errorf("figures are %v", f)
	}
	for _, want := range []string{"objects of their own, NICs: 64", "full with 1500 nodes", ">100<"} {
		if !strings.Contains(page.Files["scale.svg"], want) {
			t.Errorf("%q is not in the plot", want)
		}
	}
}

func TestABizConfigHasAStatusForEachNode(t *testing.T) {
	o := bizConfig(3, 5)
	if len(o.Spec.NodeConfigs) != 3 || len(o.Status.NodeStatuses) != 3 || len(o.Spec.NodeConfigs[2].Interfaces) != 5 || o.Spec.NodeConfigs[2].AttachedNodeName != o.Status.NodeStatuses[2].AttachedNodeName {
		t.Errorf("got %+v", o)
	}
}

// What each request looks through grows with the square of the nodes, since the nodes grow in number too; all else is linear.
func TestLimits(t *testing.T) {
	h := results{Nodes: 2000, Few: costs{Lease: 0.5}, Many: costs{Lease: 2.49}, Known: phase{Things: 1990, APIServer: 199}, Joined: phase{Things: 1990, APIServer: 199},
		Change: phase{Things: 100, APIServer: 3.6}, Renewal: phase{Things: 500, APIServer: 1.44},
		Held: holding{phase: phase{Seconds: 100, APIServer: 20, Etcd: 2}, APIServerMiB: 1000, Bridges: []memory{{Now: 100}, {Now: 64}}}}
	w := scale{Weights: []weight{{Nodes: 10, NICs: 1, Object: 1}, {Nodes: 100, NICs: 1, Object: 1 << 20}}}
	type row struct{ With, Ten, Hundred, Reached string }
	got := map[string]row{}
	for _, l := range limits(h, w) {
		got[l.what] = row{measure.Number(l.of(2000)), measure.Number(l.of(1e4)), measure.Number(l.of(1e5)), l.reached()}
	}
	want := map[string]row{
		"renewals of Leases, API server's CPU, as each looks through all bindings": {"4.15", "87.4", "8374", "10000"},
		"the same, if a request cost what it costs with ten nodes":                 {"0.83", "4.17", "41.7", "240000"},
		"Leases written":                                          {"16.7", "83.3", "833", ""},
		"all at rest, API server's CPU":                           {"20", "100", "1000", "10000"},
		"all at rest, etcd's CPU":                                 {"2", "10", "100", "100000"},
		"watches and connections, API server's memory":            {"1000", "5000", "50000", "130000"},
		"memory of the larger bridge, one NIC a node":             {"100", "500", "5000", "10000"},
		"renewals of tokens, API server's CPU":                    {"0.20", "1", "10", "1000000"},
		"all nodes become known and join, API server's CPU":       {"0.11", "0.56", "5.56", ""},
		"all objects change at once, API server's CPU":            {"0.02", "0.10", "1", ""},
		"in etcd, and listed by the bridge at its start, NICs: 1": {"1.95", "9.77", "97.7", "2000"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if text := beyondText(h, w); !strings.Contains(text, "| with 2000 nodes | 10,000 | 100,000 |") {
		t.Errorf("the text is\n%s", text)
	}
}

// What is done for each node may take as long as there are nodes: 10,000 of them must be able to end.
func TestPatienceGrowsWithTheNodes(t *testing.T) {
	for nodes, want := range map[int]time.Duration{10: 10 * time.Minute, 1000: 10 * time.Minute, 2000: 20 * time.Minute, 10000: 100 * time.Minute} {
		if got := patience(10*time.Minute, nodes); got != want {
			t.Errorf("%d nodes: %s, want %s", nodes, got, want)
		}
	}
}
