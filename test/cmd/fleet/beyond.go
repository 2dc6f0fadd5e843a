package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"multinicd/test/bed/measure"
)

const beyondPage = "beyond"

// limit is something that grows with the number of nodes, by a model of what was measured, and where it ends.
type limit struct {
	what, unit, end string
	// of gives it for so many nodes.
	of func(nodes float64) float64
	// most is what the end allows; 0: there is no such number.
	most float64
}

// beyond writes the page about 100,000 nodes from the data of the two others, where both are there.
func (f *fleet) beyond(ctx context.Context, s measure.Stamp) error {
	if f.Out == "" {
		return nil
	}
	var held results
	var weighed scale
	for page, to := range map[string]any{fleetPage: &held, scalePage: &weighed} {
		text, err := os.ReadFile(filepath.Join(f.Out, page+".json"))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			err = json.Unmarshal(text, to)
		}
		if err != nil {
			return fmt.Errorf("reading the results of %s: %w", page, err)
		}
	}
	return f.Write(ctx, s, measure.Result{Page: beyondPage, Text: beyondText(held, weighed), Anywhere: true})
}

// The ends of what is not of our making: see the page.
const (
	oneCore       = 100.0       // percent
	bridgeLimit   = 512.0       // MiB, by default, of each of the two
	etcdQuota     = 2.0         // GiB, by default
	memoryOfSome  = 64.0 * 1024 // MiB: a large control plane node
	leasesOfNodes = 10.0        // seconds between a kubelet's own renewals
)

func limits(h results, w scale) []limit {
	n := float64(h.Nodes)
	linear := func(total float64) func(float64) float64 {
		return func(nodes float64) float64 { return total / n * nodes }
	}
	renewal := leaseEvery.Seconds()
	slope := (h.Many.Lease - h.Few.Lease) / (n - few)
	bridges := h.Held.OneBridge
	for _, b := range h.Held.Bridges {
		bridges = max(bridges, b.Now)
	}
	out := []limit{
		{"renewals of Leases, API server's CPU, as each looks through all bindings", "% of a core", "one core", func(nodes float64) float64 {
			return nodes / renewal * (h.Few.Lease + slope*(nodes-few)) / 1000 * 100
		}, oneCore},
		{"the same, if a request cost what it costs with ten nodes", "% of a core", "one core", func(nodes float64) float64 { return nodes / renewal * h.Few.Lease / 1000 * 100 }, oneCore},
		{"Leases written", "a second", fmt.Sprintf("kubelets write %.0f times as many", renewal/leasesOfNodes), func(nodes float64) float64 { return nodes / renewal }, 0},
		{"all at rest, API server's CPU", "% of a core", "one core", linear(h.Held.APIServer * 100 / h.Held.Seconds), oneCore},
		{"all at rest, etcd's CPU", "% of a core", "one core", linear(h.Held.Etcd * 100 / h.Held.Seconds), oneCore},
		{"watches and connections, API server's memory", "MiB", "64 GiB in one replica", linear(h.Held.APIServerMiB), memoryOfSome},
		{"memory of the larger bridge, one NIC a node", "MiB", "512 MiB, its default limit", linear(bridges), bridgeLimit},
		{"renewals of tokens, API server's CPU", "% of a core", "one core", func(nodes float64) float64 {
			return nodes * h.Renewal.APIServer / float64(h.Renewal.Things) / renewEvery.Seconds() * 100
		}, oneCore},
		{"all nodes become known and join, API server's CPU", "core hours", "", func(nodes float64) float64 {
			return nodes * (h.Known.APIServer/float64(h.Known.Things) + h.Joined.APIServer/float64(h.Joined.Things)) / 3600
		}, 0},
		{"all objects change at once, API server's CPU", "core hours", "", func(nodes float64) float64 { return nodes * h.Change.APIServer / float64(h.Change.Things) / 3600 }, 0},
	}
	for _, nics := range scaleNICs {
		if all := w.with(nics); len(all) > 0 {
			last := all[len(all)-1]
			out = append(out, limit{fmt.Sprintf("in etcd, and listed by the bridge at its start, NICs: %d", nics), "GiB", "2 GiB, etcd's default quota",
				func(nodes float64) float64 { return nodes * last.all() / (1 << 30) }, etcdQuota})
		}
	}
	return out
}

// reached is the number of nodes with which a limit is met, to two digits; below 10 million.
func (l limit) reached() string {
	if l.most == 0 {
		return ""
	}
	low, high := 1.0, 1e7
	if l.of(high) < l.most {
		return "beyond 10,000,000"
	}
	for high-low > 1 {
		if middle := (low + high) / 2; l.of(middle) < l.most {
			low = middle
		} else {
			high = middle
		}
	}
	digits := math.Pow(10, math.Floor(math.Log10(high))-1)
	return fmt.Sprintf("%.0f", math.Floor(high/digits)*digits)
}

func beyondText(h results, w scale) string {
	rows := [][]string{{"what grows", "unit", fmt.Sprintf("with %d nodes", h.Nodes), "10,000", "100,000", "its end", "reached with"}}
	for _, l := range limits(h, w) {
		rows = append(rows, []string{l.what, l.unit, measure.Number(l.of(float64(h.Nodes))), measure.Number(l.of(1e4)), measure.Number(l.of(1e5)), l.end, l.reached()})
	}
	return fmt.Sprintf("Many nodes: %s. Bytes: %s.\n\n%s\n", h.Stamp, w.Stamp, measure.Table(rows))
}
