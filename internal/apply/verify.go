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

// verify reads the link back until it shows what is wanted. It waits only for duplicate address
// detection to end.
func (t *transaction) verify(parent context.Context) error {
	ctx, cancel := context.WithTimeout(parent, t.VerifyTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var l nic.Link
	var wrong []plan.Mismatch // seen at the last look
	kept, leases := t.kept(), maxLeases
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
		if kept != nil && slices.ContainsFunc(wrong, func(m plan.Mismatch) bool { return m.State == plan.Absent && slices.Contains(kept.Add, m.Address) }) {
			again := *kept
			kept = nil // a lease ends once
			if err := t.Links.Change(ctx, again); err != nil {
				return err
			}
			continue
		}
		if late := plan.EndLease(t.entry.NIC, now); leases > 0 && t.entry.Kind == plan.Configure && !late.Empty() {
			leases--
			if err := t.Links.Change(ctx, late); err != nil {
				return err
			}
			continue
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

// maxLeases bounds how often one verification ends a lease that came behind the steps that would
// have ended it. A DHCP client begins when the change sets the link up, and puts the address there
// before its routes. To undo the change for that would set the link down, and the next try begins
// with the same again.
const maxLeases = 3

// kept is what a change keeps of a lease, to be made once more: its last step but the checks. nil
// where it keeps nothing. networkd takes such an address along with the lease when it lets go of
// the link, and that may be at any moment from the new name on (systemd 257).
func (t *transaction) kept() *nic.Change {
	i := slices.IndexFunc(t.entry.Steps, func(s plan.Step) bool { return s.Kind == plan.StepKernel && s.Do.Link != nil })
	if i < 0 || t.entry.Kind != plan.Configure {
		return nil
	}
	return t.entry.Steps[i].Do.Link
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

// settled waits until the link shows what is wanted, or until it is time to help. It looks often at
// first, since a network manager that only has to change an address needs milliseconds. One may go
// back and forth with an address that is in use: that is not waited for.
func (t *transaction) settled(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, t.SettleTimeout)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		l, err := t.Links.Link(ctx, t.entry.Index)
		if err != nil {
			return
		}
		wrong := t.mismatches(l)
		has := func(s plan.AddressState) bool {
			return slices.ContainsFunc(wrong, func(m plan.Mismatch) bool { return m.State == s })
		}
		if has(plan.Duplicate) || !slices.ContainsFunc(wrong, func(m plan.Mismatch) bool { return m.State != plan.Tentative }) {
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// mismatches compares the link with what is wanted. NetworkManager 1.42 and 1.44 take all addresses
// from a link as soon as the kernel finds one of them in use (_dev_ipmanual_check_ready in
// src/core/devices/nm-device.c takes an IPv6 conflict for an IPv4 one too), and put them there
// again a moment later. A look at the link alone would find them absent, without a reason.
func (t *transaction) mismatches(l nic.Link) []plan.Mismatch {
	if t.entry.Kind == plan.Remove {
		return plan.VerifyGone(l, t.entry.After)
	}
	wrong := plan.Verify(t.entry.NIC, l, *t.entry.After)
	for i, m := range wrong {
		if (m.State == plan.Absent || m.State == plan.Tentative) && t.taken(m.Address.Addr()) {
			wrong[i].State = plan.Duplicate
		}
	}
	return wrong
}

// asksKernel says whether the change waits for the kernel's duplicate address detection.
func (t *transaction) asksKernel() bool {
	return t.entry.Kind == plan.Configure && slices.ContainsFunc(t.entry.NIC.Addresses, func(a netip.Prefix) bool { return a.Addr().Is6() }) &&
		slices.ContainsFunc(t.entry.Steps, func(s plan.Step) bool { return s.Do.Check == plan.CheckVerify })
}

// taken says whether the kernel has found an address in use since the change began.
func (t *transaction) taken(a netip.Addr) bool {
	return t.duplicates != nil && slices.Contains(t.duplicates(), a)
}
