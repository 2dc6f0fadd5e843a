package apply

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
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
		err := t.Links.Free(ctx, t.entry.Index, s.Do.Addresses)
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

// blame says why the guard refuses step i. If earlier steps have moved the node's lifeline onto the
// link, the probe explains it better.
func (t *transaction) blame(ctx context.Context, i int, err error) error {
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
	if f.Absent {
		return t.Files.Remove(f.Path)
	}
	return t.Files.Write(f.Path, f.Data, f.Mode)
}

// verify reads the link back until it shows what is wanted. It waits only for duplicate address
// detection to end.
func (t *transaction) verify(parent context.Context) error {
	ctx, cancel := context.WithTimeout(parent, t.VerifyTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var l nic.Link
	var wrong []plan.Mismatch // seen at the last look
	for {
		now, err := t.Links.Link(ctx, t.entry.Index)
		if err != nil && (ctx.Err() == nil || parent.Err() != nil) {
			return err
		}
		if err != nil { // the time ended just before another look: the last one counts
			if len(wrong) == 0 {
				return &stepError{plan.VerificationFailed, fmt.Errorf("verifying: %w", err)}
			}
			break
		}
		l, wrong = now, t.mismatches(now)
		if len(wrong) == 0 {
			return nil
		}
		if slices.ContainsFunc(wrong, func(m plan.Mismatch) bool { return m.State != plan.Tentative }) {
			break
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	if d := slices.IndexFunc(wrong, func(m plan.Mismatch) bool { return m.State == plan.Duplicate }); d >= 0 {
		return &stepError{plan.AddressInUse, t.duplicate(parent, wrong[d].Address.Addr())}
	}
	return &stepError{plan.VerificationFailed, fmt.Errorf("verifying %s: %v", l.Name, wrong[0])}
}

// duplicate says who has an address that the kernel found to be in use. The kernel does not say
// who. When the neighbours were asked before, the owner may have been too late, or not yet there.
// So they are asked once more.
func (t *transaction) duplicate(ctx context.Context, a netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := t.Links.Free(ctx, t.entry.Index, []netip.Addr{a}); errors.Is(err, ErrAddressInUse) {
		return err
	}
	return fmt.Errorf("%w: %s is held by a neighbour, says the kernel's duplicate address detection; give the NIC another address, or free this one", ErrAddressInUse, a)
}

// settled waits until the link shows what is wanted, or until it is time to help.
func (t *transaction) settled(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, t.SettleTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		l, err := t.Links.Link(ctx, t.entry.Index)
		if err != nil || !slices.ContainsFunc(t.mismatches(l), func(m plan.Mismatch) bool { return m.State != plan.Tentative && m.State != plan.Duplicate }) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (t *transaction) mismatches(l nic.Link) []plan.Mismatch {
	if t.entry.Kind == plan.Remove {
		return plan.VerifyGone(l, t.entry.After)
	}
	return plan.Verify(t.entry.NIC, l, *t.entry.After)
}
