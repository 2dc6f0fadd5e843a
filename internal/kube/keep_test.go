package kube

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "multinicd/api/v1"
)

// keeping is a running Keep.
type keeping struct {
	mu   sync.Mutex
	told []Kept
	disk *disk
	stop func()
}

// keep runs c.Keep, and asks for the node's object now and then as the daemon does, until the test
// ends.
func (f *fakeCluster) keep(t *testing.T, c *Client, kubelet string) *keeping {
	k := &keeping{disk: &disk{dir: f.dir}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		err := c.Keep(ctx, Keeping{Store: k.disk, Kubelet: kubelet, Notify: func(n Kept) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.told = append(k.told, n)
		}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v, want context.Canceled", err)
		}
	})
	wg.Go(func() { _ = c.Poll(ctx, 2*time.Minute, func(Observation) {}) })
	var once sync.Once
	k.stop = func() { once.Do(func() { cancel(); wg.Wait(); c.CloseIdle() }) }
	t.Cleanup(k.stop)
	return k
}

func (k *keeping) last() Kept {
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.told) == 0 {
		return Kept{}
	}
	return k.told[len(k.told)-1]
}

func inCluster(t *testing.T, test func(t *testing.T, f *fakeCluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newCluster(t)) })
}

func TestTheNodeAlwaysHasAValidTokenWhateverItsClockShows(t *testing.T) {
	for name, off := range map[string]func(since time.Duration) time.Duration{
		"a right clock":             func(time.Duration) time.Duration { return 0 },
		"a clock two hours ahead":   func(time.Duration) time.Duration { return 2 * time.Hour },
		"a clock two hours behind":  func(time.Duration) time.Duration { return -2 * time.Hour },
		"a clock without a battery": func(time.Duration) time.Duration { return -10 * 365 * 24 * time.Hour },
		"a clock that is set every two hours": func(d time.Duration) time.Duration {
			return []time.Duration{0, 2 * time.Hour, -2 * time.Hour}[int(d/(2*time.Hour))%3]
		},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(t *testing.T, f *fakeCluster) {
				f.gone = true // the bridge has nothing to do with it
				f.stored(time.Now(), true)
				began := time.Now()
				c := f.client()
				c.now = hostClock(func() time.Duration { return off(time.Since(began)) })
				var chance sync.Mutex // Keep and Poll both take theirs
				random := rand.New(rand.NewPCG(1, 2))
				c.jitter = func() float64 {
					chance.Lock()
					defer chance.Unlock()
					return random.Float64()
				}
				k := f.keep(t, c, "")
				hours := 6
				if testing.Short() {
					hours = 2
				}
				for range hours * 12 {
					after(5 * time.Minute)
					if !f.good() {
						t.Fatalf("after %s the node has no valid token; renewed at %v", time.Since(began), f.renewed)
					}
				}
				last := time.Duration(0)
				for _, at := range f.renewed {
					if d := at - last; d < 42*time.Minute || d > 54*time.Minute+time.Second {
						t.Errorf("renewed %s after the one before, want 42 to 54 min", d)
					}
					last = at
				}
				if n := k.last(); n.Refused != "" || n.Trouble != "" || n.Ends.IsZero() {
					t.Errorf("told %+v", n)
				}
			})
		})
	}
}

func TestAfterARestartTheTokensAgeIsToldByTheServersClock(t *testing.T) {
	tests := map[string]struct {
		age         time.Duration
		least, most time.Duration // until it is renewed
	}{
		"a fresh one":            {0, 42 * time.Minute, 54 * time.Minute},
		"one of half an hour":    {30 * time.Minute, 12 * time.Minute, 24 * time.Minute},
		"one that is about over": {58 * time.Minute, 0, 5 * time.Second},
	}
	for name, tt := range tests {
		for clock, off := range map[string]time.Duration{"right": 0, "ahead": 2 * time.Hour, "behind": -2 * time.Hour} {
			t.Run(name+", clock "+clock, func(t *testing.T) {
				inCluster(t, func(t *testing.T, f *fakeCluster) {
					f.stored(time.Now().Add(-tt.age), true)
					c := f.client()
					c.now = hostClock(func() time.Duration { return off })
					f.keep(t, c, "")
					after(time.Hour)
					if len(f.renewed) == 0 || f.renewed[0] < tt.least || f.renewed[0] > tt.most {
						t.Errorf("renewed after %v, want %s to %s", f.renewed, tt.least, tt.most)
					}
				})
			})
		}
	}
}

func TestWithoutTheServersClockATokenOfTheDiskIsRenewedSoon(t *testing.T) {
	inCluster(t, func(t *testing.T, f *fakeCluster) {
		f.stored(time.Now().Add(-30*time.Minute), true)
		f.fail = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header()["Date"] = nil
			return false
		}
		f.keep(t, f.client(), "")
		after(2 * time.Hour)
		if len(f.renewed) != 3 || f.renewed[0] > time.Minute || !f.good() {
			t.Errorf("renewed at %v, want soon, and twice in the two hours after", f.renewed)
		}
	})
}

func TestATokenIsBoundToTheNodeOrToASecret(t *testing.T) {
	tests := map[string]struct {
		node, nodeBound bool
		want            []string
	}{
		"to its Node":                    {true, true, []string{"Node node-a"}},
		"to its Node once there is one":  {true, false, []string{"Node node-a"}},
		"to the Secret without a Node":   {false, false, []string{"Secret multinic-node-node-a"}},
		"never away from a deleted Node": {false, true, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(t *testing.T, f *fakeCluster) {
				f.node = tt.node
				f.stored(time.Now(), tt.nodeBound)
				f.keep(t, f.client(), "")
				after(55 * time.Minute)
				if diff := cmp.Diff(tt.want, f.bound); diff != "" {
					t.Errorf("bound (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAServerThatFailsIsAskedAgainWithPatienceAndBeforeTheEnd(t *testing.T) {
	inCluster(t, func(t *testing.T, f *fakeCluster) {
		f.stored(time.Now(), true)
		tries := 0
		f.fail = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != tokenPath || time.Since(f.began) > 58*time.Minute {
				return false
			}
			tries++
			status(w, 500, "InternalError", "")
			return true
		}
		k := f.keep(t, f.client(), "")
		after(57 * time.Minute)
		if n := k.last(); n.Trouble == "" {
			t.Errorf("nothing is told of the failure: %+v", n)
		}
		after(90 * time.Second)
		if len(f.renewed) != 1 || tries > 60 || !f.good() {
			t.Errorf("renewed at %v after %d failures", f.renewed, tries)
		}
		if n := k.last(); n.Trouble != "" {
			t.Errorf("still told: %s", n.Trouble)
		}
	})
}

func TestAFullDiskDoesNotStopRenewal(t *testing.T) {
	inCluster(t, func(t *testing.T, f *fakeCluster) {
		f.stored(time.Now(), true)
		c := f.client()
		k := f.keep(t, c, "")
		k.disk.full = true
		after(3 * time.Hour)
		if o := c.Get(t.Context()); o.Err != nil || len(f.renewed) < 3 {
			t.Errorf("after 3 h: %v, renewed at %v", o.Err, f.renewed)
		}
		if n := k.last(); !strings.Contains(n.Trouble, "no space left") {
			t.Errorf("told %+v", n)
		}
		k.disk.mu.Lock()
		k.disk.full = false
		k.disk.mu.Unlock()
		after(time.Minute)
		if n := k.last(); !f.good() || n.Trouble != "" {
			t.Errorf("once there is room the token is not stored, or told is %+v", n)
		}
	})
}

func TestTheAPIServerIsDownOverTheTokensEnd(t *testing.T) {
	t.Run("a node with a kubelet recovers alone", func(t *testing.T) {
		inCluster(t, func(t *testing.T, f *fakeCluster) {
			f.stored(time.Now(), true)
			c := f.client()
			k := f.keep(t, c, f.kubelet())
			after(10 * time.Minute)
			f.set(func() { f.down = errors.New("no route to host") })
			c.cut()
			after(3 * time.Hour)
			if n := k.last(); n.Refused != "" {
				t.Errorf("told before the server was asked: %s", n.Refused)
			}
			f.set(func() { f.down = nil })
			after(2 * time.Minute)
			if o := c.Get(t.Context()); o.Err != nil || !f.good() {
				t.Errorf("2 min after the server is back: %v", o.Err)
			}
			if n := k.last(); n.Refused != "" || n.Door != v1.DoorKubelet || c.Request() != "request-1" {
				t.Errorf("told %+v, joined by %q", n, c.Request())
			}
			f.bridgeCleansUp()
			after(3 * time.Hour)
			if !f.good() || f.asked != 1 {
				t.Errorf("3 h later: token good %v, joined %d times", f.good(), f.asked)
			}
		})
	})
	t.Run("one without says what it needs, and goes on once it has it", func(t *testing.T) {
		inCluster(t, func(t *testing.T, f *fakeCluster) {
			f.stored(time.Now(), false)
			c := f.client()
			k := f.keep(t, c, filepath.Join(f.dir, "none"))
			after(10 * time.Minute)
			f.set(func() { f.down = errors.New("no route to host") })
			c.cut()
			after(2 * time.Hour)
			f.set(func() { f.down = nil })
			after(2 * time.Minute)
			if n := k.last(); !strings.Contains(n.Refused, "the node's token has ended at ") || !strings.Contains(n.Refused, "multinicd join") {
				t.Errorf("told %+v", n)
			}
			f.stored(time.Now(), false)
			after(2 * time.Minute)
			if n := k.last(); n.Refused != "" {
				t.Errorf("with a new token still told %+v", n)
			}
		})
	})
}

func TestARevokedNodeJoinsAgainThroughTheKubeletOrAsksEverMoreRarely(t *testing.T) {
	t.Run("it is let in", func(t *testing.T) {
		inCluster(t, func(t *testing.T, f *fakeCluster) {
			f.stored(time.Now(), true)
			c := f.client()
			f.keep(t, c, f.kubelet())
			after(10 * time.Minute)
			f.revokeAll()
			after(3 * time.Minute)
			if !f.good() || f.made != 1 {
				t.Errorf("3 min later: token good %v, %d requests", f.good(), f.made)
			}
		})
	})
	t.Run("it is let in and revoked again and again", func(t *testing.T) {
		inCluster(t, func(t *testing.T, f *fakeCluster) {
			f.stored(time.Now(), true)
			f.keep(t, f.client(), f.kubelet())
			for range 8 * 60 {
				after(time.Minute)
				f.revokeAll()
				f.bridgeCleansUp()
			}
			if f.made < 24 || f.made > 80 {
				t.Errorf("%d requests in eight hours, want one in some ten minutes", f.made)
			}
		})
	})
	t.Run("it is refused", func(t *testing.T) {
		inCluster(t, func(t *testing.T, f *fakeCluster) {
			f.stored(time.Now(), true)
			f.refuse = v1.ReasonNodeNotExpected
			k := f.keep(t, f.client(), f.kubelet())
			f.revokeAll()
			after(5 * time.Minute)
			if n := k.last(); !strings.Contains(n.Refused, v1.ReasonNodeNotExpected) || !strings.Contains(n.Refused, "it was revoked") {
				t.Errorf("told %+v", n)
			}
			for range 8 * 6 {
				after(10 * time.Minute)
				f.bridgeCleansUp()
			}
			if f.asked < 24 || f.asked > 80 {
				t.Errorf("asked %d times in eight hours", f.asked)
			}
		})
	})
}

func TestAServerThatRefusesEveryTokenForAMomentIsNotBelieved(t *testing.T) {
	inCluster(t, func(t *testing.T, f *fakeCluster) {
		f.stored(time.Now(), true)
		f.fail = func(w http.ResponseWriter, _ *http.Request) bool {
			if time.Since(f.began) > 8*time.Second {
				return false
			}
			status(w, 401, "Unauthorized", "")
			return true
		}
		k := f.keep(t, f.client(), f.kubelet())
		after(10 * time.Minute)
		if f.asked != 0 || slices.ContainsFunc(k.told, func(n Kept) bool { return n.Refused != "" }) {
			t.Errorf("asked to join %d times, told %+v", f.asked, k.told)
		}
	})
}

func TestASkewedClockIsToldOnceUntilItIsRight(t *testing.T) {
	inCluster(t, func(t *testing.T, f *fakeCluster) {
		f.stored(time.Now(), true)
		var off atomic.Int64
		c := f.client()
		c.now = hostClock(func() time.Duration { return time.Duration(off.Load()) })
		k := f.keep(t, c, "")
		after(10 * time.Minute)
		if n := k.last(); n.Behind || n.Ahead || !n.Clock {
			t.Errorf("told %+v of a right clock", n)
		}
		changes := func(what string, behind, ahead bool, offs ...time.Duration) {
			t.Helper()
			for _, d := range offs {
				off.Store(int64(d))
				after(5 * time.Minute)
				if n := k.last(); n.Behind != behind || n.Ahead != ahead {
					t.Errorf("%s, off by %s: behind %v, ahead %v", what, d, n.Behind, n.Ahead)
				}
			}
		}
		changes("a little", false, false, 110*time.Second, -110*time.Second)
		changes("ahead, about the edge", false, true, 121*time.Second, 119*time.Second, 121*time.Second, 119*time.Second, 2*time.Hour)
		changes("right again", false, false, 80*time.Second, 110*time.Second)
		changes("behind", true, false, -2*time.Hour, -119*time.Second)
	})
}

func TestAnotherServerInTheFolderIsTold(t *testing.T) {
	inCluster(t, func(t *testing.T, f *fakeCluster) {
		f.stored(time.Now(), true)
		k := f.keep(t, f.client(), "")
		after(time.Minute)
		if k.last().Moved {
			t.Error("told that it has moved")
		}
		f.fakeAPI.write("server", "https://other.example.com:6443\n")
		after(time.Minute)
		if !k.last().Moved {
			t.Error("not told that it has moved")
		}
	})
}

func TestACredentialOfSomebodyElseIsNotRenewed(t *testing.T) {
	inCluster(t, func(t *testing.T, f *fakeCluster) {
		f.stored(time.Now(), true)
		c, err := New(Options{Node: "node-a", Server: "https://example.com:6443", CAFile: filepath.Join(f.dir, "ca.crt"), TokenFile: filepath.Join(f.dir, "token")})
		if err != nil {
			t.Fatal(err)
		}
		c.connect = f.dial
		k := f.keep(t, c, f.kubelet())
		after(3 * time.Hour)
		if len(f.renewed) != 0 || f.asked != 0 || len(k.disk.done) != 0 {
			t.Errorf("renewed %d times, asked to join %d times, wrote %v", len(f.renewed), f.asked, k.disk.done)
		}
		if n := k.last(); !strings.Contains(n.Refused, "under [api]") || !n.Renewal.IsZero() {
			t.Errorf("told %+v", n)
		}
	})
}

func TestNoTokenLeavesThroughWhatIsTold(t *testing.T) {
	inCluster(t, func(t *testing.T, f *fakeCluster) {
		f.stored(time.Now(), true)
		f.refuse = v1.ReasonKeyInvalid
		k := f.keep(t, f.client(), f.kubelet())
		after(time.Hour)
		f.revokeAll()
		after(time.Hour)
		for _, n := range k.told {
			if strings.Contains(n.Refused+n.Trouble, "SIGNATURE") || strings.Contains(n.Refused, "\x1b") {
				t.Errorf("told %q", n.Refused+n.Trouble)
			}
		}
	})
}
