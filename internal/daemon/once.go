package daemon

import (
	"context"
	"fmt"
	"time"

	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/outbox"
	"multinicd/internal/daemon/pace"
	"multinicd/internal/daemon/status"
	"multinicd/nic"
)

// Once does a single pass for wish and gives what came of each NIC. It is what `multinicd apply`
// runs. The object is remembered as the last known good one, so that a daemon that starts later
// keeps it.
func (d *Daemon) Once(ctx context.Context, wish asked.Wish) (status.Node, error) {
	if err := d.open(ctx); err != nil {
		return status.Node{}, err
	}
	d.state.wish.Cleaned = false // who calls this wants the NICs
	d.take(wish, make(chan struct{}, 1))
	d.Machine.Settle(ctx, d.owned()) // it may be right after a boot here, too
	d.pass(ctx)
	if d.own.unseen != nil {
		return status.Node{}, d.own.unseen
	}
	if d.Reporter != nil {
		if err := d.reports.Flush(ctx); err != nil {
			return d.Status(), fmt.Errorf("delivering the report: %w", err)
		}
	}
	return d.Status(), nil
}

// setUp makes what several goroutines use, before the first of them begins. It may be called again.
func (d *Daemon) setUp() {
	d.made.Do(func() {
		d.commands = make(chan command)
		d.state.down = map[string]status.Part{}
		d.own.pace, d.own.repairs = pace.New(), map[nic.MAC]status.Repair{}
		d.own.between.done = map[string]time.Time{}
		d.reports = outbox.New(d.Reporter, store{d.Files, d.Dir}.saveReport, d.Log)
	})
}

// open recovers from a crash and reads what was known.
func (d *Daemon) open(ctx context.Context) error {
	d.setUp()
	d.read()
	return d.recover(ctx)
}

// recover puts right what a crash has cut off, and has commands obeyed from then on. An error means
// that nothing is known of the host's NICs.
func (d *Daemon) recover(ctx context.Context) error {
	found, err := d.Applier.Recover(ctx)
	if err != nil {
		return fmt.Errorf("recovering from an interrupted change: %w", err)
	}
	for _, r := range found { // what could not be undone is the trouble of that NIC only
		d.Log.Warn("a change had been cut off", "mac", r.NIC.MAC, "finished", r.Forward, "damaged", r.Damaged, "err", r.Err)
	}
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	d.state.opened = true
	return nil
}

// read reads what was known of the object, and of the report on it.
func (d *Daemon) read() {
	d.own.pace = pace.New()
	st := store{d.Files, d.Dir}
	wish, err := st.loadWish()
	if err != nil {
		d.Log.Error("the last known good object cannot be read; waiting for the cluster", "err", err)
		wish = asked.Wish{}
	}
	before, err := st.loadReport()
	if err != nil {
		d.Log.Error("the last report cannot be read; a new one is made", "err", err)
		before = outbox.Sent{}
	}
	d.reports.Restore(before)
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	d.state.wish = wish
	if wish.Cleaned && d.NoCleanup { // the order came while it still counted here
		d.state.wish.Cleaned, d.state.wish.Vetoed, d.state.fresh = false, true, true
	}
}
