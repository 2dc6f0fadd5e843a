package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"multinicd/nic"
	"multinicd/plan"
)

// validateTimeout bounds the wait for the host's own tool. It takes half a second when all is well,
// more on a busy machine.
const validateTimeout = 20 * time.Second

// do carries one step out.
func (t *transaction) do(ctx context.Context, s plan.Step) error {
	switch {
	case s.Do.Link != nil:
		err := t.Links.Change(ctx, *s.Do.Link)
		if kept := t.kept(); err != nil && kept != nil && (s.Kind == plan.StepRoutes || s.Kind == plan.StepRetire) {
			if err = t.Links.Change(ctx, *kept); err == nil {
				err = t.Links.Change(ctx, *s.Do.Link)
			}
		}
		if errors.Is(err, nic.ErrRenameBusy) {
			if t.entry.Kind == plan.Configure {
				t.entry.After.RenameBlocked = true
			}
			return nil // the next boot gives the name; the rest is done under the present name
		}
		return err
	case s.Do.File != nil:
		return t.put(*s.Do.File)
	case s.Do.Manage != nil:
		return t.Manager.Manage(ctx, *s.Do.Manage)
	case s.Do.Zero():
		return nil
	}
	switch s.Do.Check {
	case plan.CheckGuard:
		return t.guard(ctx)
	case plan.CheckFree:
		err := t.free(ctx, s.Do.Addresses)
		if errors.Is(err, ErrAddressInUse) {
			return &stepError{plan.AddressInUse, err}
		}
		return err
	case plan.CheckVerify:
		return t.verify(ctx)
	case plan.CheckSettle:
		t.settled(ctx)
		return nil
	case plan.CheckProbe:
		return t.probe(ctx)
	case plan.CheckValidate:
		// A bus that hangs must not keep a change half way for longer than the service manager's
		// watchdog waits.
		ctx, cancel := context.WithTimeout(ctx, validateTimeout)
		defer cancel()
		if err := t.Backend.Validate(ctx, t.entry.Steps); err != nil {
			return &stepError{plan.ValidationFailed, err}
		}
		return nil
	}
	return fmt.Errorf("step %q does nothing", s.Kind)
}

func (t *transaction) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.ProbeTimeout)
	defer cancel()
	if err := t.after(ctx); err != nil {
		return &stepError{plan.ProbeFailed, err}
	}
	return nil
}

// blame says why step i failed. A network manager gives up a profile whose address is in use, and
// does not say why. If earlier steps have moved the node's lifeline onto the link, the probe
// explains better why the guard refuses a step.
func (t *transaction) blame(ctx context.Context, i int, err error) error {
	if t.entry.Steps[i].Do.Manage != nil {
		for _, a := range t.entry.NIC.Addresses {
			if t.taken(a.Addr()) {
				return &stepError{plan.AddressInUse, t.duplicate(ctx, a.Addr())}
			}
		}
	}
	var refusal *plan.RefusalError
	if t.after == nil || !errors.As(err, &refusal) || !t.touched(i-1) {
		return err
	}
	if failed := t.probe(ctx); failed != nil {
		return failed
	}
	return &stepError{refusal.Refusal.Reason, err}
}

// guard asks the planner's questions again. Since the planner answered, minutes may have passed and
// other changes may have been made.
func (t *transaction) guard(ctx context.Context) error {
	now, err := t.Links.LookAt(ctx, t.entry.Index)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(now.Links, func(l nic.Link) bool { return l.Index == t.entry.Index })
	if i < 0 {
		return fmt.Errorf("reading link %d: %w", t.entry.Index, nic.ErrLinkGone)
	}
	r := plan.GuardOf(t.record, now.Links[i], now)
	if t.entry.Kind == plan.Configure {
		r = plan.Again(t.entry.NIC, now.Links[i], now, t.record, t.entry.Before)
	}
	if r != nil {
		return &plan.RefusalError{Refusal: *r}
	}
	return nil
}

func (t *transaction) put(f plan.File) error {
	defer t.readOnce(t.once) // what the backend has read of this file holds no longer
	if f.Absent {
		return t.Files.Remove(f.Path)
	}
	return t.Files.Write(f.Path, f.Data, f.Mode)
}
