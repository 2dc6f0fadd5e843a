package apply

import (
	"context"
	"errors"
	"slices"
	"time"

	"multinicd/plan"
)

// undo puts everything back, from step last on. It does not end with ctx: a service that is being
// stopped finishes first.
func (t *transaction) undo(ctx context.Context, res Result, last int, cause error) Result {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if t.Alive != nil {
		t.Alive()
	}
	reason := plan.ApplyFailed
	var se *stepError
	if errors.As(cause, &se) {
		reason = se.reason
	}
	touched := t.touched(last)
	err := t.rewind(ctx, t.entry, last)
	if err == nil {
		err = t.drop(t.entry.NIC.MAC, t.journal)
	}
	if err != nil {
		t.survived()
		t.block(t.entry, t.journal, err)
		t.Log.Error("undoing a change failed", "mac", t.entry.NIC.MAC, "err", err)
		h := t.halfway[t.entry.NIC.MAC]
		h.Undone = res.fail(RolledBack, reason, cause)
		t.halfway[t.entry.NIC.MAC] = h
		// the same message from now on: one state, one message
		half := h.Result(res.Action)
		half.Steps, half.Files, half.Err = res.Steps, res.Files, errors.Join(cause, err)
		return half
	}
	if reason == plan.AddressInUse {
		// a neighbour has the address; the link had to be up only to ask
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

// survived notes that the daemon did not crash over a change that stays half way. A start that
// finds the journal must not count a crash. If the note cannot be written, one crash is counted.
func (t *transaction) survived() {
	t.entry.Counted = true
	if line, err := encodeLine(t.entry); err == nil {
		_ = t.Files.Write(t.journal, line, 0o600)
	}
}

// touched says whether one of the steps up to last could have changed the machine.
func (t *transaction) touched(last int) bool {
	return slices.ContainsFunc(t.entry.Steps[:last+1], func(s plan.Step) bool {
		return s.Do.Link != nil || s.Do.File != nil || s.Do.Manage != nil && s.Do.Manage.Verb != plan.Hold && s.Do.Manage.Verb != plan.Await
	})
}
