package daemon

import (
	"context"
	"errors"
	"fmt"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/status"
)

// rollbackTo puts the wish before the present one in force, until the object changes; or, with back
// false, ends that.
func (d *Daemon) rollbackTo(ctx context.Context, back bool) error {
	d.state.mu.Lock()
	was := d.state.wish
	d.state.mu.Unlock()
	if err := d.mayRollBack(ctx, was, back); err != nil { // asks the host, and nobody else is to wait for that
		return err
	}
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	if err := d.state.wish.MayRollBack(back); err != nil {
		return err
	}
	if back && d.state.wish.Before != was.Before {
		return errors.New("the object has changed just now, and with it what would be gone back to; nothing was done, ask again")
	}
	d.state.wish.Held, d.state.fresh = back, true
	d.own.pace.TryNow()
	now, before := d.state.wish.Generation(), d.state.wish.Before.Generation
	if back {
		d.Log.Warn("rolled back by hand; the object is held back until it changes", "node", d.Node, "generation", now, "in_force", before, "reason", v1.ReasonHeldBack)
	} else {
		d.Log.Info("the rollback by hand is undone; the object counts again", "node", d.Node, "generation", now)
	}
	return nil
}

// mayRollBack says why a rollback, or with back false the end of one, has no sense now; nil: it
// has.
func (d *Daemon) mayRollBack(ctx context.Context, w asked.Wish, back bool) error {
	if err := w.MayRollBack(back); err != nil || !back {
		return err
	}
	w.Held = true
	if r := d.desired(ctx, w).Refused; r != nil { // it never was in force
		return fmt.Errorf("%s is refused itself, nothing to roll back to: %s", w.BeforeText(), r.Message)
	}
	return nil
}

// Rollback is what `multinicd rollback` does where no daemon runs: one pass for the wish before the
// present one, or, with back false, for the present one again.
func (d *Daemon) Rollback(ctx context.Context, back bool) (status.Node, error) {
	if err := d.open(ctx); err != nil {
		return status.Node{}, err
	}
	if err := d.rollbackTo(ctx, back); err != nil {
		return status.Node{}, err
	}
	d.Machine.Settle(ctx, d.owned())
	d.pass(ctx)
	return d.Status(), d.own.unseen
}
