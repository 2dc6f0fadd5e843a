package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/measure"
	"multinicd/test/bed/product"
)

// costs are processor milliseconds of the API server for one request.
type costs struct {
	Object  float64 `json:"ownObjectMs"`
	Lease   float64 `json:"ownLeaseMs"`
	Unread  float64 `json:"ownLeaseRefusedMs"`
	Another float64 `json:"anothersObjectMs"` // refused
	Status  float64 `json:"statusMs"`         // by the bridge
	Whoami  float64 `json:"versionMs"`        // asks for no right in a namespace
}

// requests are what the rows of costs are of.
var requests = []string{
	"the node's own object (`multinic-system`)",
	"renewing the node's own Lease, as a dry run (`multinic-nodes`)",
	"reading its own Lease: refused (`multinic-nodes`)",
	"another's object: refused (`multinic-system`)",
	"the bridge writes a status, as a dry run (`multinic-system`)",
	"/version, which no namespace is asked about",
}

func (c costs) rows() []float64 {
	return []float64{c.Object, c.Lease, c.Unread, c.Another, c.Status, c.Whoami}
}

// cost is what a request costs the API server: of the node's own object, of its Lease, of another's object, the bridge's, and an administrator's. Those of the nodes
// are of nodes that have joined. What all of these cost it meanwhile is taken off.
func (f *fleet) cost(ctx context.Context) (costs, error) {
	var c costs
	if err := f.alike(ctx); err != nil {
		return c, err
	}
	token, err := product.Token(ctx, f.cluster, v1.SystemNamespace, v1.BridgeAccount)
	if err != nil {
		return c, err
	}
	bridge := func(*node) (asker, error) { return f.asker(token), nil }
	idle, err := f.idle(ctx)
	if err != nil {
		return c, err
	}
	object := "/apis/multinic.io/v1/namespaces/" + v1.SystemNamespace + "/multinicnodeconfigs/"
	leases := "/apis/coordination.k8s.io/v1/namespaces/" + v1.NodesNamespace + "/leases/"
	for _, q := range []struct {
		to     *float64
		as     func(*node) (asker, error)
		method string
		path   func(node string) string
		body   string
		want   int
	}{
		{&c.Object, f.nodeAsker, http.MethodGet, func(node string) string { return object + node }, "", 200},
		// A node may only write its Lease. A dry run costs etcd nothing.
		{&c.Lease, f.nodeAsker, http.MethodPatch, func(node string) string { return leases + v1.LeaseName(node) + "?dryRun=All" }, `{"spec":{"renewTime":"2026-01-01T00:00:00.000000Z"}}`, 200},
		{&c.Unread, f.nodeAsker, http.MethodGet, func(node string) string { return leases + v1.LeaseName(node) }, "", 403},
		{&c.Another, f.nodeAsker, http.MethodGet, func(string) string { return object + "nobody" }, "", 403},
		{&c.Status, bridge, http.MethodPatch, func(node string) string { return object + node + "/status?dryRun=All" }, `{"status":{"state":"Failed"}}`, 200},
		{&c.Whoami, f.nodeAsker, http.MethodGet, func(string) string { return "/version" }, "", 200},
	} {
		var all sync.WaitGroup
		var next atomic.Int64
		errs := make([]error, callers)
		work := func(i int, most int64) {
			n := f.nodes[i*(f.joined-1)/callers]
			as, err := q.as(n)
			for err == nil && next.Add(1) <= most {
				var code int
				url := f.cluster.URL + q.path(n.name)
				if code, _, err = as.ask(ctx, q.method, url, []byte(q.body)); err == nil && code != q.want {
					err = fmt.Errorf("%s %s: %d, want %d", q.method, url, code, q.want)
				}
			}
			errs[i] = err
		}
		run := func(most int) error {
			next.Store(0)
			for i := range callers {
				all.Go(func() { work(i, int64(most)) })
			}
			all.Wait()
			return errors.Join(errs...)
		}
		if err := run(callers * 5); err != nil { // the tokens are known to the API server from here on
			return c, err
		}
		m := f.meter()
		if err := run(f.requests); err != nil {
			return c, err
		}
		p, err := m.read(f.requests)
		if err != nil {
			return c, err
		}
		*q.to = (p.APIServer - idle*p.Seconds) * 1000 / float64(f.requests)
	}
	return c, nil
}

// idle is the share of a core, from 0, that the API server takes for the nodes that are held, while nothing else is asked of it.
func (f *fleet) idle(ctx context.Context) (float64, error) {
	m := f.meter()
	if err := measure.Rest(ctx, 30*time.Second); err != nil {
		return 0, err
	}
	p, err := m.read(1)
	return p.APIServer / p.Seconds, err
}

// callers make requests at the same time, each on connections of its own.
const callers = 8

// lookups are what requests cost by how many nodes there are, of which few have joined: so it is known what the API server's look through the bindings adds, without
// what so many watches and connections do.
type lookups struct {
	measure.Stamp
	Nodes []int   `json:"nodes"`
	Costs []costs `json:"costs"`
}

const rightsPage = "rights"

// measureRights is a run of its own, with ten nodes, ten times as many, and so on.
func (f *fleet) measureRights(ctx, life context.Context) error {
	var res lookups
	for size := few; size <= f.size; size *= aTenth {
		f.logf("%d nodes become known", size)
		if _, err := f.know(ctx, size); err != nil {
			return err
		}
		if f.joined == 0 {
			if _, err := f.join(ctx, life, f.nodes); err != nil {
				return err
			}
		}
		f.logf("what a request costs with these")
		c, err := f.cost(ctx)
		if err != nil {
			return err
		}
		res.Nodes, res.Costs = append(res.Nodes, size), append(res.Costs, c)
	}
	var err error
	if res.Stamp, err = f.End(); err != nil {
		return err
	}
	return f.Write(ctx, res.Stamp, measure.Result{Page: rightsPage, Data: res, Text: res.text(), Figures: res.figures()})
}

func (l lookups) text() string {
	rows := [][]string{{"request"}}
	for _, n := range l.Nodes {
		rows[0] = append(rows[0], fmt.Sprintf("with %d nodes, ms", n))
	}
	rows[0] = append(rows[0], "ratio of the last to the first", "added per 1,000 nodes, ms")
	last := len(l.Costs) - 1
	for i, what := range requests {
		row := []string{what}
		for _, c := range l.Costs {
			row = append(row, fmt.Sprintf("%.2f", c.rows()[i]))
		}
		first, all := l.Costs[0].rows()[i], l.Costs[last].rows()[i]
		rows = append(rows, append(row, fmt.Sprintf("%.2f", all/first), fmt.Sprintf("%.2f", (all-first)*1000/float64(max(1, l.Nodes[last]-l.Nodes[0])))))
	}
	return fmt.Sprintf("%s.\n\n%s\n", l.Stamp, strings.TrimSuffix(measure.Table(rows), "\n"))
}

func (l lookups) figures() (out []measure.Figure) {
	last := len(l.Costs) - 1
	for i, what := range []string{"a node's own object", "a node's own Lease", "", "", "a status"} {
		if what != "" {
			out = append(out, measure.Figure{Name: fmt.Sprintf("%s, with %d known nodes to with %d", what, l.Nodes[last], l.Nodes[0]), Value: l.Costs[last].rows()[i] / l.Costs[0].rows()[i], Unit: "times"})
		}
	}
	return out
}
