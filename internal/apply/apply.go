// Package apply makes a planned action true, or puts everything back.
//
// In go a plan.Action and the steps that a backend makes of it; out comes a Result, and the record of what we own is kept on disk.
// All steps are journaled, each with its undo, before the first is done. If one fails, those done are undone in reverse; if the daemon is killed, Recover does it.
//
// It decides nothing about what is wanted, knows no file format, and touches the machine only through Links and Files.
//
// Start reading at Applier.Do, then recover.go; journal.go holds what survives a crash.
package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"multinicd/nic"
	"multinicd/plan"
)

// Backend turns an action into steps, and asks the host's own tool about the files among them. An error that is a plan.RefusalError means
// that the NIC cannot be had here, and nothing failed.
type Backend interface {
	Steps(a plan.Action) ([]plan.Step, error)
	Validate(ctx context.Context, steps []plan.Step) error
}

// Links is the one way to a link. Change obeys the guard; Restore, which undoes, obeys only the part of it that holds for an undo.
// Both are idempotent and answer nic.ErrLinkGone and nic.ErrRenameBusy.
type Links interface {
	Link(ctx context.Context, index int) (nic.Link, error)
	// Look shows the whole machine, with who claims each link and the paths that must not be cut.
	Look(ctx context.Context) (plan.Machine, error)
	// Free asks the neighbours of a link for addresses. The error, if one has it, names the neighbour and wraps ErrAddressInUse.
	Free(ctx context.Context, index int, addrs []netip.Addr) error
	Change(ctx context.Context, c nic.Change) error
	Restore(ctx context.Context, c nic.Change) error
}

// ErrAddressInUse: a neighbour answers for an address.
var ErrAddressInUse = errors.New("address is in use")

// Files writes whole files, atomically and durably: after an error the file is as it was.
type Files interface {
	Read(name string) ([]byte, fs.FileMode, error)
	Write(name string, data []byte, mode fs.FileMode) error
	Remove(name string) error
}

// Manager asks the host's network manager over the bus. Every call has a deadline of its own. It answers nic.ErrNoManager and nic.ErrLinkGone.
type Manager interface {
	Manage(ctx context.Context, m plan.Manage) error
}

// Prober tells whether the node still has what it lives by. Before notes what answers now and gives the check for afterwards,
// which asks again only for what answered, for as long as ctx lasts.
type Prober interface {
	Before(ctx context.Context) (after func(ctx context.Context) error)
}

// Outcome is how an action ended.
type Outcome string

// The outcomes. After RolledBack and Failed the host is as it was before.
const (
	Unchanged      Outcome = "Unchanged"      // nothing to do
	Done           Outcome = "Done"           // as wanted, verified and persisted
	Refused        Outcome = "Refused"        // not touched
	Waiting        Outcome = "Waiting"        // not there
	Failed         Outcome = "Failed"         // failed before anything was changed
	RolledBack     Outcome = "RolledBack"     // failed and undone
	RollbackFailed Outcome = "RollbackFailed" // failed and not undone whole
)

// Result is what became of one NIC.
type Result struct {
	Action  plan.Action
	Outcome Outcome
	Reason  plan.Reason
	Message string   // for a person; what failed, and what to do
	Steps   []string // names of the steps done, in order
	Files   []string // paths written or removed, in order
	Err     error    // set where something was tried: Failed, RolledBack, RollbackFailed, and Refused by a neighbour
}

// Applier runs the changes of one host, one at a time.
type Applier struct {
	Backend Backend
	Links   Links
	Files   Files
	Manager Manager // nil: the host's network manager is not asked; see Recover
	Probe   Prober
	Log     *slog.Logger
	Dir     string // state folder, absolute
	Boot    string // id of this boot
	// ProbeTimeout bounds the wait for what answered before; the undo follows at once.
	ProbeTimeout time.Duration
	// VerifyTimeout bounds the wait for IPv6 duplicate address detection.
	VerifyTimeout time.Duration
	// SettleTimeout bounds the wait for what a network manager goes on to do after it has said that it is done.
	SettleTimeout time.Duration
	// At, for tests, is called right before each step by its name, and before "journal", "record", "done" and "recovered". nil in service.
	At func(point string)

	record   plan.Record
	attempts map[string]int
	stuck    *entry // a change whose undo failed; nil: none
}

// validateTimeout bounds the wait for the host's own tool: half a second when all is well, more on a busy machine.
const validateTimeout = 20 * time.Second

// maxAttempts bounds how often a change that ended the daemon is begun.
const maxAttempts = 3

// Keeper is a Backend that can read back from its files what they say, for the time after the record was lost.
type Keeper interface {
	Owned() ([]plan.Owned, error)
}

// Complete adds to the record, in memory, the NICs of which only our files are left. What cannot be read is named in the error, and the rest counts.
func (a *Applier) Complete() error {
	k, ok := a.Backend.(Keeper)
	if !ok {
		return nil
	}
	found, err := k.Owned()
	for _, o := range found {
		if _, known := a.record.Find(o.MAC); !known {
			a.record = a.record.With(o.MAC, &o)
		}
	}
	return err
}

// Record is what we own now.
func (a *Applier) Record() plan.Record { return a.record }

// Steps says what Do would do, without doing it.
func (a *Applier) Steps(action plan.Action) ([]plan.Step, error) {
	if action.Kind != plan.Configure && action.Kind != plan.Remove {
		return nil, nil
	}
	return a.Backend.Steps(action)
}

// Do carries one action out. It returns only when the change is in force or undone; ctx ending in mid-change undoes it.
func (a *Applier) Do(ctx context.Context, action plan.Action) Result {
	res := Result{Action: action, Reason: action.Reason, Message: action.Message}
	switch action.Kind {
	case plan.Refuse:
		res.Outcome = Refused
		return res
	case plan.Wait:
		res.Outcome = Waiting
		return res
	}
	if a.stuck != nil { // a new journal would take the place of its own, and with it the way back
		nic := a.stuck.NIC.MAC
		if err := a.conclude(ctx, *a.stuck); err != nil {
			return res.fail(RollbackFailed, plan.RollbackFailed, fmt.Errorf("an earlier change is still half way: %w", err))
		}
		a.stuck = nil
		if nic == action.NIC.MAC { // the action was planned on what is no more
			return res.fail(Failed, plan.ApplyFailed, errors.New("an earlier change was half way and has been put right; this one comes next"))
		}
	}
	steps, err := a.Backend.Steps(action)
	var refusal *plan.RefusalError
	if errors.As(err, &refusal) {
		res.Outcome, res.Reason, res.Message = Refused, refusal.Refusal.Reason, refusal.Refusal.Message
		return res
	} else if err != nil {
		return res.fail(Failed, plan.ApplyFailed, err)
	}
	if len(steps) == 0 {
		res.Outcome, res.Reason = Unchanged, plan.Configured
		if err := a.remember(action); err != nil {
			return res.fail(Failed, plan.ApplyFailed, err)
		}
		return res
	}
	tx := transaction{Applier: a, entry: newEntry(a.Boot, action, steps, a.record)}
	if n := a.attempts[tx.entry.Digest]; n >= maxAttempts {
		res.Outcome, res.Reason = Refused, plan.ChangeCrashed
		res.Message = fmt.Sprintf("this change ended multinicd %d times and is not tried again until the object changes; see journalctl -u multinicd", n)
		return res
	}
	return tx.run(ctx, res)
}

func (r Result) fail(o Outcome, reason plan.Reason, err error) Result {
	r.Outcome, r.Reason, r.Message, r.Err = o, reason, err.Error(), err
	return r
}

// at tells a test how far the change has come.
func (a *Applier) at(point string) {
	if a.At != nil {
		a.At(point)
	}
}

// transaction is one change under way.
type transaction struct {
	*Applier
	entry entry
	after func(ctx context.Context) error // the probe for what answered before
}

func (t *transaction) run(ctx context.Context, res Result) Result {
	if slices.ContainsFunc(t.entry.Steps, func(s plan.Step) bool { return s.Do.Check == plan.CheckProbe }) {
		t.after = t.Probe.Before(ctx)
	}
	t.at("journal")
	if err := t.begin(); err != nil {
		return res.fail(Failed, plan.ApplyFailed, err)
	}
	for i, s := range t.entry.Steps {
		t.at(s.Name)
		if err := t.do(ctx, s); err != nil {
			return t.undo(ctx, res, i, t.blame(ctx, i, err))
		}
		res.Steps = append(res.Steps, s.Name)
		if s.Do.File != nil {
			res.Files = append(res.Files, s.Do.File.Path)
		}
	}
	if err := t.commit(); err != nil {
		return t.undo(ctx, res, len(t.entry.Steps)-1, err)
	}
	res.Outcome, res.Reason = Done, plan.Configured
	return res
}

// do carries one step out.
func (t *transaction) do(ctx context.Context, s plan.Step) error {
	switch {
	case s.Do.Link != nil:
		err := t.Links.Change(ctx, *s.Do.Link)
		if errors.Is(err, nic.ErrRenameBusy) {
			if t.entry.Kind == plan.Configure {
				t.entry.After.RenameBlocked = true
			}
			return nil // the next boot gives the name; all else is done under the present one
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
		// A bus that hangs must not keep a change half way for longer than the service manager's watchdog waits.
		ctx, cancel := context.WithTimeout(ctx, validateTimeout)
		defer cancel()
		if err := t.Backend.Validate(ctx, t.entry.Steps); err != nil {
			return &stepError{plan.ValidationFailed, err}
		}
		return nil
	}
	return fmt.Errorf("step %q does nothing", s.Name)
}

func (t *transaction) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.ProbeTimeout)
	defer cancel()
	if err := t.after(ctx); err != nil {
		return &stepError{plan.ProbeFailed, err}
	}
	return nil
}

// blame says what is behind a guard that refuses step i: where the steps before it have drawn to the link what the node lives by, the probe tells
// that better.
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

// guard asks the planner's questions again: minutes may have passed, and other changes been made, since it answered.
func (t *transaction) guard(ctx context.Context) error {
	now, err := t.Links.Look(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(now.Links, func(l nic.Link) bool { return l.Index == t.entry.Index })
	if i < 0 {
		return fmt.Errorf("reading link %d: %w", t.entry.Index, nic.ErrLinkGone)
	}
	r := plan.Guard(now.Links[i], now)
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

// verify reads the link back until it shows what is wanted; it waits only for duplicate address detection to end.
func (t *transaction) verify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.VerifyTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		l, err := t.Links.Link(ctx, t.entry.Index)
		if err != nil {
			return err
		}
		wrong := t.mismatches(l)
		if len(wrong) == 0 {
			return nil
		}
		settling := !slices.ContainsFunc(wrong, func(m plan.Mismatch) bool { return m.Have != "tentative" })
		if settling {
			select {
			case <-tick.C:
				continue
			case <-ctx.Done():
			}
		}
		if d := slices.IndexFunc(wrong, func(m plan.Mismatch) bool { return m.Have == "duplicate" }); d >= 0 {
			address, _, _ := strings.Cut(wrong[d].Want, "/")
			return &stepError{plan.AddressInUse, fmt.Errorf("address is in use: %s is held by a neighbour, says the kernel's duplicate address detection; give the NIC another address, or free this one", address)}
		}
		return &stepError{plan.VerificationFailed, fmt.Errorf("verifying %s: %v", l.Name, wrong[0])}
	}
}

// settled waits until the link shows what is wanted of it, or it is time to help.
func (t *transaction) settled(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, t.SettleTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		l, err := t.Links.Link(ctx, t.entry.Index)
		if err != nil || !slices.ContainsFunc(t.mismatches(l), func(m plan.Mismatch) bool { return m.Have != "tentative" && m.Have != "duplicate" }) {
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

// undo puts everything back from step last on. It does not end with ctx: a service that is being stopped finishes first.
func (t *transaction) undo(ctx context.Context, res Result, last int, cause error) Result {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	reason := plan.ApplyFailed
	var se *stepError
	if errors.As(cause, &se) {
		reason = se.reason
	}
	touched := t.touched(last)
	err := t.rewind(ctx, t.entry, last)
	if err != nil {
		t.Log.Error("undoing a change failed", "mac", t.entry.NIC.MAC, "err", err)
		t.stuck = &t.entry
		return res.fail(RollbackFailed, plan.RollbackFailed, errors.Join(cause, err))
	}
	if err := t.Files.Remove(t.journal()); err != nil {
		t.stuck = &t.entry
		return res.fail(RollbackFailed, plan.RollbackFailed, errors.Join(cause, fmt.Errorf("removing the journal: %w", err)))
	}
	if reason == plan.AddressInUse { // refused by the neighbour; only the link had to be up to ask
		return res.fail(Refused, reason, cause)
	}
	if !touched {
		var refusal *plan.RefusalError
		if errors.As(cause, &refusal) {
			res.Outcome, res.Reason, res.Message = Refused, refusal.Refusal.Reason, refusal.Refusal.Message
			return res
		}
		return res.fail(Failed, reason, cause)
	}
	return res.fail(RolledBack, reason, cause)
}

// touched says whether a step before or at last could have changed the machine.
func (t *transaction) touched(last int) bool {
	return slices.ContainsFunc(t.entry.Steps[:last+1], func(s plan.Step) bool {
		return s.Do.Link != nil || s.Do.File != nil || s.Do.Manage != nil && s.Do.Manage.Verb != plan.Hold
	})
}

// stepError gives a failed step its reason.
type stepError struct {
	reason plan.Reason
	err    error
}

func (e *stepError) Error() string { return e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }
