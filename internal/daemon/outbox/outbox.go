// Package outbox carries reports to the cluster, and shows that the node lives.
//
// In go reports. Out goes the newest one, encoded, through a Reporter, until the API server has it;
// and a beat every two minutes.
//
// The package says nothing of its own: what a report has is decided above it. It knows neither the
// API server nor the state folder, and the loop that puts a report down never waits for the
// cluster.
//
// Start reading at Box.Put and Box.Run.
package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	v1 "multinicd/api/v1"
)

// Reporter carries a report, encoded, to the cluster, and shows that the node lives. Both may fail;
// both are tried again.
type Reporter interface {
	Report(ctx context.Context, data []byte) error
	Beat(ctx context.Context) error
}

// Box holds the newest report until the API server has it. It is kept on disk, with its generation,
// so that a report which could not be delivered is delivered after a reboot too, once.
type Box struct {
	reporter Reporter
	keep     func(Sent) error // durably
	log      *slog.Logger

	mu   sync.Mutex
	now  Sent
	news chan struct{}
}

// New gives an empty box. keep writes a report so that it outlives the daemon. Without a Reporter,
// nil, reports are kept and never delivered.
func New(r Reporter, keep func(Sent) error, log *slog.Logger) *Box {
	return &Box{reporter: r, keep: keep, log: log, news: make(chan struct{}, 1)}
}

// Sent is the report as it is kept, and whether the API server has it.
type Sent struct {
	Report    v1.Report
	Delivered bool
}

// Restore takes up the report that was kept.
func (o *Box) Restore(before Sent) {
	o.mu.Lock()
	o.now = before
	o.mu.Unlock()
	if !before.Delivered && before.Report.UID != "" {
		o.wake()
	}
}

// Last gives the newest report; empty where there never was one.
func (o *Box) Last() v1.Report {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now.Report
}

// Delivered says whether the API server has the newest report.
func (o *Box) Delivered() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now.Delivered
}

// Put replaces the report to be delivered; the same report again is nothing new.
func (o *Box) Put(r v1.Report) {
	o.mu.Lock()
	defer o.mu.Unlock()
	was, err1 := o.now.Report.Encode()
	is, err2 := r.Encode()
	if err2 != nil {
		o.log.Error("the report cannot be encoded", "err", err2)
		return
	}
	if err1 == nil && bytes.Equal(was, is) {
		return
	}
	o.now = Sent{Report: r}
	if err := o.keep(o.now); err != nil {
		o.log.Error("the report cannot be kept", "err", err)
	}
	o.wake()
}

// wake has Run look for what is to be delivered.
func (o *Box) wake() {
	select {
	case o.news <- struct{}{}:
	default:
	}
}

// Again marks the report as not delivered: the cluster does not show it.
func (o *Box) Again() {
	o.mu.Lock()
	o.now.Delivered = false
	o.mu.Unlock()
	o.wake()
}

// Flush delivers the report that is still to be delivered, if there is one.
func (o *Box) Flush(ctx context.Context) error {
	o.mu.Lock()
	now := o.now
	o.mu.Unlock()
	if now.Delivered || now.Report.UID == "" || o.reporter == nil {
		return nil
	}
	data, err := now.Report.Encode()
	if err != nil {
		return fmt.Errorf("encoding the report: %w", err)
	}
	if err := o.reporter.Report(ctx, data); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if still, err := o.now.Report.Encode(); err != nil || !bytes.Equal(still, data) {
		return nil // a newer one came meanwhile; its news is in the channel
	}
	o.now.Delivered = true
	return o.keep(o.now)
}

// The Lease is renewed every two minutes, give or take a fifth, so that a fleet does not do it in
// step. When the API server is there again, all nodes that it was missing to renew theirs within
// some seconds: the time of the next renewal is then any within the two minutes.
const (
	beat      = 2 * time.Minute
	retryBeat = 10 * time.Second // at least, behind a renewal that failed
)

func nextBeat() time.Duration {
	return time.Duration(float64(beat) * (0.8 + 0.4*rand.Float64()))
}

// A report that cannot be delivered is tried again after this, doubled each time, give or take, up
// to a minute or two.
const retryReport = 150 * time.Millisecond

// patience is how long the server asks to be left alone, where an error says so.
func patience(err error) time.Duration {
	var p interface{ Patience() time.Duration }
	if errors.As(err, &p) {
		return p.Patience()
	}
	return 0
}

// Run delivers reports and renews the Lease until ctx is done. What fails is tried again, later
// each time, and not before the server wants to be asked again: a newer report waits for that too.
func (o *Box) Run(ctx context.Context) error {
	retry := time.NewTimer(0) // what a run that ended had taken up
	defer retry.Stop()
	lease := time.NewTimer(0)
	defer lease.Stop()
	fails := 0
	quiet := false  // until retry
	spread := false // the Lease has been renewed at another time than its own
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-lease.C:
			next := nextBeat()
			if err := o.reporter.Beat(ctx); err != nil {
				o.log.Debug("renewing the lease", "err", err)
				next, spread = patience(err)+retryBeat+rand.N(retryBeat), true
			} else if spread {
				next, spread = retryBeat+rand.N(beat-retryBeat), false
			}
			lease.Reset(next)
			continue
		case <-o.news:
			if quiet {
				continue // flush sends the newest
			}
		case <-retry.C:
		}
		quiet = false
		if err := o.Flush(ctx); err != nil {
			fails++
			if fails == 1 {
				o.log.Warn("the report cannot be delivered; it is kept and tried again", "err", err)
			}
			wait := patience(err)
			quiet = wait > 0
			retry.Reset(wait + retryReport<<min(fails-1, 9) + rand.N(retryReport<<min(fails-1, 9)))
			continue
		}
		if fails > 0 {
			o.log.Info("the report was delivered")
		}
		fails = 0
	}
}
