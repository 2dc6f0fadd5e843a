package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/hosttest"
	"multinicd/netplan"
	"multinicd/nic"
	"multinicd/plan"
)

// world is a daemon on a fake machine, with a cluster that the test plays.
type world struct {
	t       *testing.T
	machine *hosttest.Machine
	state   *hosttest.Machine // the daemon's own files: it writes them from more than one goroutine
	ids     []string
	daemon  *Daemon

	wake    chan<- struct{}
	edited  func()    // tells that somebody has changed a file
	due     time.Time // for Ready
	ready   bool
	deaf    chan error // ends the watch of the kernel
	notify  func(asked.Wish)
	reports []v1.Report
	sent    [][]byte     // reports that keeps took
	down    atomic.Bool  // the cluster takes no report
	busy    atomic.Int64 // nor while this, a duration, is not 0
	asked   []time.Time  // for a report to be taken
	dad     bool         // neighbours are asked
	beats   atomic.Int64
	logged  atomic.Int64 // lines
	line    string
	keeper  keeper
	clock   func() time.Time
	probed  func(context.Context) error // the probe after a change; nil: passes
	fight   atomic.Bool                 // somebody deletes all addresses of the first link before each look
	lost    atomic.Bool                 // before the next look, once
	alias   atomic.Int64                // of the last link: its alternative name from the next look on
	step    func(name string)           // called before each step of a change; nil: not
	mute    bool                        // the kernel does not tell of the daemon's own changes
	dark    atomic.Bool                 // the machine cannot be read
	wakes   int                         // of the loop
	rests   int                         // times that memory is given back
	cancel  func()                      // begins to stop the daemon
	with    func(*Daemon)               // changes the daemon before it runs; nil: not
	fed     func()                      // called whenever the watchdog is fed; nil: not
}

func (w *world) Events(ctx context.Context, _ func(int) bool, ready, wake chan<- struct{}) error {
	w.wake = wake
	close(ready)
	select {
	case <-ctx.Done():
		return nil
	case err := <-w.deaf:
		return err
	}
}

func (w *world) Edits(ctx context.Context, ready, changed func()) error {
	w.edited = changed
	ready()
	<-ctx.Done()
	return nil
}
func (w *world) Settle(context.Context, []nic.Config) {}
func (w *world) Identity() []string                   { return w.ids }

type machine struct {
	*hosttest.Machine
	*world
}

func (m machine) Look(ctx context.Context) (plan.View, error) {
	turns.Add(1)
	if m.dark.Load() {
		return plan.View{}, errors.New("the dump was torn")
	}
	if m.lost.Swap(false) || m.fight.Load() { // in the goroutine that owns the machine
		m.Net[0].Addresses = nil
	}
	if n := m.alias.Load(); n > 0 {
		m.Net[len(m.Net)-1].AltNames = []string{fmt.Sprint("alias", n)}
	}
	return m.Machine.Look(ctx)
}

func (w *world) Run(ctx context.Context, notify func(asked.Wish)) error {
	w.notify = notify
	<-ctx.Done()
	return nil
}

// busy is the refusal of a server that asks to be left alone for a while.
type busy time.Duration

func (b busy) Error() string           { return "the server is busy" }
func (b busy) Patience() time.Duration { return time.Duration(b) }

func (w *world) Report(_ context.Context, data []byte) error {
	w.asked = append(w.asked, time.Now())
	if d := w.busy.Load(); d > 0 {
		return fmt.Errorf("writing the report: %w", busy(d))
	}
	if w.down.Load() {
		return errors.New("no API server")
	}
	r, err := v1.ParseReport(data)
	if err != nil {
		w.t.Errorf("a report that the bridge would refuse: %v", err)
	}
	w.reports = append(w.reports, r)
	return nil
}
func (w *world) Beat(context.Context) error {
	w.beats.Add(1)
	if d := w.busy.Load(); d > 0 {
		return busy(d)
	}
	return nil
}
func (w *world) Starting(more time.Duration) {
	if now := time.Now(); now.After(w.due) {
		w.t.Errorf("the service manager would have ended the service %s ago", now.Sub(w.due))
	}
	w.due = time.Now().Add(more)
}
func (w *world) Ready() {
	turns.Add(1)
	if now := time.Now(); now.After(w.due) {
		w.t.Errorf("the service manager would have ended the service %s ago", now.Sub(w.due))
	}
	w.ready = true
}
func (w *world) Status(line string) {
	turns.Add(1)
	w.line, w.wakes = line, w.wakes+1
}
func (w *world) Watchdog() {
	if w.fed != nil {
		w.fed()
	}
}
func (w *world) Stopping()                       {}
func (w *world) WatchdogInterval() time.Duration { return time.Minute }

func (w *world) Before(context.Context, int) func(context.Context) error {
	return func(ctx context.Context) error {
		if w.probed != nil {
			return w.probed(ctx)
		}
		return nil
	}
}

func link(id int) nic.Link {
	return nic.Link{Index: 10 + id, Name: fmt.Sprintf("eth%d", id), MAC: nic.MAC{2, 0, 0, 0, 1, byte(id)}, Device: true, MTU: 1500, MaxMTU: 9000}
}

// shared is the state folder of a fake machine, which the loop and what delivers the reports write.
type shared struct {
	mu sync.Mutex
	*hosttest.Machine
}

func (s *shared) Read(name string) ([]byte, fs.FileMode, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Machine.Read(name)
}

func (s *shared) Write(name string, data []byte, mode fs.FileMode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Machine.Write(name, data, mode)
}

func newWorld(t *testing.T) *world {
	return &world{t: t, machine: hosttest.New(link(1), link(2)), state: hosttest.New()}
}

// start runs a new daemon on the machine until the returned function is called. It must be called within a synctest bubble.
func (w *world) start() (stop func()) {
	backend := netplan.New(w.machine, w.machine)
	backend.DAD = w.dad
	a := &apply.Applier{Backend: backend, Links: w.machine, Files: w.machine, Probe: w, Log: slog.New(slog.DiscardHandler),
		Dir: "/state", Boot: "boot", ProbeTimeout: time.Second, VerifyTimeout: time.Second, At: func(point string) {
			if w.wake != nil && !w.mute {
				nudge(w.wake) // the kernel tells of each change, whoever makes it
			}
			if w.step != nil {
				w.step(point)
			}
		}}
	onDelete := "retain"
	if w.daemon != nil {
		onDelete = w.daemon.OnDelete
	}
	w.daemon = &Daemon{Wiring: Wiring{Node: "n1", Version: "test", Executor: v1.ExecutorDaemon, OnDelete: onDelete, Dir: "/state", Resync: 5 * time.Minute,
		Source: w, Keeper: &w.keeper, Reporter: w, Notify: w, Applier: a, Machine: machine{w.machine, w}, Edits: w.Edits, Files: &shared{Machine: w.state}, Log: slog.New(slog.DiscardHandler), Now: w.clock}}
	w.daemon.Resting = func() { w.rests++ }
	if w.with != nil {
		w.with(w.daemon)
	}
	w.due, w.ready = time.Now().Add(2*time.Minute), false // TimeoutStartSec of the unit
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.daemon.Run(ctx); err != nil {
			w.t.Errorf("running: %v", err)
		}
	}()
	synctest.Wait()
	return func() { cancel(); <-done }
}

func (w *world) tell(wish asked.Wish) {
	wish.Contact = time.Now()
	w.notify(wish)
	sleep(time.Second) // what is to be done at once is done
}

// turns orders, for the race detector, what a test does to the world before time passes and what the loop then does with it: fake time does not.
var turns atomic.Int64

// sleep lets fake time pass.
func sleep(d time.Duration) {
	turns.Add(1)
	time.Sleep(d)
	synctest.Wait()
}

func object(uid string, generation int64, cidrs ...string) *v1.MultiNicNodeConfig {
	obj := &v1.MultiNicNodeConfig{Spec: v1.MultiNicNodeConfigSpec{NodeName: "n1"}}
	obj.Name, obj.UID, obj.Generation = "n1", types.UID(uid), generation
	obj.Status.ObservedGeneration = generation // as if the bridge had been quick
	for i, cidr := range cidrs {
		id := int32(i + 1)
		obj.Spec.Interfaces = append(obj.Spec.Interfaces, v1.Interface{ID: &id, MACAddress: fmt.Sprintf("02:00:00:00:01:%02d", id), CIDR: cidr})
	}
	return obj
}

func (w *world) addresses() string {
	var out []string
	for _, l := range w.machine.Net {
		for _, a := range l.Addresses {
			out = append(out, l.Name+" "+a.Prefix.String())
		}
	}
	return strings.Join(out, ", ")
}

func (w *world) want(addresses string) {
	w.t.Helper()
	if diff := cmp.Diff(addresses, w.addresses()); diff != "" {
		w.t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

func (w *world) lastReport() v1.Report {
	w.t.Helper()
	if len(w.reports) == 0 {
		w.t.Fatal("no report")
	}
	return w.reports[len(w.reports)-1]
}
