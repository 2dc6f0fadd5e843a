package daemon

import (
	"context"

	"multinicd/internal/daemon/asked"
	"multinicd/plan"
)

// Foreseen is what a pass would do.
type Foreseen struct {
	Plan    plan.Plan
	Desired asked.Desired
	// Note says what is to be known before the plan is read: why another object is in force than the
	// newest, or none; "": nothing.
	Note string
	// Mode is how the newest object is taken. After PreviewRollback it is not ModeHeld, since that is
	// what was asked for.
	Mode asked.Mode
}

// Preview says what `multinicd apply` would do for wish, beside what the state folder knows of the
// node, and does nothing.
func (d *Daemon) Preview(ctx context.Context, wish asked.Wish) (Foreseen, error) {
	if wish.Left {
		return d.foresee(ctx, wish)
	}
	known, err := store{d.Files, d.Dir}.loadWish()
	if err != nil { // as open has it
		d.Log.Warn("the last known good object cannot be read", "err", err)
		known = asked.Wish{}
	}
	d.state.wish = known
	d.state.wish.Cleaned = false // as Once has it
	d.take(wish, make(chan struct{}, 1))
	return d.foresee(ctx, d.state.wish)
}

// PreviewRollback says what `multinicd rollback` would do, or with back false its undoing, and does
// nothing.
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
	if out.Mode == asked.ModeHeld {
		out.Mode = asked.ModeObject
	}
	out.Note = ""
	if back {
		out.Note = "back to " + wish.BeforeText()
	}
	return out, err
}

func (d *Daemon) foresee(ctx context.Context, wish asked.Wish) (Foreseen, error) {
	out := Foreseen{Mode: wish.Mode()}
	switch out.Mode {
	case asked.ModeHeld:
		out.Note = wish.HeldMessage()
	case asked.ModeUnread:
		out.Note = wish.UnreadMessage()
	case asked.ModeUnreleased:
		out.Note = wish.UnreleasedMessage()
	case asked.ModeGone:
		out.Note = d.deletedMessage(nil)
	}
	var acts bool
	if out.Desired, acts = d.aim(ctx, wish); !acts {
		return out, nil
	}
	machine, err := d.look(ctx, out.Desired)
	if err != nil {
		return out, err
	}
	out.Plan = d.plan(out.Desired, machine)
	return out, nil
}
