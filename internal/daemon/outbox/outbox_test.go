package outbox

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "multinicd/api/v1"
)

// cluster takes reports, unless it is down, and does something while it takes one.
type cluster struct {
	got  []string
	down atomic.Bool
	then func()

	mu     sync.Mutex
	beaten map[int64]int // Leases renewed, by ten seconds
}

func (c *cluster) Report(_ context.Context, data []byte) error {
	if c.down.Load() {
		return errors.New("no route to host")
	}
	c.got = append(c.got, string(data))
	if c.then != nil {
		c.then()
	}
	return nil
}

func (c *cluster) Beat(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.beaten == nil {
		return nil
	}
	if c.down.Load() {
		return errors.New("no route to host")
	}
	c.beaten[time.Now().Unix()/10]++
	return nil
}

func report(generation int64) v1.Report {
	return v1.Report{Schema: v1.ReportSchema, Node: "n1", UID: "u1", Generation: generation, Executor: v1.ExecutorDaemon, Phase: v1.PhaseDone}
}

// The newest report gets to the cluster once, whatever comes meanwhile.
func TestTheNewestReportIsDelivered(t *testing.T) {
	for name, row := range map[string]struct {
		before Sent
		do     func(b *Box, c *cluster)
		want   []int64 // generations that the cluster is told of
	}{
		"a report":                       {do: func(b *Box, _ *cluster) { b.Put(report(1)) }, want: []int64{1}},
		"the same report again":          {do: func(b *Box, _ *cluster) { b.Put(report(1)); synctest.Wait(); b.Put(report(1)) }, want: []int64{1}},
		"one that the cluster lost":      {do: func(b *Box, _ *cluster) { b.Put(report(1)); synctest.Wait(); b.Again() }, want: []int64{1, 1}},
		"one that was not delivered yet": {before: Sent{Report: report(1)}, do: func(*Box, *cluster) {}, want: []int64{1}},
		"one that was delivered before":  {before: Sent{Report: report(1), Delivered: true}, do: func(b *Box, _ *cluster) { b.Put(report(1)) }},
		"one that comes during a delivery": {do: func(b *Box, c *cluster) {
			c.then = func() { c.then = nil; b.Put(report(2)) }
			b.Put(report(1))
		}, want: []int64{1, 2}},
		"the last of those that could not be delivered": {do: func(b *Box, c *cluster) {
			c.down.Store(true)
			b.Put(report(1))
			synctest.Wait()
			b.Put(report(2))
			synctest.Wait()
			c.down.Store(false)
		}, want: []int64{2}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				c, kept := &cluster{}, Sent{}
				b := New(c, func(s Sent) error { kept = s; return nil }, slog.New(slog.DiscardHandler))
				b.Restore(row.before)
				go func() { _ = b.Run(ctx) }()
				row.do(b, c)
				time.Sleep(time.Minute) // of fake time, for new tries
				synctest.Wait()
				var want []string
				for _, generation := range row.want {
					data, err := report(generation).Encode()
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, string(data))
				}
				if diff := cmp.Diff(want, c.got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if !b.Delivered() || len(row.want) > 0 && !kept.Delivered {
					t.Errorf("kept is %+v", kept)
				}
			})
		})
	}
}

// All nodes renew their Leases as soon as the API server is back, and not together from then on.
func TestLeasesAreNotRenewedInStepBehindAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		const nodes = 500
		all := make([]*cluster, nodes)
		heal := func() {
			for _, c := range all {
				c.down.Store(false)
				c.mu.Lock()
				c.beaten = map[int64]int{}
				c.mu.Unlock()
			}
		}
		count := func(minutes int) (most, least int) {
			heal()
			time.Sleep(time.Duration(minutes) * time.Minute)
			synctest.Wait()
			sum := map[int64]int{}
			for _, c := range all {
				c.mu.Lock()
				for at, n := range c.beaten {
					sum[at] += n
				}
				c.mu.Unlock()
			}
			least = nodes
			for at := time.Now().Unix()/10 - int64(minutes)*6 + 1; at < time.Now().Unix()/10; at++ {
				most, least = max(most, sum[at]), min(least, sum[at])
			}
			return most, least
		}
		for i := range all {
			all[i] = &cluster{beaten: map[int64]int{}}
			time.Sleep(2 * time.Minute / nodes) // no herd to begin with
			go func() { _ = New(all[i], func(Sent) error { return nil }, slog.New(slog.DiscardHandler)).Run(ctx) }()
		}
		time.Sleep(time.Hour)
		before, _ := count(10)
		for _, c := range all {
			c.down.Store(true)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		heal()
		time.Sleep(2 * retryBeat)
		synctest.Wait()
		renewed := 0
		for _, c := range all {
			c.mu.Lock()
			renewed += min(1, len(c.beaten))
			c.mu.Unlock()
		}
		if renewed != nodes {
			t.Errorf("%d of %d have renewed %s after the API server is back", renewed, nodes, 2*retryBeat)
		}
		time.Sleep(time.Minute - 2*retryBeat)
		most, least := count(10)
		if mean := nodes / 12; most > 2*mean || least < mean/3 {
			t.Errorf("from %d to %d Leases are renewed in ten seconds behind an outage, %d at most before it; want about %d", least, most, before, mean)
		}
	})
}
