// Package daemon is the loop: it walks from the node's object through plan and apply to the report, again and again, and always the same way.
//
// In go wishes from a Source and wakes from the kernel; out go changes through an Applier, reports through a Reporter, and a
// Status that `multinicd status` prints. What wakes the loop carries nothing: each pass reads everything again.
//
// One goroutine, the one that runs Run, owns the machine. No other part changes a link or a file of the host. What talks to the
// cluster never stops the loop.
//
// Start reading at Daemon.Run, then loop.go and pass.go; news.go has what comes from outside.
package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/nic"
	"multinicd/plan"
)

// Source tells what is wanted. Run calls notify for each news, from one goroutine, until ctx is done.
type Source interface {
	Run(ctx context.Context, notify func(Wish)) error
}

// Reporter carries a report, encoded, to the cluster, and shows that the node lives. Both may fail; both are tried again.
type Reporter interface {
	Report(ctx context.Context, data []byte) error
	Beat(ctx context.Context) error
}

// Keeper keeps the credential good. Run calls notify for each news, from one goroutine, until ctx is done.
type Keeper interface {
	Run(ctx context.Context, notify func(Credential)) error
}

// Applier changes the host; internal/apply has the one.
type Applier interface {
	Changer
	Recoverer
}

// Changer carries actions out, and remembers what is ours.
type Changer interface {
	Do(ctx context.Context, a plan.Action) apply.Result
	Record() plan.Record
	Complete() error // of the record, by what our files say
}

// Recoverer puts right what was cut off.
type Recoverer interface {
	Recover(ctx context.Context) ([]apply.Recovered, error)
	// Halfway lists the changes that could not be undone, and Resume tries that of one NIC again.
	Halfway() []apply.Half
	Resume(ctx context.Context, mac nic.MAC) error
}

// Machine shows what is there, and wakes on what the kernel says.
type Machine interface {
	Look(ctx context.Context) (plan.Machine, error)
	// Events sends on wake, without waiting, when something may have changed on a link or, for what is not a link, on one of those in ours;
	// it closes ready once nothing can be missed any more, and returns when ctx is done.
	Events(ctx context.Context, ours func(index int) bool, ready chan<- struct{}, wake chan<- struct{}) error
	// Settle waits, not for long, until the host's network manager has done by itself what our files tell it.
	Settle(ctx context.Context, owned []nic.Config)
	Identity() []string // what instanceId may be compared with
}

// Notifier speaks to the service manager.
type Notifier interface {
	Starting(more time.Duration) // asks for more time until Ready
	Ready()
	Status(line string)
	Watchdog()
	Stopping()
	WatchdogInterval() time.Duration // 0: none wanted
}

// Daemon is the service, or one pass of it. Which goroutine may use a field is said by the struct that the field is in.
type Daemon struct {
	Wiring
	state state // of whoever holds state.mu
	own   own   // of the goroutine that runs Run, Once, Cleanup or Rollback

	// What several goroutines use without state.mu.
	made     sync.Once                    // see setUp
	commands chan command                 // to the loop
	reports  *outbox                      // has a lock of its own
	indexes  atomic.Pointer[map[int]bool] // ifindexes of our links; a map that is stored is never changed
}

// Wiring is what a Daemon is made of, set before its first use and never changed. All fields but Source, Keeper, Reporter and Notify are needed.
type Wiring struct {
	Node     string
	Version  string
	Executor v1.Executor
	Job      string // in which Once runs; empty: in none
	OnDelete string // "retain" or "restore"
	Mode     string // of the source, for status: "watch", "poll", "file"
	Backend  string // for status
	Evidence []string
	Dir      string // state folder, absolute
	Resync   time.Duration
	Instance string // overrides Machine.Identity where set
	// Unsupported says why nothing at all can be done on this host now, "" where it can. nil: it always can.
	Unsupported func(ctx context.Context) string

	Source   Source
	Keeper   Keeper // nil: there is no credential
	Reporter Reporter
	Notify   Notifier
	Applier  Applier
	Machine  Machine
	Files    Files
	Log      *slog.Logger
	// Whose returns, and forgets, the last process other than multinicd that changed something of a
	// link. what is what was changed: an address (netip.Prefix), a route (nic.Route) or a rule
	// (nic.Rule). index is the link's ifindex, 0 for a rule. "" means unknown. A nil Whose turns
	// the question off.
	Whose func(index int, what any) string
	// Socket makes the socket on which Serve answers, anew each time. nil: Run answers nobody.
	Socket func() (net.Listener, error)
	// Now is the clock of the host; nil means time.Now. Spans are told by its monotonic reading, which setting the clock does not move.
	Now func() time.Time
}

// state is what goroutines share.
type state struct {
	mu sync.Mutex // guards all that follows

	wish   Wish
	fresh  bool // wish has not been written to disk yet
	status Status
	meters Meters
	down   map[string]Part // by name
	opened bool            // what was cut off is put right, or its NIC blocked, and commands are obeyed
}

// own is what the loop knows for itself. It has no lock, since one goroutine uses it.
type own struct {
	retries
	paces   map[nic.MAC]*pace // of changes that are half way
	between between           // two states
	counted time.Time         // told of the wish whose change was counted last
	woken   time.Time         // when the kernel's event came that this pass looks into; zero: none did
	events  chan struct{}     // wakes the loop: the kernel has told of something; nil: nobody listens
	serves  bool              // there will be another pass
	started bool              // the service manager knows that we are ready
	blinds  int               // passes in a row that could not see the machine
	unseen  error             // why the last pass could not; nil: it could, or did not have to
	given   []Given           // by the last pass
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
		first, failed := d.Socket() // here, since whoever waits for READY asks next
		keep("answering on the status socket", func(ctx context.Context, again bool) error {
			l, err := first, failed
			if again {
				l, err = d.Socket()
			}
			if err != nil {
				return err
			}
			return d.Serve(ctx, l)
		})
	}
	d.read()
	if err := d.recover(ctx); err != nil {
		d.partDown(partRecover, err) // and each pass begins with it
	}
	news, events := make(chan struct{}, 1), make(chan struct{}, 1)
	d.own.events = events
	ready := make(chan struct{})
	keep("watching the kernel", func(ctx context.Context, again bool) error { return d.watch(ctx, again, ready, events) })
	select {
	case <-ready:
	case <-time.After(10 * time.Second):
		d.Log.Warn("the kernel's events cannot be watched yet; going on without")
	case <-ctx.Done():
		return nil
	}
	d.Machine.Settle(ctx, d.owned())
	retry := d.pass(ctx) // what the node has must stand before anybody waits for us, and before the cluster is asked
	if d.Reporter != nil {
		keep("reporting", func(ctx context.Context, _ bool) error { return d.reports.run(ctx) })
	}
	if d.Source != nil {
		keep("watching the object", func(ctx context.Context, _ bool) error {
			return d.Source.Run(ctx, func(w Wish) { d.take(w, news) })
		})
	}
	if d.Keeper != nil {
		keep("keeping the credential", func(ctx context.Context, _ bool) error {
			return d.Keeper.Run(ctx, func(c Credential) { d.keep(c, news) })
		})
	}
	d.own.started = true
	d.Notify.Ready()
	d.loop(ctx, news, retry)
	d.Notify.Stopping()
	return nil
}

// startMore is how much longer each NIC of the first pass may hold back that we are ready: more than one change takes with its probes and its
// undo. Thirty NICs without a carrier take two minutes together, and a service that is ended for that in mid-pass would never be ready.
const startMore = 2 * time.Minute

// Alive tells the service manager, where there is one, that the loop goes on. Only what the loop calls may call it.
func (d *Daemon) Alive() {
	if d.Notify == nil {
		return
	}
	d.Notify.Watchdog()
	if !d.own.started {
		d.Notify.Starting(startMore)
	}
}

// Once does a single pass for wish and gives what came of each NIC. It is what `multinicd apply` runs. The object is remembered as the
// last known good one, so that a daemon that starts later keeps it.
func (d *Daemon) Once(ctx context.Context, wish Wish) (Status, error) {
	if err := d.open(ctx); err != nil {
		return Status{}, err
	}
	d.state.wish.Cleaned = false // who calls this wants the NICs
	d.take(wish, make(chan struct{}, 1))
	d.Machine.Settle(ctx, d.owned()) // it may be right after a boot here, too
	d.pass(ctx)
	if d.own.unseen != nil {
		return Status{}, d.own.unseen
	}
	if d.Reporter != nil {
		if err := d.reports.flush(ctx); err != nil {
			return d.Status(), fmt.Errorf("delivering the report: %w", err)
		}
	}
	return d.Status(), nil
}

// setUp makes what several goroutines use, before the first of them begins. It may be called again.
func (d *Daemon) setUp() {
	d.made.Do(func() {
		d.commands = make(chan command)
		d.state.down = map[string]Part{}
		d.own.retries = newRetries()
		d.own.between.done = map[string]time.Time{}
		d.reports = newOutbox(d.Reporter, store{d.Files, d.Dir}, d.Log)
	})
}

// open recovers from a crash and reads what was known.
func (d *Daemon) open(ctx context.Context) error {
	d.setUp()
	d.read()
	return d.recover(ctx)
}

// recover puts right what a crash has cut off, and has commands obeyed from then on. An error means that nothing is known of the host's NICs.
func (d *Daemon) recover(ctx context.Context) error {
	found, err := d.Applier.Recover(ctx)
	if err != nil {
		return fmt.Errorf("recovering from an interrupted change: %w", err)
	}
	for _, r := range found { // what could not be undone is the trouble of that NIC only
		d.Log.Warn("a change had been cut off", "mac", r.NIC.MAC, "finished", r.Forward, "damaged", r.Damaged, "err", r.Err)
	}
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	d.state.opened = true
	return nil
}

// read reads what was known of the object, and of the report on it.
func (d *Daemon) read() {
	d.own.retries = newRetries()
	st := store{d.Files, d.Dir}
	wish, err := st.loadWish()
	if err != nil {
		d.Log.Error("the last known good object cannot be read; waiting for the cluster", "err", err)
		wish = Wish{}
	}
	before, err := st.loadReport()
	if err != nil {
		d.Log.Error("the last report cannot be read; a new one is made", "err", err)
		before = sent{}
	}
	d.reports.restore(before)
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	d.state.wish = wish
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
