package node

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"multinicd/internal/kube"
)

func TestTheClientIsWokenByAnotherWayToTheServerOnly(t *testing.T) {
	const eth0, eth1, none = "link 2 from 10.0.0.5 by 10.0.0.1", "link 3 from 10.1.0.5 by 10.1.0.1", ""
	type step struct {
		after   time.Duration
		way     string // from then on; an event tells of it
		answers bool   // the server does
	}
	churn := func(n int, way string) (out []step) { // somebody else's routes come and go on the uplink
		for range n {
			out = append(out, step{5 * time.Millisecond, way, false})
		}
		return out
	}
	var flaps []step
	for range 1000 {
		flaps = append(flaps, step{10 * time.Millisecond, none, false}, step{10 * time.Millisecond, eth0, false})
	}
	for name, tt := range map[string]struct {
		steps []step
		want  int // reconnects; for a way that flaps at most, and one a second
	}{
		"routes of others come and go while the server is away":     {churn(5000, eth0), 0},
		"the way is lost and comes back":                            {[]step{{time.Minute, none, false}, {time.Minute, eth0, false}}, 1},
		"the way moves to another link":                             {[]step{{time.Minute, eth1, false}}, 1},
		"the way moves while the server answers":                    {[]step{{time.Minute, eth1, true}}, 0},
		"the way is lost while the server answers, and comes back":  {[]step{{time.Minute, none, true}, {30 * time.Second, eth0, false}}, 1},
		"the way is lost":                                           {[]step{{time.Minute, none, false}}, 0},
		"the way comes back in mid-churn":                           {append(append([]step{{time.Second, none, false}}, churn(1000, none)...), churn(1000, eth0)...), 1},
		"the way flaps a hundred times a second for twenty seconds": {flaps, 20},
		"the way changes within a second of another change":         {[]step{{time.Minute, eth1, false}, {10 * time.Millisecond, eth0, false}}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				way, answers, got := eth0, false, 0
				var last time.Time
				var mu sync.Mutex // a look and a step may fall on the same moment
				u := uplink{
					route:   func(context.Context) string { mu.Lock(); defer mu.Unlock(); return way },
					reached: func() bool { mu.Lock(); defer mu.Unlock(); return answers },
					reconnect: func() {
						if now := time.Now(); now.Sub(last) < time.Second {
							t.Errorf("cut again after %s", now.Sub(last))
						} else {
							last, got = now, got+1
						}
					},
				}
				changed, done := make(chan struct{}, 1), make(chan struct{})
				go func() { u.follow(ctx, changed); close(done) }()
				synctest.Wait()
				for _, s := range tt.steps {
					time.Sleep(s.after) // of the bubble
					mu.Lock()
					way, answers = s.way, s.answers
					mu.Unlock()
					select {
					case changed <- struct{}{}:
					default:
					}
					synctest.Wait()
				}
				time.Sleep(time.Minute)
				cancel()
				<-done
				if flaps := strings.Contains(name, "flaps"); !flaps && got != tt.want || got > tt.want {
					t.Errorf("the client was woken %d times, want %d", got, tt.want)
				}
			})
		})
	}
}

func TestAStandstillWakesTheLoopAndWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		from, wake := make(chan struct{}), make(chan struct{}, 1)
		go relay(ctx, from, wake)
		for range 3 { // nobody takes them yet
			from <- struct{}{}
		}
		synctest.Wait()
		if len(wake) != 1 {
			t.Errorf("%d wakes wait, want 1", len(wake))
		}
		cancel()
	})
}

// hanging is a resolver whose question is never answered.
func hanging(t *testing.T) (asked chan struct{}) {
	asked = make(chan struct{})
	was := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		select {
		case asked <- struct{}{}:
		case <-ctx.Done():
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	t.Cleanup(func() { net.DefaultResolver = was })
	return asked
}

func TestNoKernelEventWaitsForTheServersName(t *testing.T) {
	asked := hanging(t)
	api, err := kube.New(kube.Options{Node: "node-a", Server: "https://api.hangs.test:6443"})
	if err != nil {
		t.Fatal(err)
	}
	last := server{netip.MustParseAddrPort("192.0.2.7:6443"), "the API server"}
	m := &Machine{API: api, endpoints: []server{last}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan []server)
	go func() { done <- m.servers(ctx) }()
	<-asked
	if known, _ := m.known(); len(known) != 1 || known[0] != last {
		t.Errorf("while the name is looked up, known are %v", known)
	}
	select {
	case <-done:
		t.Error("it has waited for the look-up to end")
	default:
	}
	cancel()
	if got := <-done; len(got) != 1 || got[0] != last {
		t.Errorf("without an answer the servers are %v", got)
	}
	if _, at := m.known(); !at.IsZero() {
		t.Error("a question that was cut off counts as asked")
	}
}

func TestTheWayIsKnownAlsoWhereTheQuestionsTakeAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := netip.MustParseAddr("192.0.2.7")
		present := way{2, "eth0"}
		moved := 0
		p := Prober{
			moved:  func() { moved++ },
			probes: []probe{{what: "the API server", ask: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}},
			ways: func(ctx context.Context) map[netip.Addr]way {
				if ctx.Err() != nil {
					return nil
				}
				return map[netip.Addr]way{server: present}
			},
		}
		after := p.Before(t.Context(), 3)
		if err := after(t.Context()); err != nil {
			t.Errorf("nothing has moved: %v", err)
		}
		present = way{3, "multinic1"}
		if err := after(t.Context()); err == nil || !strings.Contains(err.Error(), "has moved from link eth0 to link multinic1") {
			t.Errorf("the way has moved: %v", err)
		}
		present = way{4, "eth1"}
		if err := after(t.Context()); err != nil || moved != 1 {
			t.Errorf("the way has moved to a link that is not changed: %v, told of it %d times", err, moved)
		}
	})
}

func TestChangesOneAfterTheOtherAskTheServerOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, contact, reached := 0, false, true
		var answer error
		p := Prober{
			probes: []probe{apiProbe(func(context.Context) error { asked++; return answer }, func() bool { return contact }, func() bool { return reached })},
			ways:   func(context.Context) map[netip.Addr]way { return nil },
		}
		before := func(what string, want int) func(context.Context) error {
			t.Helper()
			var after func(context.Context) error
			was := asked
			for range 10 {
				after = p.Before(t.Context(), 3)
			}
			if got := asked - was; got != want {
				t.Errorf("%s: ten changes asked %d times, want %d", what, got, want)
			}
			return after
		}
		before("it answers", 1)
		before("it has answered just now", 0)
		time.Sleep(answerAge)
		contact = true
		after := before("the object has been read just now", 0)
		contact = false
		answer = errors.New("no answer")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if after(ctx) == nil {
			t.Error("it answered before the change, and not after it, and nobody minds")
		}
		if err := before("it does not answer", 10)(t.Context()); err != nil {
			t.Errorf("what did not answer before is held against a change: %v", err)
		}
		answer = nil
		before("it answers again", 1)
		reached = false
		before("the object could not be read since", 10)
	})
}
