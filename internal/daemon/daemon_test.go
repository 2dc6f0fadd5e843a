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
func (w *world) Settle(context.Context, []nic.Config) {}
func (w *world) Identity() []string                   { return w.ids }

type machine struct {
	*hosttest.Machine
	*world
}

func (m machine) Look(ctx context.Context) (plan.Machine, error) {
	turns.Add(1)
	if m.dark.Load() {
		return plan.Machine{}, errors.New("the dump was torn")
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
		Source: w, Keeper: &w.keeper, Reporter: w, Notify: w, Applier: a, Machine: machine{w.machine, w}, Files: &shared{Machine: w.state}, Log: slog.New(slog.DiscardHandler), Now: w.clock}}
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

func TestAnObjectIsConfiguredAndReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
		w.want("multinic1 192.0.2.1/24, multinic2 198.51.100.1/24")
		if len(w.reports) != 1 || w.reports[0].UID != "u1" || w.reports[0].Generation != 1 || len(w.reports[0].Interfaces) != 2 {
			t.Errorf("reports: %+v", w.reports)
		}
		if !strings.HasPrefix(w.line, "generation 1 Configured, 2/2 NICs ready") {
			t.Errorf("the status line is %q", w.line)
		}
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
		w.machine.Ops = 0
		sleep(time.Hour)
		if len(w.reports) != 1 || w.machine.Ops != 0 {
			t.Errorf("an hour later: %d reports, %d operations; want 1 and 0", len(w.reports), w.machine.Ops)
		}
		if n := w.beats.Load(); n < 25 || n > 40 {
			t.Errorf("%d renewals of the Lease in an hour, want about 30", n)
		}
	})
}

func TestAReportThatCannotBeDeliveredOutlivesARestartAndIsDeliveredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		w.down.Store(true)
		w.tell(asked.Wish{Object: object("u1", 3, "192.0.2.1/24")})
		sleep(10 * time.Minute)
		stop()
		stop = w.start()
		sleep(time.Minute)
		w.down.Store(false)
		sleep(5 * time.Minute)
		stop()
		stop = w.start()
		sleep(5 * time.Minute)
		stop()
		if len(w.reports) != 1 || w.reports[0].Generation != 3 {
			t.Errorf("reports: %+v", w.reports)
		}
	})
}

func TestAServerThatAsksForPatienceGetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const rest = 10 * time.Minute
		w.busy.Store(int64(rest))
		stop := w.start()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.2/24")}) // a newer report is no reason to ask
		w.want("multinic1 192.0.2.2/24")
		sleep(time.Hour)
		if n := w.beats.Load(); n < 5 || n > 6 {
			t.Errorf("%d renewals of the Lease in an hour, want one in 10 min and a little more", n)
		}
		w.busy.Store(0)
		sleep(15 * time.Minute)
		stop()
		if n := len(w.asked); n < 6 || n > 7 {
			t.Errorf("a report was sent %d times in an hour and a quarter, want once in 10 min and a little more", n)
		}
		for i := range w.asked[1:] {
			if gap := w.asked[i+1].Sub(w.asked[i]); gap < rest {
				t.Errorf("asked again after %v", gap)
			}
		}
		if len(w.reports) != 1 || w.reports[0].Generation != 2 {
			t.Errorf("reports: %+v, want the newest, once", w.reports)
		}
	})
}

func TestAReportThatTheClusterHasLostIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		obj := object("u1", 1, "192.0.2.1/24")
		obj.Status.ObservedGeneration = 0
		w.tell(asked.Wish{Object: obj})
		sleep(6 * time.Minute)
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		sleep(time.Hour)
		if len(w.reports) != 2 {
			t.Errorf("%d reports, want 2: one, and one again after the status had not followed for 5 min", len(w.reports))
		}
	})
}

func TestTheLastKnownGoodObjectIsEnforcedWithoutTheCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		stop()
		w.machine.Net[0].Addresses = nil
		stop = w.start()
		w.want("multinic1 192.0.2.1/24")
		w.tell(asked.Wish{Err: errors.New("unreachable")})
		w.machine.Net[0].Addresses = nil
		w.wake <- struct{}{}
		sleep(time.Second)
		w.want("multinic1 192.0.2.1/24")
		stop()
	})
}

func TestAFileThatCannotBeUsedKeepsWhatIsInForceAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.with = func(d *Daemon) { d.Mode = "file" }
		bad := asked.Wish{Err: errors.New("node.yaml:11: one\nnode.yaml:12: two")}
		says := func(want string) {
			t.Helper()
			if w.line != want {
				t.Errorf("the status line is %q, want %q", w.line, want)
			}
			if text := w.daemon.Status().Table(); !strings.Contains(text, "node.yaml:12: two") {
				t.Errorf("the status does not say what is wrong:\n%s", text)
			}
		}
		stop := w.start()
		w.tell(bad)
		sleep(time.Hour)
		w.want("")
		says("the file cannot be used, and no object was known before: node.yaml:11: one; node.yaml:12: two")
		w.tell(asked.Wish{Object: object("", 0, "192.0.2.1/24")})
		w.want("multinic1 192.0.2.1/24")
		w.tell(bad)
		sleep(time.Hour)
		w.want("multinic1 192.0.2.1/24")
		says("generation 0 Configured, 1/1 NICs ready, what is in force is kept: the file cannot be used: node.yaml:11: one; node.yaml:12: two")
		stop()
		stop = w.start()
		w.tell(bad)
		sleep(time.Hour)
		w.want("multinic1 192.0.2.1/24")
		says("generation 0 Configured, 1/1 NICs ready, what is in force is kept: the file cannot be used: node.yaml:11: one; node.yaml:12: two")
		stop()
	})
}

func TestDeletion(t *testing.T) {
	for onDelete, want := range map[string]string{"retain": "multinic1 192.0.2.1/24", "restore": ""} {
		t.Run(onDelete, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.daemon = &Daemon{Wiring: Wiring{OnDelete: onDelete}}
				defer w.start()()
				w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
				w.tell(asked.Wish{Err: errors.New("unreachable")})
				w.want("multinic1 192.0.2.1/24")
				w.tell(asked.Wish{Gone: true})
				w.want(want)
				r := w.lastReport()
				kept := r.Degraded != nil && r.Degraded.Reason == v1.ReasonRetained && strings.Contains(r.Degraded.Message, "1 NIC is kept as it is (on_delete = retain)")
				rows := len(r.Interfaces) == 1 && r.Interfaces[0].Name == "multinic1" && r.Interfaces[0].Reason == v1.ReasonRetained
				if r.UID != "u1" || r.Phase != v1.PhaseRemoved || kept != (want != "") || rows != kept {
					t.Errorf("the report on the end of the object is %+v %+v", r, r.Degraded)
				}
				w.tell(asked.Wish{Object: object("u2", 1, "192.0.2.2/24")})
				w.want("multinic1 192.0.2.2/24")
				if r := w.lastReport(); r.UID != "u2" {
					t.Errorf("the last report is for %s", r.UID)
				}
			})
		})
	}
}

func TestAFailedChangeIsTriedAgainLaterAndNotAtEveryEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.machine.Refuse = errors.New("netplan says no")
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.want("")
		if r := w.lastReport(); r.Interfaces[0].Reason != v1.ReasonValidationFailed || r.Interfaces[0].Status != v1.StateFailed {
			t.Errorf("the report says %+v", r.Interfaces[0])
		}
		tries := w.machine.Asked
		for range 20 {
			w.wake <- struct{}{}
			sleep(100 * time.Millisecond)
		}
		if w.machine.Asked != tries {
			t.Errorf("tried %d times within 2 s of events", w.machine.Asked-tries)
		}
		w.machine.Refuse = nil
		w.wake <- struct{}{} // too early, but from here on the loop knows
		sleep(time.Minute)
		w.want("multinic1 192.0.2.1/24")
		if r := w.lastReport(); r.Interfaces[0].Status != v1.StateConfigured {
			t.Errorf("the report says %+v", r.Interfaces[0])
		}
	})
}

func TestANICThatCannotBeGivenBackIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.10/24", "192.0.2.130/25")})
		w.machine.FailFrom = w.machine.Ops + 1
		w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.10/24")})
		s := w.daemon.Status()
		if n := s.NICs[len(s.NICs)-1]; s.State != string(v1.StateFailed) || n.Name != "multinic2" || !n.Unwanted || n.Outcome != apply.Failed {
			t.Errorf("status is %s, %+v", s.State, n)
		}
		r := w.reports[len(w.reports)-1]
		if r.Degraded == nil || !strings.Contains(r.Degraded.Message, "injected fault") || len(r.Interfaces) != 1 {
			t.Errorf("the report is %+v", r)
		}
		w.machine.FailFrom = 0
		w.wake <- struct{}{} // too early, but from here on the loop knows
		sleep(time.Minute)
		if s := w.daemon.Status(); s.State != string(v1.StateConfigured) || len(s.NICs) != 1 {
			t.Errorf("later the status is %s, %+v", s.State, s.NICs)
		}
	})
}

func TestInstanceID(t *testing.T) {
	tests := map[string]struct {
		want, override string
		host           []string
		refused        bool
		unverified     bool
	}{
		"none is asked for":                   {"", "", []string{"i-1"}, false, false},
		"the same":                            {"i-1", "", []string{"I-1"}, false, false},
		"another of the same kind":            {"i-1", "", []string{"i-2"}, true, false},
		"only another kind is known":          {"i-1", "", []string{"0c497169-a104-4448-afde-f27b79fca904"}, false, true},
		"nothing is known":                    {"i-1", "", nil, false, true},
		"the configuration says so":           {"i-1", "i-1", []string{"i-2"}, false, false},
		"the configuration says another one":  {"i-1", "i-3", []string{"i-1"}, true, false},
		"one of several, in another spelling": {"0C497169-A104-4448-AFDE-F27B79FCA904", "", []string{"x", "0c497169-a104-4448-afde-f27b79fca904"}, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.ids = tt.host
				stop := w.start()
				w.daemon.Instance = tt.override
				obj := object("u1", 1, "192.0.2.1/24")
				obj.Spec.InstanceID = tt.want
				w.tell(asked.Wish{Object: obj})
				stop()
				r := w.lastReport()
				if got := r.Refused != nil && r.Refused.Reason == v1.ReasonIdentityMismatch; got != tt.refused || got != (w.addresses() == "") {
					t.Errorf("refused: %v, addresses %q; want %v", got, w.addresses(), tt.refused)
				}
				if got := r.Degraded != nil && r.Degraded.Reason == v1.ReasonIdentityUnverified; got != tt.unverified {
					t.Errorf("unverified: %v, want %v", got, tt.unverified)
				}
			})
		})
	}
}

func TestAnEntryThatCannotBeReadNeverTakesANICBack(t *testing.T) {
	tests := map[string]func(n *v1.Interface){
		"its address is wrong": func(n *v1.Interface) { n.CIDR = "192.0.2.300/24" },
		"its MAC is wrong":     func(n *v1.Interface) { n.MACAddress = "nonsense" },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.start()()
				w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
				bad := object("u1", 2, "192.0.2.1/24", "198.51.100.2/24")
				spoil(&bad.Spec.Interfaces[0])
				w.tell(asked.Wish{Object: bad})
				w.want("multinic1 192.0.2.1/24, multinic2 198.51.100.2/24")
				r := w.lastReport()
				if len(r.Interfaces) != 2 || r.Interfaces[0].Reason != v1.ReasonInvalidSpec || r.Interfaces[1].Status != v1.StateConfigured {
					t.Errorf("the report says %+v", r.Interfaces)
				}
			})
		})
	}
}

func TestAnObjectThatCannotBeReadAtAllIsReportedAndChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.tell(asked.Wish{Err: errors.New("malformed"), Unread: &asked.Unread{UID: "u1", Generation: 2, Message: "spec.interfaces[0].id: it is a string"}})
		w.want("multinic1 192.0.2.1/24")
		if r := w.lastReport(); r.Generation != 2 || r.Refused == nil || r.Refused.Reason != v1.ReasonInvalidSpec {
			t.Errorf("the report says %+v", r)
		}
		w.tell(asked.Wish{Object: object("u1", 3, "192.0.2.3/24")})
		w.want("multinic1 192.0.2.3/24")
	})
}

func TestReadyComesInTimeHoweverManyNICsTheFirstPassWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var links []nic.Link
		var cidrs []string
		for i := range 30 {
			links, cidrs = append(links, link(i+1)), append(cidrs, fmt.Sprintf("10.0.%d.1/24", i))
		}
		w.machine = hosttest.New(links...)
		stop := w.start()
		obj := object("u1", 1, cidrs...)
		for i := range obj.Spec.Interfaces {
			obj.Spec.Interfaces[i].MACAddress = links[i].MAC.String()
		}
		w.tell(asked.Wish{Object: obj})
		stop()
		w.with = func(d *Daemon) {
			d.Applier = applier{Applier: d.Applier, did: func(plan.Action) { time.Sleep(5 * time.Second) }}
		}
		defer w.start()()
		sleep(3 * time.Minute)
		if !w.ready {
			t.Error("the daemon is not ready after three minutes")
		}
	})
}
