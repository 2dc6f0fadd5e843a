package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "multinicd/api/v1"
	"multinicd/nic"
)

// ErrNothingBefore: there is no other configuration to go back to.
var ErrNothingBefore = errors.New("no earlier configuration is known: nothing to roll back to")

// rollbackTo puts the wish before the present one in force, until the object changes; or, with back false, ends that.
func (d *Daemon) rollbackTo(ctx context.Context, back bool) error {
	d.state.mu.Lock()
	asked := d.state.wish
	d.state.mu.Unlock()
	if err := d.mayRollBack(ctx, asked, back); err != nil { // asks the host, and nobody else is to wait for that
		return err
	}
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	if err := d.state.wish.mayRollBack(back); err != nil {
		return err
	}
	if back && d.state.wish.Before != asked.Before {
		return errors.New("the object has changed just now, and with it what would be gone back to; nothing was done, ask again")
	}
	d.state.wish.Held, d.state.fresh = back, true
	d.tryNow()
	now, before := generation(d.state.wish), d.state.wish.Before.Generation
	if back {
		d.Log.Warn("rolled back by hand; the object is held back until it changes", "node", d.Node, "generation", now, "in_force", before, "reason", v1.ReasonHeldBack)
	} else {
		d.Log.Info("the rollback by hand is undone; the object counts again", "node", d.Node, "generation", now)
	}
	return nil
}

// mayRollBack says why a rollback, or with back false the end of one, has no sense now; nil: it has.
func (d *Daemon) mayRollBack(ctx context.Context, w Wish, back bool) error {
	if err := w.mayRollBack(back); err != nil || !back {
		return err
	}
	w.Held = true
	if r := d.desired(ctx, w).Refused; r != nil { // it never was in force
		return fmt.Errorf("%s is refused itself, nothing to roll back to: %s", w.beforeText(), r.Message)
	}
	return nil
}

// mayRollBack says the same as far as the wish alone tells.
func (w Wish) mayRollBack(back bool) error {
	switch {
	case !back && !w.Held:
		return errors.New("nothing is rolled back: there is nothing to undo")
	case !back:
		return nil
	case w.Held:
		return fmt.Errorf("rolled back already; %s", heldEnds)
	case w.Gone:
		return errors.New("the object was deleted: nothing to roll back to; make it anew to configure the NICs")
	case w.Cleaned || w.Left:
		return errors.New("every NIC was given back by a cleanup: nothing to roll back to")
	case w.Object == nil || w.Before == nil:
		return ErrNothingBefore
	case sameNICs(w.Object, w.Before):
		return errors.New("the object wants the same of the NICs as the one before: nothing to roll back to")
	}
	return nil
}

// sameNICs says whether two objects want the same on the host: their hashes and other marks of the publisher do not count.
func sameNICs(a, b *v1.MultiNicNodeConfig) bool {
	x, y := Parse(a, a.Spec.NodeName), Parse(b, b.Spec.NodeName)
	return a.Spec.NodeName == b.Spec.NodeName && a.Spec.InstanceID == b.Spec.InstanceID &&
		slices.EqualFunc(x.NICs, y.NICs, nic.Config.Equal) && slices.Equal(x.Invalid, y.Invalid) && (x.Refused == nil) == (y.Refused == nil)
}

// heldEnds says what ends a rollback.
const heldEnds = "`multinicd rollback --undo` on the node, or the next change of the object, ends that"

func heldMessage(w Wish) string {
	object := "the object"
	if g := generation(w); g != 0 { // from a file: nobody counts
		object = fmt.Sprintf("generation %d", g)
	}
	return fmt.Sprintf("%s is held back: it was rolled back by hand to %s; %s", object, w.beforeText(), heldEnds)
}

// beforeText names what a rollback goes back to.
func (w Wish) beforeText() string {
	switch {
	case w.Before.Generation == 0: // from a file: nobody counts
		return "the configuration before it"
	case w.Object != nil && w.Object.UID != w.Before.UID:
		return fmt.Sprintf("generation %d of the object before it", w.Before.Generation)
	}
	return fmt.Sprintf("generation %d", w.Before.Generation)
}

// Rollback is what `multinicd rollback` does where no daemon runs: one pass for the wish before the present one, or, with back false, for the
// present one again.
func (d *Daemon) Rollback(ctx context.Context, back bool) (Status, error) {
	if err := d.open(ctx); err != nil {
		return Status{}, err
	}
	if err := d.rollbackTo(ctx, back); err != nil {
		return Status{}, err
	}
	d.Machine.Settle(ctx, d.owned())
	d.pass(ctx)
	return d.Status(), d.own.unseen
}
