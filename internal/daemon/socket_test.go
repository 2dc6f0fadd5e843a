package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/asked"
	"multinicd/plan"
)

// socket is a status socket of pipes.
type socket struct {
	dialled chan net.Conn
	closed  chan struct{}
}

func (s *socket) listen() (net.Listener, error) {
	return &socket{dialled: s.dialled, closed: make(chan struct{})}, nil
}

func (s *socket) Accept() (net.Conn, error) {
	select {
	case c := <-s.dialled:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *socket) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}

func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: "/run/multinicd/multinicd.sock"} }

// ask sends a request as a client does.
func (s *socket) ask(t *testing.T, request string) (r Reply) {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	s.dialled <- there
	if _, err := io.WriteString(here, request+"\n"); err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(bufio.NewReader(here)).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestADaemonThatIsStillStartingAnswersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &socket{dialled: make(chan net.Conn)}
		w.with = func(d *Daemon) {
			d.Socket = s.listen
			d.Applier = slow{d.Applier, time.Minute}
		}
		defer w.start()()
		began := time.Now()
		if r := s.ask(t, AskStatus); r.Status.Node != "n1" || r.Status.State != "Waiting" || r.Status.Message != "starting" {
			t.Errorf("the status is %+v", r.Status)
		}
		for _, command := range []string{AskRollback, AskCleanup, AskTrigger} {
			if r := s.ask(t, command); r.Error != askStarting {
				t.Errorf("to %s it says %q", command, r.Error)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the answers took %s", took)
		}
		sleep(2 * time.Minute)
		if r := s.ask(t, AskCleanup); r.Error != "" || r.Status.Message != leftMessage {
			t.Errorf("once it runs: %+v", r)
		}
	})
}

// Who has put right what was wrong need not wait for the next retry, on the node neither.
func TestATriggerByHandTriesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &socket{dialled: make(chan net.Conn)}
		w.with = func(d *Daemon) { d.Socket = s.listen }
		defer w.start()()
		w.failed()
		if n := w.daemon.Status().NICs; len(n) != 1 || n[0].Status != v1.StateFailed {
			t.Fatalf("the NICs are %+v", n)
		}
		began := time.Now()
		r := s.ask(t, AskTrigger)
		if n := r.Status.NICs; r.Error != "" || len(n) != 1 || n[0].Status != v1.StateConfigured {
			t.Errorf("the answer is %+v", r)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
	})
}

// Whoever may connect cannot have the daemon hold as much as it may.
func TestARequestHasABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &socket{dialled: make(chan net.Conn)}
		w.with = func(d *Daemon) { d.Socket = s.listen }
		defer w.start()()
		here, there := net.Pipe()
		defer here.Close()
		s.dialled <- there
		if n, err := here.Write(make([]byte, 1<<20)); err == nil || n > maxRequest {
			t.Errorf("it reads %d bytes of a line that does not end, %v", n, err)
		}
		if r := s.ask(t, AskStatus); r.Status.Node != "n1" {
			t.Errorf("the next one is answered with %+v", r)
		}
	})
}

// Who waits for the daemon to be ready asks for its status next.
func TestTheSocketIsThereBeforeTheDaemonIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &socket{dialled: make(chan net.Conn)}
		w.with = func(d *Daemon) {
			d.Socket = func() (net.Listener, error) {
				time.Sleep(time.Second)
				return s.listen()
			}
		}
		defer w.start()()
		if w.ready {
			t.Error("it is ready without a socket")
		}
		sleep(2 * time.Second)
		if r := s.ask(t, AskStatus); !w.ready || r.Status.Node != "n1" {
			t.Errorf("ready: %v, the answer is %+v", w.ready, r)
		}
	})
}

// What comes of the NICs is known when the first pass has ended, which takes its time; until then the status says so.
func TestADaemonInItsFirstPassSaysThatItIsStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		stop()
		w.with = func(d *Daemon) {
			d.Applier = applier{Applier: d.Applier, did: func(plan.Action) { time.Sleep(time.Minute) }}
		}
		defer w.start()()
		if s := w.daemon.Status(); s.Node != "n1" || s.State != "Waiting" || s.Message != "starting" {
			t.Errorf("the status is %+v", s)
		}
		sleep(2 * time.Minute)
		if s := w.daemon.Status(); s.State != "Configured" {
			t.Errorf("in the end it is %+v", s)
		}
	})
}

// slow is an applier that takes long to recover.
type slow struct {
	Applier
	takes time.Duration
}

func (s slow) Recover(ctx context.Context) ([]apply.Recovered, error) {
	time.Sleep(s.takes)
	return s.Applier.Recover(ctx)
}

// failing is a listener of which Accept fails so many times in all.
type failing struct {
	net.Listener
	left *atomic.Int64
}

func (f failing) Accept() (net.Conn, error) {
	if f.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "unix", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func TestTheSocketOutlivesAWantOfFileDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &socket{dialled: make(chan net.Conn)}
		left, refuse := &atomic.Int64{}, true
		left.Store(2)
		w.with = func(d *Daemon) {
			d.Socket = func() (net.Listener, error) {
				if refuse {
					refuse = false
					return nil, errors.New("too many open files")
				}
				l, err := s.listen()
				return failing{l, left}, err
			}
		}
		defer w.start()()
		if down := w.daemon.Status().Down; len(down) != 1 || !strings.Contains(down[0].Error, "too many open files") {
			t.Errorf("parts that are down: %+v", down)
		}
		sleep(30 * time.Second)
		if r := s.ask(t, AskStatus); r.Status.Node != "n1" || len(r.Status.Down) != 0 {
			t.Errorf("the answer is %+v", r)
		}
	})
}

func TestACommandIsToldWhatBecameOfIt(t *testing.T) {
	for name, row := range map[string]struct {
		busy time.Duration // with something else, first
		slow time.Duration // at each NIC
		want string
	}{
		"it is done":                {0, 0, ""},
		"the loop is busy":          {2 * time.Minute, 0, askBusy},
		"the loop is at it already": {0, 2 * time.Minute, askUnderWay},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var delay atomic.Int64
				w.with = func(d *Daemon) {
					d.Applier = applier{Applier: d.Applier, did: func(plan.Action) { time.Sleep(time.Duration(delay.Load())) }}
				}
				defer w.start()()
				w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
				delay.Store(int64(row.busy + row.slow))
				if row.busy > 0 {
					w.wake <- struct{}{}
					sleep(time.Second)
				}
				if r := w.daemon.ask(t.Context(), AskCleanup); r.Error != row.want {
					t.Errorf("it says %q, want %q", r.Error, row.want)
				}
				sleep(10 * time.Minute)
				if left := w.daemon.Status().State == "Removed"; left != (row.want != askBusy) {
					t.Errorf("given back: %v", left)
				}
			})
		})
	}
}

func TestACommandToADaemonThatStopsSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r := w.daemon.ask(ctx, AskCleanup); r.Error != askStopping {
			t.Errorf("it says %q", r.Error)
		}
	})
}
