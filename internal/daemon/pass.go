package daemon

import (
	"context"
	"slices"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/pace"
	"multinicd/internal/daemon/status"
	"multinicd/plan"
)

// pass reads everything, does what has to be done, and says how it is. It gives the time after
// which it wants to run again.
func (d *Daemon) pass(ctx context.Context) (next time.Duration) {
	start := d.now()
	d.own.unseen, d.own.given = nil, nil
	wish := d.current()
	if !d.isOpen() {
		if err := d.recover(ctx); err != nil {
			return d.unknowing(ctx, wish, err)
		}
		d.partUp(partRecover)
		d.own.blinds = 0
	}
	d.resume(ctx)
	defer func() {
		next = min(next, d.untilResume(), d.own.between.next(d.now()), d.own.pace.NextMotion(start, d.now()))
	}()
	if wish.Mode() == asked.ModeUnknown {
		d.publish(status.Node{State: "Waiting", Message: "no object of this node is known yet", NICs: status.NICs(asked.Desired{}, d.withHalfway(nil), nil, d.known())}, wish)
		return d.rest()
	}
	desired, acts := d.aim(ctx, wish)
	if !acts {
		d.finish(ctx, wish, desired, nil, nil)
		return d.rest()
	}
	return d.act(ctx, wish, desired, start)
}

// aim says what a wish wants of the NICs. acts is false where every NIC is left as it is: the
// object is refused, was deleted and its NICs are retained, or was never in force.
func (d *Daemon) aim(ctx context.Context, wish asked.Wish) (desired asked.Desired, acts bool) {
	switch {
	case wish.Left:
		return asked.Desired{}, true
	case wish.Object == nil && !wish.Gone:
		return asked.Desired{}, false
	}
	desired = d.desired(ctx, wish)
	return desired, desired.Refused == nil && (!wish.Gone || d.OnDelete == "restore")
}

// rest ends a pass that leaves every NIC as it is: nothing is tried again before there is news.
func (d *Daemon) rest() time.Duration {
	d.own.pace.Keep(nil)
	return d.nextRetry()
}

// act makes the machine as desired, and says how it is.
func (d *Daemon) act(ctx context.Context, wish asked.Wish, desired asked.Desired, start time.Time) time.Duration {
	machine, err := d.look(ctx, desired)
	if err != nil {
		return d.blind(ctx, partLook, err)
	}
	p := d.plan(desired, machine)
	results, changed := d.carryOut(ctx, desired, p)
	for d.cutShort(results) {
		d.own.given = append(d.own.given, status.GivenBack(results)...)
		d.logChange(wish, results, d.now().Sub(start))
		if machine, err = d.look(ctx, desired); err != nil {
			return d.blind(ctx, partLook, err)
		}
		p = d.plan(desired, machine)
		results, _ = d.carryOut(ctx, desired, p)
	}
	d.own.pace.Keep(p.Actions)
	d.keepRepairs(p.Actions)
	d.own.blinds = 0
	d.partUp(partLook)
	d.own.given = append(d.own.given, status.GivenBack(d.withHalfway(results))...)
	if changed {
		told := drain(d.own.events)
		machine, err = d.look(ctx, desired)
		if told && (err != nil || !d.nothingToDo(desired, machine, results)) {
			nudge(d.own.events)
		}
		if err != nil {
			return d.blind(ctx, partLook, err)
		}
		d.logChange(wish, results, d.now().Sub(start))
	}
	d.remember(machine)
	d.finish(ctx, wish, desired, results, &machine)
	return d.nextRetry()
}

// unknowing ends a pass that does not know which NICs are ours, or half way: none is touched, and
// the object says so meanwhile.
func (d *Daemon) unknowing(ctx context.Context, wish asked.Wish, err error) time.Duration {
	if wish.Object != nil && wish.Mode() != asked.ModeLeft && ctx.Err() == nil {
		d.finish(ctx, wish, asked.Desired{Refused: &plan.Refusal{Reason: plan.ApplyFailed, Message: v1.Printable("no NIC is touched, since what is remembered of them cannot be read; tried again by itself: "+err.Error(), v1.MaxMessage)}}, nil, nil)
	}
	return d.blind(ctx, partRecover, err)
}

// blind ends a pass that cannot see the machine; nothing is said of the NICs then. The next look
// comes later each time, unless an event calls for one. That is no news where the service is being
// stopped.
func (d *Daemon) blind(ctx context.Context, part string, err error) time.Duration {
	d.own.unseen = err
	if ctx.Err() != nil {
		return pace.RetryMin
	}
	d.endBetween()
	d.partDown(part, err)
	d.own.blinds++
	return min(pace.RetryMin<<min(d.own.blinds-1, 10), time.Minute)
}

func (d *Daemon) desired(ctx context.Context, wish asked.Wish) asked.Desired {
	if wish.Object == nil || wish.Cleaned {
		return asked.Desired{}
	}
	obj := wish.InForce()
	if r := d.identity(obj); r != nil {
		return asked.Desired{Refused: r}
	}
	desired := asked.Parse(obj, d.Node)
	if desired.Refused == nil && d.Unsupported != nil {
		if why := d.Unsupported(ctx); why != "" {
			return asked.Desired{Refused: &plan.Refusal{Reason: v1.ReasonNoBackend, Message: why}}
		}
	}
	return desired
}

// look reads the machine, which has to know for that what is wanted: of equal default routes that
// of a link counts which nobody wants.
func (d *Daemon) look(ctx context.Context, desired asked.Desired) (plan.View, error) {
	named := slices.Clone(desired.Held(d.Applier.Record()))
	for _, c := range desired.NICs {
		named = append(named, c.MAC)
	}
	d.Machine.Wanted(named)
	return d.Machine.Look(ctx)
}

func (d *Daemon) plan(desired asked.Desired, m plan.View) plan.Plan {
	rec := d.Applier.Record()
	m.Failed = d.own.pace.Failed()
	for _, h := range d.Applier.Halfway() {
		m.Failed = append(m.Failed, h.NIC.MAC)
	}
	return plan.Make(desired.NICs, desired.Held(rec), m, rec)
}

// current gives the wish, after it was made durable: what we act upon must be known after a reboot
// too.
func (d *Daemon) current() asked.Wish {
	d.state.mu.Lock()
	d.state.meters.Passes++
	if run := d.state.wish.Due(); run != nil {
		d.begin(run)
		d.state.fresh = true
	}
	w, fresh := d.state.wish, d.state.fresh
	d.state.fresh = false
	d.state.mu.Unlock()
	if !fresh {
		return w
	}
	if err := (store{d.Files, d.Dir}).saveWish(w); err != nil {
		d.partDown(partKeep, err)
		d.state.mu.Lock()
		d.state.fresh = true // for the next pass
		d.state.mu.Unlock()
	} else {
		d.partUp(partKeep)
	}
	return w
}

// retryKeep is when an object that could not be written to disk is tried again.
const retryKeep = time.Minute

// nextRetry is how long the loop may wait for an event.
func (d *Daemon) nextRetry() time.Duration {
	d.state.mu.Lock()
	unkept := d.state.fresh
	d.state.mu.Unlock()
	if wait := d.own.pace.Next(d.now()); !unkept || wait < retryKeep {
		return wait
	}
	return retryKeep
}
