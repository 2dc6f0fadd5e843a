package daemon

import (
	"context"
	"fmt"

	v1 "multinicd/api/v1"
	"multinicd/plan"
)

// Foreseen is what a pass would do.
type Foreseen struct {
	Plan    plan.Plan
	Desired Desired
	// Note says what is to be known before the plan is read: why another object is in force than the newest, or none; "": nothing.
	Note string
	// Held and Unreleased say of the newest object that it is held back by a rollback, or waits for its release.
	Held, Unreleased bool
}

// Preview says what `multinicd apply` would do for wish, beside what the state folder knows of the node, and does nothing.
func (d *Daemon) Preview(ctx context.Context, wish Wish) (Foreseen, error) {
	if wish.Left {
		return d.foresee(ctx, wish)
	}
	known, err := store{d.Files, d.Dir}.loadWish()
	if err != nil { // as open has it
		d.Log.Warn("the last known good object cannot be read", "err", err)
		known = Wish{}
	}
	d.state.wish = known
	d.state.wish.Cleaned = false // as Once has it
	d.take(wish, make(chan struct{}, 1))
	return d.foresee(ctx, d.state.wish)
}

// PreviewRollback says what `multinicd rollback` would do, or with back false its undoing, and does nothing.
func (d *Daemon) PreviewRollback(ctx context.Context, back bool) (Foreseen, error) {
	wish, err := store{d.Files, d.Dir}.loadWish()
	if err != nil {
		return Foreseen{}, err
	}
	if err := d.mayRollBack(ctx, wish, back); err != nil {
		return Foreseen{}, err
	}
	wish.Held = back
	out, err := d.foresee(ctx, wish)
	out.Held, out.Note = false, "" // that is what is asked for
	if back {
		out.Note = "back to " + wish.beforeText()
	}
	return out, err
}

func (d *Daemon) foresee(ctx context.Context, wish Wish) (Foreseen, error) {
	var out Foreseen
	switch {
	case wish.Left:
	case wish.Held:
		out.Held, out.Note = true, heldMessage(wish)
	case wish.Unreleased != nil:
		out.Unreleased, out.Note = true, unreleasedMessage(wish)
		if wish.Object == nil {
			return out, nil
		}
	case wish.Gone:
		out.Note = d.deletedMessage(nil)
	}
	out.Desired = d.desired(ctx, wish)
	if out.Desired.Refused != nil || wish.Gone && !wish.Left && d.OnDelete != "restore" {
		return out, nil
	}
	machine, err := d.Machine.Look(ctx)
	if err != nil {
		return out, err
	}
	out.Plan = d.plan(out.Desired, machine)
	return out, nil
}

func unreleasedMessage(wish Wish) string {
	return fmt.Sprintf("generation %d waits: %s", wish.Unreleased.Generation, v1.WaitingForReleaseMessage)
}
