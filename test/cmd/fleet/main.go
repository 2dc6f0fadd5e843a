// Command fleet measures what many nodes cost the API server: how long 2,000 of them take to become known and to join through their kubelets'
// door, what it costs to hold them, how long a change takes to reach one of them, and what each node's Roles and RoleBindings add to a request.
//
// In go a real control plane, the bridge as a program of its own, and for each node the product's own client (internal/kube) with a connection and a
// token of its own; no host is booted. Out come text and data in docs/performance/. With -flood it measures another thing: what others notice of one
// node that writes as fast as it can. With -door it measures what it costs to publish many nodes by the HTTP door, beside a publisher that writes objects
// itself, with -openstack what it costs to poll Neutron for many ports, and with -scale how many bytes a node is in etcd and on the wire.
//
// It must not be believed in seconds: all of it shares the machine's cores. Processor time is that of the processes that are measured alone, and the
// ratios are what is worth comparing.
//
// It needs root and what `go run ./test/cmd/setup` makes. Start reading at fleet.run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"multinicd/test/bed/artifact"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/measure"
	"multinicd/test/bed/product"
	"multinicd/test/bed/proxy"
	"multinicd/test/bed/sandbox"
	"multinicd/test/cmd/fleet/herd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	f := &fleet{begin: time.Now()}
	f.Run = measure.Flags(f.logf)
	flag.IntVar(&f.size, "nodes", 2000, "how many nodes")
	flag.IntVar(&f.atOnce, "at-once", 64, "how many of them join at the same time")
	flag.DurationVar(&f.hold, "hold", 5*time.Minute, "how long they are held before processor time is read")
	flag.IntVar(&f.changes, "changes", 300, "changes of an object, one after the other")
	flag.BoolVar(&f.herds, "herds", true, "measure herds and the bridge too, behind all else")
	flag.DurationVar(&f.away, "away", time.Minute, "how long the API server is away, and how long slow")
	flag.IntVar(&f.requests, "requests", 4000, "requests for each figure about bindings")
	flag.BoolVar(&f.flooded, "flood", false, "measure only what others notice of a node that floods the API server")
	flag.BoolVar(&f.byDoor, "door", false, "measure only what it costs to publish so many nodes by the HTTP door (give -nodes 10000)")
	flag.BoolVar(&f.ports, "openstack", false, "measure only what it costs to poll a real Neutron with 100, 1,000 and 10,000 ports (give -nodes 1000; fewer: fewer ports)")
	flag.BoolVar(&f.looked, "rights", false, "measure only what a request costs the API server by how many nodes it knows, with 10, 100, 1,000 nodes, up to -nodes")
	flag.BoolVar(&f.weighed, "scale", false, "measure only the bytes of a node in etcd and on the wire, with 10, 100, 1,000 nodes, up to -nodes (10000 needs some hours)")
	flag.Parse()
	if flag.NArg() > 0 || f.size < few || f.atOnce < 1 || f.changes < 1 || f.requests < 1 {
		fmt.Fprintf(os.Stderr, "fleet: takes no arguments, at least %d nodes, and no number below 1\n", few)
		os.Exit(2)
	}
	err := f.run(ctx)
	if f.box != nil {
		err = errors.Join(err, f.box.Close())
	}
	if err := errors.Join(err, f.Close()); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

// few nodes are what the many are compared with.
const few = 10

type fleet struct {
	*measure.Run
	size, atOnce, changes, requests int
	hold                            time.Duration
	away                            time.Duration
	flooded, byDoor, ports, weighed bool
	herds, looked                   bool

	begin   time.Time
	box     *sandbox.Sandbox
	cluster *controlplane.Cluster
	binary  string // of the bridge
	bridge  product.Bridge
	nodes   []*node
	joined  int // of them, from the first on
	// ofNodes and ofBridge are their ways to the API server where bytes are counted, nil where not.
	ofNodes, ofBridge *proxy.Counter
	renewed           atomic.Int64 // Leases
	troubles          herd.Troubles
	heldAt            [2]time.Time
	heldFrom          int64 // in the audit log
	// running are the nodes' own goroutines; stop ends them.
	running sync.WaitGroup
	stop    context.CancelFunc
}

func (f *fleet) logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "fleet %6.1f s: %s\n", time.Since(f.begin).Seconds(), fmt.Sprintf(format, args...))
}

func (f *fleet) run(ctx context.Context) error {
	res := results{Nodes: f.size, AtOnce: f.atOnce, Cores: runtime.NumCPU()}
	if err := f.Prepare(ctx, f.needs()); err != nil {
		return err
	}
	if err := f.start(ctx); err != nil {
		return err
	}
	begin := func() error { return f.Begin(ctx) }
	if f.weighed {
		begin = f.Anywhere
	}
	if err := begin(); err != nil {
		return err
	}
	if f.byDoor {
		return f.measureDoor(ctx)
	}
	if f.ports {
		return f.measureOpenStack(ctx)
	}
	life, stop := context.WithCancel(ctx)
	f.stop = stop
	defer func() { stop(); f.running.Wait() }()
	if f.flooded {
		return f.measureFlood(ctx, life)
	}
	if f.weighed {
		return f.measureScale(ctx, life)
	}
	if f.looked {
		return f.measureRights(ctx, life)
	}

	for _, step := range []struct {
		what string
		do   func() error
	}{
		{fmt.Sprintf("%d nodes become known and join", few), func() error {
			if _, err := f.know(ctx, few); err != nil {
				return err
			}
			_, err := f.join(ctx, life, f.nodes)
			return err
		}},
		{"what a request costs with these", func() (err error) { res.Few, err = f.cost(ctx); return err }},
		{fmt.Sprintf("%d nodes become known", f.size), func() (err error) { res.Known, err = f.know(ctx, f.size); return err }},
		{"they join", func() (err error) { res.Joined, err = f.join(ctx, life, f.nodes[few:]); return err }},
		{fmt.Sprintf("they are held for %s", f.hold), func() (err error) { res.Held, err = f.held(ctx); return err }},
		{"changes", func() (err error) { res.Change, err = f.change(ctx); return err }},
		{"what a request costs with all of them", func() (err error) { res.Many, err = f.cost(ctx); return err }},
		{"renewals of tokens", func() (err error) { res.Renewal, err = f.renewals(ctx); return err }},
	} {
		f.logf("%s", step.what)
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	var err error
	if res.Stamp, err = f.End(); err != nil {
		return err
	}
	if err := f.Write(ctx, res.Stamp, measure.Result{Page: fleetPage, Data: res, Text: res.text(), Figures: res.figures()}); err != nil {
		return err
	}
	if err := f.beyond(ctx, res.Stamp); err != nil || !f.herds {
		return err
	}
	return f.measureHerds(ctx)
}

// measureHerds measures what the nodes that are held do all at once, and the bridge.
func (f *fleet) measureHerds(ctx context.Context) error {
	if err := f.Begin(ctx); err != nil {
		return err
	}
	bed := herd.Bed{Logf: f.logf, Box: f.box, Cluster: f.cluster, Bridge: f.bridge, Binary: f.binary, Troubles: &f.troubles, Away: f.away, Held: f.heldAt, From: f.heldFrom}
	for _, n := range f.nodes {
		bed.Nodes = append(bed.Nodes, n.name)
	}
	bed.Each = func(do func(int) error) error { return f.each(f.nodes, func(n *node) error { return do(n.number) }) }
	res, bridge, err := bed.Measure(ctx)
	f.bridge, res.Cores = bridge, runtime.NumCPU()
	if err == nil {
		res.Stamp, err = f.End()
	}
	if err != nil {
		f.logf("what was measured until then:\n%s", res.Text())
		return fmt.Errorf("herds: %w", err)
	}
	return f.Write(ctx, res.Stamp, measure.Result{Page: herd.Page, Data: res, Text: res.Text(), Figures: res.Figures()})
}

func (f *fleet) needs() measure.Needs {
	n := measure.Needs{Memory: 3, Disk: 4, Anywhere: f.weighed}
	if !f.byDoor && !f.ports && !f.flooded {
		n.Memory, n.Disk = 2+float64(f.size)/1000, 4+float64(f.size)/1000
	}
	return n
}

func (f *fleet) start(ctx context.Context) (err error) {
	if f.box, err = sandbox.New(ctx, f.logf); err != nil {
		return err
	}
	if f.binary, err = artifact.BuildCommand(ctx, f.logf, "./cmd/bridge"); err != nil {
		return err
	}
	o := controlplane.Options{Logf: f.logf, GOGC: controlplane.InProduction}
	if f.weighed { // see scale.md: a watch is compressed until it is opened again, five to ten minutes later
		o.APIServerFlags = []string{"--feature-gates=WatchListCompression=false"}
	}
	if f.cluster, err = controlplane.Start(ctx, f.box, o); err != nil {
		return err
	}
	if err := product.Install(ctx, f.cluster); err != nil {
		return err
	}
	cluster := f.cluster
	if f.weighed {
		if f.ofNodes, err = proxy.NewCounter(f.box, cluster.Address); err != nil {
			return err
		}
		if f.ofBridge, err = proxy.NewCounter(f.box, cluster.Address); err != nil {
			return err
		}
		through := *cluster
		through.URL = f.ofBridge.URL
		cluster = &through
	}
	f.bridge, err = product.StartBridge(ctx, f.box, cluster, f.binary)
	return err
}

var silent = slog.New(slog.DiscardHandler)
