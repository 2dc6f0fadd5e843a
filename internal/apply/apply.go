// Package apply carries out a planned action, or puts everything back.
//
// In go a plan.Action and the steps that a backend makes of it. Out comes a Result; the record of
// what we own is kept on disk. Before the first step is done, all steps are in the journal, each
// with its undo. If a step fails, the steps that were done are undone in reverse. If the daemon is
// killed, Recover does this.
//
// The package decides nothing about what is wanted, and knows no file format. It touches the
// machine only through Links and Files.
//
// Start reading at Applier.Do, then step.go, undo.go and recover.go. machine.go says what is needed
// of the host. journal.go holds what survives a crash. halfway.go has the changes that could not be
// undone; such a change blocks its own NIC and no other. turns.go lets many changes wait together.
package apply

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"multinicd/nic"
	"multinicd/plan"
)

// Applier runs the changes of one host, one at a time, except where InTurns says otherwise.
type Applier struct {
	Backend Backend
	Links   Links
	Files   Files
	Manager Manager // nil: the host's network manager is not asked; see Recover
	Probe   Prober
	Log     *slog.Logger
	// Ours says which files a journal may name. A journal that names another file was not written
	// by this program, and is set aside as damaged. nil lets every file through.
	Ours func(file string) bool
	Dir  string // state folder, absolute
	Boot string // id of this boot
	// ProbeTimeout bounds the wait until everything answers again that answered before the change.
	// When it is over, the change is undone.
	ProbeTimeout time.Duration
	// VerifyTimeout bounds the wait for IPv6 duplicate address detection.
	VerifyTimeout time.Duration
	// SettleTimeout bounds the wait for what a network manager still does after it has said that it
	// is done.
	SettleTimeout time.Duration
	// Alive, if set, is called before a change is undone, and each time Recover has finished with a
	// NIC. A probe, or a network manager that hangs, costs half a minute. The service manager must
	// not lose patience in the middle of an undo.
	Alive func()
	// At, for tests, gets the name of each step right before the step, and "journal", "record",
	// "done" and "recovered". It is nil in service.
	At func(point string)

	record   plan.Record
	attempts map[string]int
	halfway  map[nic.MAC]Half
	underway int    // changes that have a journal and are neither in force nor undone
	wait     func() // until it is this change's turn again; nil: there are no others, see InTurns
	once     bool   // the backend reads our files of other NICs once, see readOnce
	// taking: Recover is at work on the journals. The marker stays until it is done, because it
	// vouches for the journals that are still to come.
	taking bool
}

// maxAttempts bounds how often a change is begun that ended the daemon.
const maxAttempts = 3

// Complete adds to the record, in memory, the NICs of which only our files are left. The error
// names the files that cannot be read; all others count.
func (a *Applier) Complete() error {
	k, ok := a.Backend.(FileReader)
	if !ok {
		return nil
	}
	found, err := k.ReadBack()
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
func (a *Applier) Steps(ctx context.Context, action plan.Action) ([]plan.Step, error) {
	if action.Kind != plan.Configure && action.Kind != plan.Remove {
		return nil, nil
	}
	return a.Backend.Steps(ctx, action)
}

// Do carries one action out. When it returns, the change is in force or undone. If ctx ends during
// the change, the change is undone.
func (a *Applier) Do(ctx context.Context, action plan.Action) Result {
	if h, blocked := a.halfway[action.NIC.MAC]; blocked {
		// a new journal would replace the NIC's own one, and the way back would be lost
		return h.Result(action)
	}
	res := Result{Action: action, Reason: action.Reason, Message: action.Message}
	switch action.Kind {
	case plan.Refuse:
		res.Outcome = Refused
		return res
	case plan.Wait:
		res.Outcome = Waiting
		return res
	}
	if way := action.Change.Way; way != nil {
		if h, blocked := a.halfway[way.MAC]; blocked {
			return res.fail(Failed, plan.ApplyFailed, fmt.Errorf("the name is taken by a NIC that is not to be touched now: %w", h.Err))
		}
	}
	steps, err := a.Backend.Steps(ctx, action)
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
	tx := transaction{Applier: a, entry: newEntry(a.Boot, action, steps, a.record), journal: a.journal(action.NIC.MAC)}
	if n := a.attempts[tx.entry.Digest]; n >= maxAttempts {
		res.Outcome, res.Reason = Refused, plan.ChangeCrashed
		res.Message = fmt.Sprintf("this change ended multinicd %d times and is not tried again until the object changes; see journalctl -u multinicd", n)
		return res
	}
	return tx.run(ctx, res)
}

// at tells a test how far the change has come.
func (a *Applier) at(point string) {
	if a.At != nil {
		a.At(point)
	}
}

// transaction is one change that is being made.
type transaction struct {
	*Applier
	entry   entry
	journal string                          // its file
	after   func(ctx context.Context) error // the probe of what answered before
	// duplicates lists the addresses that the kernel has found in use since the change began.
	duplicates func() []netip.Addr
}

func (t *transaction) run(ctx context.Context, res Result) Result {
	if t.asksKernel() {
		found, stop, err := t.Links.Duplicates(t.entry.Index)
		if err != nil {
			return res.fail(Failed, plan.ApplyFailed, err)
		}
		defer stop()
		t.duplicates = found
	}
	if slices.ContainsFunc(t.entry.Steps, func(s plan.Step) bool { return s.Do.Check == plan.CheckProbe }) {
		t.after = t.Probe.Before(ctx, t.entry.Index)
	}
	t.at("journal")
	t.underway++
	defer func() { t.underway-- }()
	if err := t.begin(); err != nil {
		return res.fail(Failed, plan.ApplyFailed, err)
	}
	for i, s := range t.entry.Steps {
		t.at(string(s.Kind))
		if err := t.do(ctx, s); err != nil {
			return t.undo(ctx, res, i, t.blame(ctx, i, err))
		}
		res.Steps = append(res.Steps, string(s.Kind))
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
