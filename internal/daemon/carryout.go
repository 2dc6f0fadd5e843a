package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/asked"
	"multinicd/nic"
	"multinicd/plan"
)

// carryOut does the actions in order. One that fails or is refused never stops the others.
func (d *Daemon) carryOut(ctx context.Context, desired asked.Desired, p plan.Plan) (results []apply.Result, changed bool) {
	results = make([]apply.Result, len(p.Actions))
	begun := d.Applier.InTurns(ctx, p.Actions, d.failedBefore, func(i int) bool {
		res, left := d.leave(p.Actions[i])
		if !left {
			var touched bool
			res, touched = d.do(ctx, desired, p.Actions[i])
			changed = changed || touched
		}
		results[i] = res
		return !d.cutShort(results[:i+1])
	})
	return results[:begun], changed
}

// failedBefore: a NIC whose change failed is not changed together with others again. What fails of
// it may be what the node lives by, and then those that are at work fail with it.
func (d *Daemon) failedBefore(a plan.Action) bool {
	_, failed := d.own.pace.Failures[a.NIC.MAC]
	return failed
}

// leave gives the result of an action that is not to be done now; false: it is to be done.
func (d *Daemon) leave(a plan.Action) (res apply.Result, left bool) {
	if res, half := d.halfway(a); half { // resume has a pace of its own
		delete(d.own.pace.Fights, a.NIC.MAC)
		return res, true
	}
	f, failed := d.own.pace.Failures[a.NIC.MAC]
	if failed && f.Counts(a) && !f.Due(d.now()) && a.Kind == f.Result.Action.Kind {
		f.Result.Action.Asked = a.Asked // the same may have been asked in other words before
		return f.Result, true
	}
	if d.inMotion(a) {
		return apply.Result{Action: a, Outcome: apply.Unchanged, Reason: plan.Configured}, true
	}
	return apply.Result{}, false
}

// do does an action, unless that is a repair and somebody fights with us about the NIC. touched
// says that the machine is, or may be, another one by that.
func (d *Daemon) do(ctx context.Context, desired asked.Desired, a plan.Action) (res apply.Result, touched bool) {
	f, failed := d.own.pace.Failures[a.NIC.MAC]
	failed = failed && f.Counts(a)
	fight, same, drift := d.fight(a)
	if fight.Holds(d.now()) { // also where the files are fought about, of which the action does not tell
		return apply.Result{Action: a, Outcome: apply.Unchanged, Reason: v1.ReasonDriftFighting, Message: fight.Message()}, false
	}
	if a.Kind == plan.Configure && a.Link != nil {
		d.rememberToo(a.Link.Index) // who changes it while others are still under way is to be known
	}
	res = d.Applier.Do(ctx, a)
	if res.Err != nil && !failed && !fight.Fighting() {
		if now, yes := d.overtaken(ctx, desired, res); yes {
			d.Log.Info("a NIC was changed by somebody else in the middle of a change; once more", "node", d.Node, "nic", a.NIC.Name, "mac", a.NIC.MAC, "reason", res.Reason, "err", res.Err)
			d.Alive() // both together may take longer than one watchdog interval
			res = d.Applier.Do(ctx, now)
		}
	}
	d.Alive() // several changes, each with its probes, may take longer than one watchdog interval
	switch {
	case res.Outcome == apply.Refused && res.Err == nil:
		// Nothing was tried: that is neither a repair nor a sign of peace.
		drift = false
		delete(d.own.pace.Fights, a.NIC.MAC)
	case drift || same && d.edited(res):
		d.drifted(fight, res)
	case fight != nil && res.Outcome == apply.Unchanged && fight.Peace(d.now()):
		d.Log.Info("nobody changes the NIC any more", "node", d.Node, "nic", a.NIC.Name, "mac", a.NIC.MAC)
	}
	return res, d.noteResult(ctx, res, drift && fight.Fighting())
}

// noteResult notes when a NIC is tried again after a result, and says whether the machine is, or
// may be, another one by that. fought: a repair, while somebody fights with us about the NIC.
func (d *Daemon) noteResult(ctx context.Context, res apply.Result, fought bool) (touched bool) {
	a := res.Action
	switch {
	case res.Err == nil:
		delete(d.own.pace.Failures, a.NIC.MAC)
		return res.Outcome == apply.Done
	case fought:
		// Undone by the other before it could be verified: the fight says when to go on.
		delete(d.own.pace.Failures, a.NIC.MAC)
	default:
		d.own.pace.Fail(res, d.now())
		d.Log.Log(ctx, d.own.pace.Failures[a.NIC.MAC].Level(), "a change failed", "mac", a.NIC.MAC, "nic", a.NIC.Name, "reason", res.Reason, "outcome", res.Outcome, "err", res.Err)
	}
	return true
}

// overtaken says whether a change that failed for the first time may have failed because somebody
// else changed the link meanwhile, and gives the action as it has to be by now. Each step had been
// made where the kernel then shows something else; a step that failed says so only where another
// change is to be made now.
func (d *Daemon) overtaken(ctx context.Context, desired asked.Desired, res apply.Result) (now plan.Action, yes bool) {
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
			return a, res.Reason == plan.VerificationFailed || errors.Is(res.Err, nic.ErrAnotherProfile) || a.Change.String() != was.Change.String()
		}
	}
	return now, false
}

// cutShort says that the last action gave another NIC a name for the time being, on which the rest
// must be planned anew.
func (d *Daemon) cutShort(results []apply.Result) bool {
	if len(results) == 0 {
		return false
	}
	last := results[len(results)-1]
	return last.Outcome == apply.Done && last.Action.Change.Way != nil
}

// logChange writes the one line of a finished change, and one for each NIC.
func (d *Daemon) logChange(wish asked.Wish, results []apply.Result, took time.Duration) {
	counts := map[apply.Outcome]int{}
	for _, r := range results {
		counts[r.Outcome]++
		if r.Outcome == apply.Done {
			change := strings.ReplaceAll(strings.TrimSpace(r.Action.Change.String()), "\n", "; ")
			if change == "" && len(r.Files) > 0 { // somebody has edited or deleted it
				change = "files written anew: " + strings.Join(r.Files, ", ")
			}
			d.Log.Info("changed a NIC", "node", d.Node, "generation", wish.Generation(), "nic", r.Action.NIC.Name, "mac", r.Action.NIC.MAC,
				"kind", r.Action.Kind, "change", change, "steps", strings.Join(r.Steps, " "))
		}
	}
	level := slog.LevelInfo
	if !slices.ContainsFunc(results, func(r apply.Result) bool {
		f, failed := d.own.pace.Failures[r.Action.NIC.MAC]
		return r.Outcome == apply.Done || failed && !f.Again && d.own.pace.Halves[r.Action.NIC.MAC] == nil
	}) {
		level = slog.LevelDebug
	}
	d.Log.Log(context.Background(), level, "change finished", "node", d.Node, "generation", wish.Generation(), "done", counts[apply.Done], "unchanged", counts[apply.Unchanged],
		"refused", counts[apply.Refused], "waiting", counts[apply.Waiting], "failed", counts[apply.Failed]+counts[apply.RolledBack]+counts[apply.RollbackFailed],
		"duration", took.Round(time.Millisecond))
}
