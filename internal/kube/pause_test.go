package kube

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// standing is the clock of a virtual machine, both of its hands: what was paused is missing from it for good.
type standing struct {
	began  time.Time
	missed atomic.Int64 // nanoseconds, of the pauses that are over
	since  atomic.Int64 // when the pause began, after began; 0: it runs
}

func (s *standing) now() time.Time {
	ran := time.Since(s.began)
	if at := s.since.Load(); at != 0 {
		ran = time.Duration(at)
	}
	return origin.Add(ran - time.Duration(s.missed.Load()))
}

// pause stops the machine of f and c for d.
func (s *standing) pause(f *fakeCluster, c *Client, d time.Duration) {
	s.since.Store(int64(time.Since(s.began)))
	f.set(func() { f.down = errors.New("the machine is paused") })
	c.cut()
	after(d)
	s.missed.Add(int64(d))
	s.since.Store(0)
	f.set(func() { f.down = nil })
}

func TestATokenIsRenewedInTimeAfterAPauseOfTheMachine(t *testing.T) {
	type pause struct{ after, lasts time.Duration }
	tests := map[string][]pause{
		"for twenty minutes at the age of ten":                        {{10 * time.Minute, 20 * time.Minute}},
		"for three quarters of an hour at the age of ten":             {{10 * time.Minute, 45 * time.Minute}},
		"right after it was stored, until shortly before its end":     {{2 * time.Minute, 55 * time.Minute}},
		"for five minutes, again and again":                           {{5 * time.Minute, 5 * time.Minute}, {5 * time.Minute, 5 * time.Minute}, {5 * time.Minute, 5 * time.Minute}, {5 * time.Minute, 5 * time.Minute}, {5 * time.Minute, 5 * time.Minute}},
		"right after a renewal too":                                   {{40 * time.Minute, 15 * time.Minute}, {10 * time.Minute, 40 * time.Minute}},
		"for a time too short to be told from an answer that dawdles": {{10 * time.Minute, 50 * time.Second}, {10 * time.Minute, 50 * time.Second}, {10 * time.Minute, 50 * time.Second}},
	}
	for name, pauses := range tests {
		for share, jitter := range map[string]float64{"early": 0.01, "late": 0.999} {
			t.Run(name+", renewed "+share, func(t *testing.T) {
				inCluster(t, func(t *testing.T, f *fakeCluster) {
					f.gone = true // the bridge has nothing to do with it
					f.stored(time.Now(), true)
					clock := &standing{began: time.Now()}
					c := f.client()
					c.now, c.jitter = clock.now, func() float64 { return jitter }
					k := f.keep(t, c, "")
					for _, p := range pauses {
						after(p.after)
						clock.pause(f, c, p.lasts)
					}
					after(3 * time.Minute) // until it has asked for something
					select {
					case <-c.StoodStill():
						if pauses[0].lasts < stoodStill {
							t.Error("told of a pause that may be an answer that dawdles")
						}
					default:
						if pauses[0].lasts >= stoodStill {
							t.Error("nothing is told of the pause")
						}
					}
					minutes := 2 * 60
					if testing.Short() {
						minutes = 60
					}
					for range minutes {
						after(time.Minute)
						if !f.good() {
							t.Fatalf("%s after the start the node has no valid token; renewed at %v; told %+v", time.Since(f.began), f.renewed, k.last())
						}
					}
					select {
					case <-c.StoodStill():
						t.Error("told of a pause where there was none")
					default:
					}
					if n := len(f.renewed); n > 10 {
						t.Errorf("renewed %d times, at %v", n, f.renewed)
					}
				})
			})
		}
	}
}

// The date of an answer need not be the API server's: something on the way may have written it.
func TestADateThatIsNotTheIssuersCostsFewRenewals(t *testing.T) {
	for name, tt := range map[string]struct {
		date func(answer int) time.Duration // how far it is off
		most int                            // renewals in three hours
	}{
		"always a day ahead":                 {func(int) time.Duration { return 24 * time.Hour }, 6},
		"always a day behind":                {func(int) time.Duration { return -24 * time.Hour }, 6},
		"now and then a little ahead":        {func(n int) time.Duration { return time.Duration(n%2) * 50 * time.Second }, 6},
		"every other answer a day ahead":     {func(n int) time.Duration { return time.Duration(n%2) * 24 * time.Hour }, 3 * 60},
		"a year ahead once":                  {func(n int) time.Duration { return map[bool]time.Duration{true: 365 * 24 * time.Hour}[n == 20] }, 6},
		"a day behind until it is put right": {func(n int) time.Duration { return map[bool]time.Duration{true: -24 * time.Hour}[n < 40] }, 6},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(t *testing.T, f *fakeCluster) {
				f.gone = true
				f.stored(time.Now(), true)
				answers := 0
				f.fail = func(w http.ResponseWriter, _ *http.Request) bool {
					w.Header().Set("Date", time.Now().Add(tt.date(answers)).UTC().Format(http.TimeFormat))
					answers++
					return false
				}
				f.keep(t, f.client(), "")
				for range 3 * 60 {
					after(time.Minute)
					if !f.good() {
						t.Fatalf("%s after the start the node has no valid token; renewed at %v", time.Since(f.began), f.renewed)
					}
				}
				if n := len(f.renewed); n > tt.most {
					t.Errorf("renewed %d times, want %d at most; at %v", n, tt.most, f.renewed)
				}
			})
		})
	}
}

func TestTheLogSaysByWhomTheNodeHasJoinedAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		byHand bool
		want   string
	}{
		"the kubelet's door":               {false, "joined again through the kubelet's door"},
		"somebody while it was waited for": {true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(t *testing.T, f *fakeCluster) {
				f.stored(time.Now(), true)
				log := &strings.Builder{}
				c := f.client()
				c.log = slog.New(slog.NewTextHandler(log, nil))
				k := &keeper{c: c, o: Keeping{Kubelet: f.kubelet()}}
				store := &disk{dir: f.dir}
				k.o.Store = store
				k.step(t.Context())
				f.revokeAll()
				if tt.byHand {
					k.o.Store = joiner{store, func() { f.stored(time.Now(), true) }}
				}
				for range 20 { // the doubt, and what a fleet is spread over
					_ = c.Get(t.Context())
					k.step(t.Context())
					after(doubt)
				}
				if o := c.Get(t.Context()); o.Err != nil {
					t.Errorf("the token is not good: %v", o.Err)
				}
				if got := log.String(); strings.Contains(got, "kubelet's door") != (tt.want != "") || !strings.Contains(got, tt.want) {
					t.Errorf("logged:\n%s", got)
				}
				c.CloseIdle()
			})
		})
	}
}

// joiner is a Store whose lock somebody else had, who has joined the node meanwhile.
type joiner struct {
	*disk
	join func()
}

func (j joiner) Lock(ctx context.Context) (func(), error) {
	j.join()
	return j.disk.Lock(ctx)
}
