package daemon

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/outbox"
	"multinicd/internal/daemon/status"
)

// part is a source, or a keeper, that runs for so long each time and then ends in some way.
type part struct {
	runs *atomic.Int64
	last *atomic.Int64 // how long it runs, a duration
	end  func() error  // nil: by itself, without an error
}

func (p part) run(ctx context.Context) error {
	p.runs.Add(1)
	select {
	case <-time.After(time.Duration(p.last.Load())):
	case <-ctx.Done():
	}
	if p.end != nil {
		return p.end()
	}
	return nil
}

type partSource struct{ part }

func (p partSource) Run(ctx context.Context, _ func(asked.Wish)) error { return p.run(ctx) }

type partKeeper struct{ part }

func (p partKeeper) Run(ctx context.Context, _ func(status.Credential)) error { return p.run(ctx) }

func TestAPartThatEndsIsStartedAgainLaterEachTimeAndTheStatusSaysSo(t *testing.T) {
	for name, row := range map[string]struct {
		end  func() error
		says string
	}{
		"by an error": {func() error { return errors.New("the watch was cut off") }, "the watch was cut off"},
		"by itself":   {nil, "it has ended by itself"},
		"by a panic":  {func() error { panic("index out of range") }, "panic: index out of range"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				p := part{new(atomic.Int64), new(atomic.Int64), row.end}
				w.with = func(d *Daemon) { d.Source = partSource{p} }
				began := time.Now()
				defer w.start()()
				sleep(time.Hour)
				// 1 s, 2 s, 4 s and so on to a minute.
				if runs := p.runs.Load(); runs < 60 || runs > 70 {
					t.Errorf("started %d times in an hour, want a little more than once a minute", runs)
				}
				s := w.daemon.Status()
				if len(s.Down) != 1 || s.Down[0].Name != "watching the object" || !s.Down[0].Since.Equal(began) || s.Down[0].Error != row.says {
					t.Errorf("parts that are down: %+v", s.Down)
				}
				if line := "watching the object does not work since 2000-01-01T00:00:00Z: " + row.says; !strings.Contains(whole(s), line) || !strings.Contains(s.Line(), line) ||
					!strings.Contains(s.Metrics(), "\nmultinicd_parts_down 1\n") {
					t.Errorf("%q is not said in\n%s\nor there is no metric of it in\n%s", line, whole(s), s.Metrics())
				}
				p.last.Store(int64(24 * time.Hour))
				sleep(5 * time.Minute)
				if s := w.daemon.Status(); len(s.Down) != 0 {
					t.Errorf("it runs again, and the status says %+v", s.Down)
				}
			})
		})
	}
}

// fragile is a reporter that panics at the first report.
type fragile struct {
	outbox.Reporter
	broken *atomic.Bool
}

func (f fragile) Report(ctx context.Context, data []byte) error {
	if !f.broken.Swap(true) {
		panic("index out of range")
	}
	return f.Reporter.Report(ctx, data)
}

func TestAReportInHandWhenItsPartEndedIsDeliveredAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.with = func(d *Daemon) { d.Reporter = fragile{w, new(atomic.Bool)} }
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		sleep(time.Minute)
		if len(w.reports) != 1 || !w.daemon.Status().Delivered {
			t.Errorf("%d reports", len(w.reports))
		}
	})
}

func TestWhatWasMissedWhileNobodyWatchedTheKernelIsSeenAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.deaf = make(chan error)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.lost.Store(true)
		w.deaf <- errors.New("no buffer space")
		sleep(2 * time.Second)
		w.want("multinic1 192.0.2.1/24")
		if w.lost.Load() {
			t.Error("nobody has looked again")
		}
	})
}

func TestWhatTheLoopCannotDoIsSaidUntilItCan(t *testing.T) {
	for name, row := range map[string]struct {
		happen, end func(w *world)
		says        string
	}{
		"the machine cannot be read": {func(w *world) { w.dark.Store(true) }, func(w *world) { w.dark.Store(false) }, "reading the machine does not work since 2000-01-01T00:00:01Z: the dump was torn"},
		"the object cannot be written": {func(w *world) {
			w.state.FailFrom = 1
			w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.2/24")})
		}, func(w *world) { w.state.FailFrom = 0 }, "keeping the object on disk does not work since 2000-01-01T00:00:01Z: writing last-known-good.json: injected fault"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.start()()
				w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
				row.happen(w)
				w.wake <- struct{}{}
				sleep(10 * time.Minute)
				if line := w.daemon.Status().Line(); !strings.Contains(line, row.says) {
					t.Errorf("%q is not said in %s", row.says, line)
				}
				row.end(w)
				w.wake <- struct{}{}
				sleep(time.Second)
				if down := w.daemon.Status().Down; len(down) != 0 {
					t.Errorf("it works again, and the status says %v", down)
				}
			})
		})
	}
}

// What is remembered of the NICs cannot be read: the daemon starts all the same, touches none, says so on the node and in the cluster, and goes on by itself.
func TestADaemonThatDoesNotKnowWhatIsItsStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		stop()
		w.machine.Unreadable = "/state/record.json"
		stop = w.start()
		if !w.ready {
			t.Error("the service manager still waits")
		}
		w.machine.Ops = 0
		w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.2/24")})
		if r := w.daemon.ask(t.Context(), AskCleanup); r.Error != askStarting {
			t.Errorf("a cleanup is answered with %q", r.Error)
		}
		sleep(10 * time.Minute)
		w.want("multinic1 192.0.2.1/24")
		s, reports := w.daemon.Status(), len(w.reports)
		if s.State != string(v1.StateFailed) || s.Reason != v1.ReasonApplyFailed || s.Generation != 2 || !strings.Contains(s.Message, "record.json") || !strings.Contains(s.Line(), partRecover+" does not work since") {
			t.Errorf("the status is %+v", s)
		}
		if r := w.lastReport(); r.Generation != 2 || r.Refused == nil || r.Refused.Reason != v1.ReasonApplyFailed {
			t.Errorf("the report is %+v", r)
		}
		sleep(time.Hour)
		if passes := w.daemon.Status().Meters.Passes - s.Meters.Passes; passes > 80 || len(w.reports) != reports || w.machine.Ops != 0 {
			t.Errorf("%d passes, %d reports and %d operations in an hour", passes, len(w.reports)-reports, w.machine.Ops)
		}
		w.machine.Unreadable = ""
		sleep(time.Minute)
		w.want("multinic1 192.0.2.2/24")
		if s := w.daemon.Status(); s.State != string(v1.StateConfigured) || len(s.Down) != 0 || w.lastReport().Refused != nil {
			t.Errorf("the status is %+v", s)
		}
		stop()
	})
}
