package outbox

import (
	"context"
	"errors"
	"log/slog"
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

func (c *cluster) Beat(context.Context) error { return nil }

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
