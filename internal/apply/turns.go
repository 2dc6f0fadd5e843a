package apply

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"runtime/debug"
	"slices"

	"multinicd/plan"
)

// askers bounds how many changes wait for their neighbours at the same time. Each of them has a
// journal that a crash leaves, and may have a promise of the network manager that ends by itself.
const askers = 16

// InTurns calls do for each action in order, by its place in actions, until ctx or do says that it
// is enough. do calls Do. Never do two calls run at the same time. But while a change waits for what
// its neighbours say to its addresses, the next ones begin. So many NICs that are plugged in at once
// wait together, and not one after the other. All calls that have begun have ended when InTurns
// returns their number.
//
// An action begins when those before it have ended, and ends before the next begins, if it may have
// to do with another one, or if alone says so.
func (a *Applier) InTurns(ctx context.Context, actions []plan.Action, alone func(plan.Action) bool, do func(i int) (more bool)) (begun int) {
	var waiting []func() (struct{}, bool) // each goes on with a call until that waits again, or ends
	a.readOnce(true)
	defer a.readOnce(false)
	finish := func() {
		for _, resume := range waiting {
			for waits := true; waits; {
				_, waits = resume()
				a.wait = nil
			}
		}
		waiting = nil
	}
	more := true
	for i := 0; i < len(actions) && more && ctx.Err() == nil; i++ {
		single := alone(actions[i]) || involved(actions, i)
		if single || len(waiting) == askers {
			finish()
		}
		begun++
		if single {
			more = do(i)
			continue
		}
		resume, _ := iter.Pull(func(yield func(struct{}) bool) {
			defer func() {
				if p := recover(); p != nil {
					a.Log.Error("a change panics", "panic", p, "stack", string(debug.Stack())) // which Pull loses
					panic(p)
				}
			}()
			a.wait = func() { yield(struct{}{}) }
			more = do(i) && more
		})
		if _, waits := resume(); waits {
			waiting = append(waiting, resume)
		}
		a.wait = nil
	}
	finish()
	return begun
}

// readOnce has the backend read our files of other NICs once from now on, until we write one, or each
// time.
func (a *Applier) readOnce(yes bool) {
	a.once = yes
	if b, ok := a.Backend.(Rememberer); ok {
		b.Remember(yes)
	}
}

// involved says whether an action may have to do with another one: it removes a NIC, or gives it a
// name or an address that another link has now, or takes from it one that another link is to have.
func involved(actions []plan.Action, i int) bool {
	a := actions[i]
	if a.Link == nil || a.Change.Empty() {
		return a.Kind == plan.Remove
	}
	if a.Kind != plan.Configure || a.Change.Way != nil {
		return true
	}
	both := func(x, y []netip.Prefix) bool {
		return slices.ContainsFunc(x, func(p netip.Prefix) bool {
			return slices.ContainsFunc(y, func(q netip.Prefix) bool { return p.Addr() == q.Addr() })
		})
	}
	for j, o := range actions {
		if j == i || o.Link == nil {
			continue
		}
		if a.Change.Name != "" && o.Link.Answers(a.Change.Name) || o.Change.Name != "" && a.Link.Answers(o.Change.Name) ||
			both(a.Change.Add, o.Change.Del) || both(o.Change.Add, a.Change.Del) {
			return true
		}
	}
	return false
}

// free asks the neighbours. Other changes have their turn meanwhile, if InTurns is at work. Nothing
// is asked of the guard behind that, since it is asked before each write.
func (t *transaction) free(ctx context.Context, addrs []netip.Addr) error {
	wait := t.wait
	if wait == nil {
		return t.Links.Free(ctx, t.entry.Index, addrs)
	}
	line, err := encodeLine(t.entry)
	if err != nil {
		return fmt.Errorf("encoding the journal: %w", err)
	}
	answer := make(chan error, 1)
	go func() { answer <- t.Links.Free(ctx, t.entry.Index, addrs) }()
	wait()
	t.wait = wait
	if err := errors.Join(t.copyToMarker(line), <-answer); err != nil {
		return err
	}
	for _, s := range t.entry.Steps {
		if m := s.Do.Manage; m != nil && m.Verb == plan.Hold {
			// The time that the manager gave has run on, or it was released with another change's.
			if err := t.do(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}
