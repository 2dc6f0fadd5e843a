package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/plan"
)

// pass reads everything, does what has to be done, and says how it is. It gives the time after which it wants to run again.
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
		next = min(next, d.untilResume(), d.own.between.next(d.now()), nextMotion(d.own.motions, d.now()))
	}()
	if wish.Mode() == ModeUnknown {
		d.publish(Status{State: "Waiting", Message: "no object of this node is known yet", NICs: d.statuses(Desired{}, d.withHalfway(nil), nil)}, wish)
		return d.rest()
	}
	desired, acts := d.aim(ctx, wish)
	if !acts {
		d.finish(ctx, wish, desired, nil, nil)
		return d.rest()
	}
	return d.act(ctx, wish, desired, start)
}

// aim says what a wish wants of the NICs. acts is false where every NIC is left as it is: the object is
// refused, was deleted and its NICs are retained, or was never in force.
func (d *Daemon) aim(ctx context.Context, wish Wish) (desired Desired, acts bool) {
	switch {
	case wish.Left:
		return Desired{}, true
	case wish.Object == nil && !wish.Gone:
		return Desired{}, false
	}
	desired = d.desired(ctx, wish)
	return desired, desired.Refused == nil && (!wish.Gone || d.OnDelete == "restore")
}

// rest ends a pass that leaves every NIC as it is: nothing is tried again before there is news.
func (d *Daemon) rest() time.Duration {
	d.own.keep(nil)
	return d.nextRetry()
}

// act makes the machine as desired, and says how it is.
func (d *Daemon) act(ctx context.Context, wish Wish, desired Desired, start time.Time) time.Duration {
	machine, err := d.look(ctx, desired)
	if err != nil {
		return d.blind(ctx, partLook, err)
	}
	p := d.plan(desired, machine)
	results, changed := d.carryOut(ctx, desired, p)
	for d.cutShort(results) {
		d.own.given = append(d.own.given, given(results)...)
		d.logChange(wish, results, d.now().Sub(start))
		if machine, err = d.look(ctx, desired); err != nil {
			return d.blind(ctx, partLook, err)
		}
		p = d.plan(desired, machine)
		results, _ = d.carryOut(ctx, desired, p)
	}
	d.own.keep(p.Actions)
	d.own.blinds = 0
	d.partUp(partLook)
	d.own.given = append(d.own.given, given(d.withHalfway(results))...)
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

// unknowing ends a pass that does not know which NICs are ours, or half way: none is touched, and the object says so meanwhile.
func (d *Daemon) unknowing(ctx context.Context, wish Wish, err error) time.Duration {
	if wish.Object != nil && wish.Mode() != ModeLeft && ctx.Err() == nil {
		d.finish(ctx, wish, Desired{Refused: &plan.Refusal{Reason: plan.ApplyFailed, Message: v1.Printable("no NIC is touched, since what is remembered of them cannot be read; tried again by itself: "+err.Error(), v1.MaxMessage)}}, nil, nil)
	}
	return d.blind(ctx, partRecover, err)
}

// blind ends a pass that cannot see the machine; nothing is said of the NICs then. The next look comes later each time, unless an event calls
// for one. That is no news where the service is being stopped.
func (d *Daemon) blind(ctx context.Context, part string, err error) time.Duration {
	d.own.unseen = err
	if ctx.Err() != nil {
		return retryMin
	}
	d.endBetween()
	d.partDown(part, err)
	d.own.blinds++
	return min(retryMin<<min(d.own.blinds-1, 10), time.Minute)
}

func (d *Daemon) desired(ctx context.Context, wish Wish) Desired {
	if wish.Object == nil || wish.Cleaned {
		return Desired{}
	}
	obj := wish.InForce()
	if r := d.identity(obj); r != nil {
		return Desired{Refused: r}
	}
	desired := Parse(obj, d.Node)
	if desired.Refused == nil && d.Unsupported != nil {
		if why := d.Unsupported(ctx); why != "" {
			return Desired{Refused: &plan.Refusal{Reason: v1.ReasonNoBackend, Message: why}}
		}
	}
	return desired
}

// look reads the machine, which has to know for that what is wanted: of equal default routes that of a
// link counts which nobody wants.
func (d *Daemon) look(ctx context.Context, desired Desired) (plan.Machine, error) {
	named := slices.Clone(desired.held(d.Applier.Record()))
	for _, c := range desired.NICs {
		named = append(named, c.MAC)
	}
	d.Machine.Wanted(named)
	return d.Machine.Look(ctx)
}

func (d *Daemon) plan(desired Desired, m plan.Machine) plan.Plan {
	rec := d.Applier.Record()
	m.Failed = d.own.failed()
	for _, h := range d.Applier.Halfway() {
		m.Failed = append(m.Failed, h.NIC.MAC)
	}
	return plan.Make(desired.NICs, desired.held(rec), m, rec)
}

// current gives the wish, after it was made durable: what we act upon must be known after a reboot too.
func (d *Daemon) current() Wish {
	d.state.mu.Lock()
	d.state.meters.Passes++
	if run := d.state.wish.due(); run != nil {
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

// carryOut does the actions in order. One that fails or is refused never stops the others.
func (d *Daemon) carryOut(ctx context.Context, desired Desired, p plan.Plan) (results []apply.Result, changed bool) {
	for _, a := range p.Actions {
		if ctx.Err() != nil {
			break
		}
		if res, half := d.halfway(a); half { // resume has a pace of its own
			delete(d.own.failures, a.NIC.MAC)
			delete(d.own.fights, a.NIC.MAC)
			results = append(results, res)
			continue
		}
		f, failed := d.own.failures[a.NIC.MAC]
		failed = failed && f.counts(a)
		if failed && !f.due(d.now()) && a.Kind == f.result.Action.Kind {
			f.result.Action.Asked = a.Asked // the same may have been asked in other words before
			results = append(results, f.result)
			continue
		}
		if d.inMotion(a) {
			results = append(results, apply.Result{Action: a, Outcome: apply.Unchanged, Reason: plan.Configured})
			continue
		}
		fight, drift := d.fight(a)
		if drift && fight.holds(d.now()) {
			results = append(results, apply.Result{Action: a, Outcome: apply.Unchanged, Reason: v1.ReasonDriftFighting, Message: fight.message()})
			continue
		}
		if a.Kind == plan.Configure && a.Link != nil {
			d.rememberToo(a.Link.Index) // who changes it while others are still under way is to be known
		}
		res := d.Applier.Do(ctx, a)
		if res.Err != nil && !failed && !fight.fighting() {
			if now, yes := d.overtaken(ctx, desired, res); yes {
				d.Log.Info("a NIC was changed by somebody else in the middle of a change; once more", "node", d.Node, "nic", a.NIC.Name, "mac", a.NIC.MAC, "reason", res.Reason, "err", res.Err)
				d.Alive() // both together may take longer than one watchdog interval
				res = d.Applier.Do(ctx, now)
			}
		}
		d.Alive() // several changes, each with its probes, may take longer than one watchdog interval
		switch {
		case res.Outcome == apply.Refused && res.Err == nil: // nothing was tried: neither a repair nor a sign of peace
			drift = false
			delete(d.own.fights, a.NIC.MAC)
		case drift:
			d.drifted(fight, res)
		case fight != nil && res.Outcome == apply.Unchanged && fight.peace(d.now()):
			d.Log.Info("nobody changes the NIC any more", "node", d.Node, "nic", a.NIC.Name, "mac", a.NIC.MAC)
		}
		switch {
		case drift && fight.fighting() && res.Err != nil: // undone by the other before it could be verified; the fight says when to go on
			delete(d.own.failures, a.NIC.MAC)
			changed = true
		case res.Err != nil:
			d.own.fail(res, d.now())
			d.Log.Log(ctx, d.own.failures[a.NIC.MAC].level(), "a change failed", "mac", a.NIC.MAC, "nic", a.NIC.Name, "reason", res.Reason, "outcome", res.Outcome, "err", res.Err)
			changed = true
		default:
			changed = changed || res.Outcome == apply.Done
			delete(d.own.failures, a.NIC.MAC)
		}
		results = append(results, res)
		if d.cutShort(results) {
			break
		}
	}
	return results, changed
}

// overtaken says whether a change that failed for the first time may have failed because somebody else changed the link meanwhile, and gives the
// action as it has to be by now. Each step had been made where the kernel then shows something else; a step that failed says so only where another
// change is to be made now.
func (d *Daemon) overtaken(ctx context.Context, desired Desired, res apply.Result) (now plan.Action, yes bool) {
	was := res.Action
	if ctx.Err() != nil || was.Link == nil || res.Outcome == apply.RollbackFailed || res.Reason != plan.VerificationFailed && res.Reason != plan.ApplyFailed {
		return now, false
	}
	machine, err := d.look(ctx, desired)
	if err != nil {
		return now, false
	}
	for _, a := range d.plan(desired, machine).Actions {
		if a.NIC.MAC == was.NIC.MAC && a.Kind == was.Kind && a.Link != nil && a.Link.Index == was.Link.Index {
			return a, res.Reason == plan.VerificationFailed || a.Change.String() != was.Change.String()
		}
	}
	return now, false
}

// cutShort says that the last action gave another NIC a name for the time being, on which the rest must be planned anew.
func (d *Daemon) cutShort(results []apply.Result) bool {
	if len(results) == 0 {
		return false
	}
	last := results[len(results)-1]
	return last.Outcome == apply.Done && last.Action.Change.Way != nil
}

// nextRetry is how long the loop may wait for an event.
func (d *Daemon) nextRetry() time.Duration {
	d.state.mu.Lock()
	unkept := d.state.fresh
	d.state.mu.Unlock()
	if wait := d.own.next(d.now()); !unkept || wait < retryKeep {
		return wait
	}
	return retryKeep
}

// logChange writes the one line of a finished change, and one for each NIC.
func (d *Daemon) logChange(wish Wish, results []apply.Result, took time.Duration) {
	counts := map[apply.Outcome]int{}
	for _, r := range results {
		counts[r.Outcome]++
		if r.Outcome == apply.Done {
			d.Log.Info("changed a NIC", "node", d.Node, "generation", generation(wish), "nic", r.Action.NIC.Name, "mac", r.Action.NIC.MAC,
				"kind", r.Action.Kind, "change", strings.ReplaceAll(strings.TrimSpace(r.Action.Change.String()), "\n", "; "), "steps", strings.Join(r.Steps, " "))
		}
	}
	level := slog.LevelInfo
	if !slices.ContainsFunc(results, func(r apply.Result) bool {
		f, failed := d.own.failures[r.Action.NIC.MAC]
		return r.Outcome == apply.Done || failed && !f.again
	}) {
		level = slog.LevelDebug
	}
	d.Log.Log(context.Background(), level, "change finished", "node", d.Node, "generation", generation(wish), "done", counts[apply.Done], "unchanged", counts[apply.Unchanged],
		"refused", counts[apply.Refused], "waiting", counts[apply.Waiting], "failed", counts[apply.Failed]+counts[apply.RolledBack]+counts[apply.RollbackFailed],
		"duration", took.Round(time.Millisecond))
}

func generation(w Wish) int64 {
	if w.Object == nil {
		return 0
	}
	return w.Object.Generation
}

// remember notes the ifindexes of our links, whose events count, and 0 where rules of ours can be lost. The new list takes the place of the old
// one at once: an event in between must not find a list that is being made.
func (d *Daemon) remember(m plan.Machine) {
	indexes := map[int]bool{}
	for _, o := range d.Applier.Record().NICs {
		if d.own.fights[o.MAC].holds(d.now()) {
			continue // what is told of it wakes us for nothing
		}
		if len(o.Config.Rules) > 0 {
			indexes[0] = true
		}
		for _, l := range m.Links {
			if l.HasMAC(o.MAC) {
				indexes[l.Index] = true
			}
		}
	}
	d.indexes.Store(&indexes)
}

// rememberToo adds a link to those whose events count.
func (d *Daemon) rememberToo(index int) {
	if d.ours(index) {
		return
	}
	indexes := map[int]bool{index: true}
	if had := d.indexes.Load(); had != nil {
		maps.Copy(indexes, *had)
	}
	d.indexes.Store(&indexes)
}

// ours says whether events about a link count. Any goroutine may ask.
func (d *Daemon) ours(index int) bool {
	indexes := d.indexes.Load()
	return indexes != nil && (*indexes)[index]
}

// identity refuses an object that is meant for another machine. Ids are compared only with ids of their kind.
func (d *Daemon) identity(obj *v1.MultiNicNodeConfig) *plan.Refusal {
	want := strings.ToLower(strings.TrimSpace(obj.Spec.InstanceID))
	have := d.comparable(want)
	if want == "" || len(have) == 0 || slices.Contains(have, want) {
		return nil
	}
	return &plan.Refusal{Reason: v1.ReasonIdentityMismatch,
		Message: fmt.Sprintf("spec.instanceId is %s, this host is %s: the object is meant for another machine; correct it, or set instance_id in multinicd.toml", want, strings.Join(have, ", "))}
}

// comparable lists the host's ids of the same form as want: EC2 style (i-...) or UUID.
func (d *Daemon) comparable(want string) []string {
	if d.Instance != "" {
		return []string{strings.ToLower(d.Instance)}
	}
	var out []string
	for _, id := range d.Machine.Identity() {
		id = strings.ToLower(id)
		if strings.HasPrefix(id, "i-") == strings.HasPrefix(want, "i-") && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}
