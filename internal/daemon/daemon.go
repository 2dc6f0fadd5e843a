// Package daemon is the loop: it walks from the node's object through plan and apply to the report,
// again and again, and always the same way.
//
// In go wishes from a Source and wakes from the kernel; out go changes through an Applier, reports
// through a Reporter, and a Status that `multinicd status` prints. What wakes the loop carries
// nothing: each pass reads everything again.
//
// One goroutine, the one that runs Run, owns the machine. No other part changes a link or a file of
// the host. What talks to the cluster never stops the loop.
//
// Start reading at pass.go, which is the walk; carryout.go does the actions of a plan. Daemon.Run
// only starts goroutines, and loop.go says when a pass is made. news.go has what comes from
// outside, and wiring.go what a Daemon needs of others. Below this package, asked has what an
// object asks for, pace when a NIC is tried again, status what is said of the node, and outbox how
// a report gets to the cluster.
package daemon

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/outbox"
	"multinicd/internal/daemon/pace"
	"multinicd/internal/daemon/status"
	"multinicd/nic"
)

// Daemon is the service, or one pass of it. Which goroutine may use a field is said by the struct
// that the field is in.
type Daemon struct {
	Wiring       // see wiring.go
	state  state // of whoever holds state.mu
	own    own   // of the goroutine that runs Run, Once, Cleanup or Rollback

	// What several goroutines use without state.mu.
	made     sync.Once                    // see setUp
	commands chan command                 // to the loop
	reports  *outbox.Box                  // has a lock of its own
	indexes  atomic.Pointer[map[int]bool] // ifindexes of our links; a stored map is never changed
}

// state is what goroutines share.
type state struct {
	mu sync.Mutex // guards all that follows

	wish   asked.Wish
	fresh  bool // wish has not been written to disk yet
	status status.Node
	meters status.Meters
	down   map[string]status.Part // by name
	// opened: what was cut off is put right, or its NIC blocked; commands are obeyed.
	opened bool
}

// own is what the loop knows for itself. It has no lock, since one goroutine uses it.
type own struct {
	pace    pace.NICs      // when NICs are tried again
	between between        // two states
	counted time.Time      // told of the wish whose change was counted last
	woken   time.Time      // when the kernel's event came that this pass looks into; zero: none did
	events  chan struct{}  // wakes the loop: the kernel has told of something; nil: nobody listens
	serves  bool           // there will be another pass
	started bool           // the service manager knows that we are ready
	alive   time.Time      // when the service manager was told last that a pass goes on
	blinds  int            // passes in a row that could not see the machine
	unseen  error          // why the last pass could not; nil: it could, or did not have to
	given   []status.Given // by the last pass

	repairs map[nic.MAC]status.Repair // the last of each NIC
	told    time.Time                 // when a report last told of nothing but repairs
}

// Run serves until ctx is done; a change under way is finished or rolled back first.
func (d *Daemon) Run(ctx context.Context) error {
	d.setUp()
	d.own.serves = true
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	keep := func(name string, run func(ctx context.Context, again bool) error) {
		wg.Go(func() { d.keepUp(ctx, name, run) })
	}
	if d.Socket != nil {
		keep("answering on the status socket", d.answering()) // whoever waits for READY asks next
	}
	d.read()
	if err := d.recover(ctx); err != nil {
		d.partDown(partRecover, err) // and each pass begins with it
	}
	news, events := make(chan struct{}, 1), make(chan struct{}, 1)
	d.own.events = events
	edits, ready := d.watchFiles(keep, news), make(chan struct{})
	keep("watching the kernel", func(ctx context.Context, again bool) error { return d.watch(ctx, again, ready, events) })
	select {
	case <-ready:
	case <-time.After(10 * time.Second):
		d.Log.Warn("the kernel's events cannot be watched yet; going on without")
	case <-ctx.Done():
		return nil
	}
	<-edits
	d.Machine.Settle(ctx, d.owned())
	// What the node has must stand before anybody waits for us, and before the cluster is asked.
	retry := d.pass(ctx)
	d.askCluster(keep, news)
	d.own.started = true
	d.Notify.Ready()
	d.loop(ctx, news, retry)
	d.Notify.Stopping()
	return nil
}

// askCluster has the parts kept up that speak to the cluster.
func (d *Daemon) askCluster(keep func(name string, run func(ctx context.Context, again bool) error), news chan<- struct{}) {
	if d.Reporter != nil {
		keep("reporting", func(ctx context.Context, _ bool) error { return d.reports.Run(ctx) })
	}
	if d.Source != nil {
		keep("watching the object", func(ctx context.Context, _ bool) error {
			return d.Source.Run(ctx, func(w asked.Wish) { d.take(w, news) })
		})
	}
	if d.Keeper != nil {
		keep("keeping the credential", func(ctx context.Context, _ bool) error {
			return d.Keeper.Run(ctx, func(c status.Credential) { d.keep(c, news) })
		})
	}
}

// startMore is how much longer each NIC of the first pass may hold back that we are ready: more
// than one change takes with its probes and its undo. Thirty NICs without a carrier take two
// minutes together, and a service that is ended for that in mid-pass would never be ready.
const startMore = 2 * time.Minute

// aliveEvery is how often the service manager is told at most that the loop goes on. It waits for
// much longer, and each time wakes it too.
const aliveEvery = time.Second

// Alive tells the service manager, where there is one, that the loop goes on. Only what the loop
// calls may call it.
func (d *Daemon) Alive() {
	now := d.now()
	if since := now.Sub(d.own.alive); d.Notify == nil || since >= 0 && since < aliveEvery {
		return
	}
	d.own.alive = now
	d.Notify.Watchdog()
	if !d.own.started {
		d.Notify.Starting(startMore)
	}
}

func (d *Daemon) now() time.Time {
	if d.Now == nil {
		return time.Now()
	}
	return d.Now()
}

// owned lists the NICs that are in force.
func (d *Daemon) owned() []nic.Config {
	var out []nic.Config
	for _, o := range d.Applier.Record().NICs {
		if o.Applied {
			out = append(out, o.Config)
		}
	}
	return out
}
