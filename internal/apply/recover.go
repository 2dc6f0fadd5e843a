package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"strings"

	"multinicd/nic"
	"multinicd/plan"
)

// Recovered says what Recover found and did.
type Recovered struct {
	NIC     nic.Config
	Forward bool // the change had been persisted and was finished; else it was undone
	Damaged bool // the journal could not be read and was set aside
	Pending bool // files and links are as before; the network manager has yet to be told: by a Recover that has a Manager, or before the next change
}

// Recover reads what is remembered and undoes, or finishes, what a crash or power cut interrupted. It runs before the first plan, needs
// no API, and may itself be cut off and run again. nil: nothing was interrupted.
//
// Without a Manager it needs no bus either: then, if the change was begun in this boot and a network manager had a part in it, the journal stays.
//
// A change is finished where its last durable step had been done, since the next boot would make it so anyway, and undone otherwise.
// After a boot only files are put back: links are new, and everything below /run is.
func (a *Applier) Recover(ctx context.Context) (*Recovered, error) {
	if err := a.Open(); err != nil {
		return nil, err
	}
	out, err := a.settle(ctx)
	if err == nil {
		a.at("recovered")
	}
	return out, err
}

// settle undoes or finishes what the journal tells of.
func (a *Applier) settle(ctx context.Context) (*Recovered, error) {
	data, _, err := a.Files.Read(a.journal())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	e, err := decodeJournal(data)
	if err != nil {
		a.Log.Error("the journal is damaged and was set aside", "file", a.journal()+".damaged", "err", err)
		return &Recovered{Damaged: true}, a.setAside(data)
	}
	out := &Recovered{NIC: e.NIC, Forward: a.final(e), Pending: a.Manager == nil && e.Boot == a.Boot && e.managed()}
	if out.Pending && !out.Forward {
		return out, a.rewind(ctx, e, len(e.Steps)-1)
	}
	out.Pending = false
	if err := a.count(e.Digest); err != nil {
		a.Log.Error("the attempt cannot be counted", "err", err) // a full disk must not keep the host half way
	}
	err = a.conclude(ctx, e)
	if errors.Is(err, errManager) { // one that hangs must not keep all other NICs from being looked after
		a.Log.Error("the network manager could not be told of an undo; it is asked again before the next change", "mac", e.NIC.MAC, "err", err)
		a.stuck, out.Pending = &e, true
		return out, nil
	}
	return out, err
}

// errManager: all is undone but for what the network manager has in memory.
var errManager = errors.New("the network manager cannot be asked")

// conclude finishes a change whose last durable step had been done, and undoes another.
func (a *Applier) conclude(ctx context.Context, e entry) error {
	if a.final(e) {
		return a.finish(e)
	}
	if err := a.rewind(ctx, e, len(e.Steps)-1); err != nil {
		return fmt.Errorf("undoing the change of %s: %w", e.NIC.MAC, err)
	}
	if err := a.Files.Remove(a.journal()); err != nil {
		return fmt.Errorf("removing the journal: %w", err)
	}
	return nil
}

// Open loads what is remembered, and is all that a preview needs. A damaged file is set aside: the record is rebuilt from links and files as they are planned.
func (a *Applier) Open() error {
	a.attempts = map[string]int{}
	if err := a.load(attemptsFile, &a.attempts); errors.Is(err, errDamaged) {
		a.attempts = map[string]int{}
	} else if err != nil {
		return err
	}
	var b boundRecord
	if err := a.load(recordFile, &b); errors.Is(err, errDamaged) {
		a.Log.Error("the record of what we own is damaged; it is made anew from what is there", "err", err)
		b = boundRecord{}
	} else if err != nil {
		return err
	}
	a.record = b.Record
	if b.Boot != a.Boot {
		a.record = b.Record.NewBoot()
	}
	return nil
}

func (a *Applier) setAside(data []byte) error {
	if err := a.Files.Write(a.journal()+".damaged", data, 0o600); err != nil {
		return fmt.Errorf("setting the journal aside: %w", err)
	}
	if err := a.Files.Remove(a.journal()); err != nil {
		return fmt.Errorf("removing the journal: %w", err)
	}
	return nil
}

// final says whether the step that makes a change last had been done: every file up to it that outlives a boot is as it was to be.
func (a *Applier) final(e entry) bool {
	for _, s := range e.Steps {
		if s.Do.File != nil && a.standing(e, *s.Do.File) && !a.matches(*s.Do.File) {
			return false
		}
		if s.Final {
			return true
		}
	}
	return false
}

func (a *Applier) matches(f plan.File) bool {
	data, _, err := a.Files.Read(f.Path)
	if f.Absent {
		return errors.Is(err, fs.ErrNotExist)
	}
	return err == nil && bytes.Equal(data, f.Data)
}

// finish does the file steps behind the final one, and commits.
func (a *Applier) finish(e entry) error {
	t := transaction{Applier: a, entry: e}
	behind := false
	for _, s := range e.Steps {
		if behind && s.Do.File != nil && a.standing(e, *s.Do.File) {
			if err := t.put(*s.Do.File); err != nil {
				return fmt.Errorf("finishing the change of %s: %w", e.NIC.MAC, err)
			}
		}
		behind = behind || s.Final
	}
	return t.commit()
}

// standing says whether a file of the entry still means anything: what lies below /run does not outlive a boot.
func (a *Applier) standing(e entry, f plan.File) bool {
	return e.Boot == a.Boot || !strings.HasPrefix(path.Clean(f.Path), "/run/")
}

// rewind undoes the steps from last down to the first, and what was remembered of them. A link that is gone has nothing to put back.
// Every step is tried.
func (a *Applier) rewind(ctx context.Context, e entry, last int) error {
	t := transaction{Applier: a, entry: e}
	var errs, unasked []error
	for i := last; i >= 0; i-- {
		u := e.Steps[i].Undo
		switch {
		case u.Link != nil && e.Boot == a.Boot:
			err := a.Links.Restore(ctx, *u.Link)
			if err != nil && !errors.Is(err, nic.ErrLinkGone) && !errors.Is(err, nic.ErrRenameBusy) {
				errs = append(errs, fmt.Errorf("undoing %s: %w", e.Steps[i].Name, err))
			}
		case u.Manage != nil && a.Manager != nil:
			if u.Manage.Verb == plan.Release && len(errs)+len(unasked) > 0 {
				continue // what we could not put back, it may
			}
			if err := a.Manager.Manage(ctx, *u.Manage); err != nil && !errors.Is(err, nic.ErrLinkGone) && !errors.Is(err, nic.ErrNoManager) {
				unasked = append(unasked, fmt.Errorf("undoing %s: %w", e.Steps[i].Name, err))
			}
		case u.File != nil && a.standing(e, *u.File):
			if a.matches(*u.File) {
				continue
			}
			if err := t.put(*u.File); err != nil {
				errs = append(errs, fmt.Errorf("undoing %s: %w", e.Steps[i].Name, err))
			}
		}
	}
	if err := a.recall(e); err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 && len(unasked) > 0 {
		return fmt.Errorf("%w: %w", errManager, errors.Join(unasked...))
	}
	return errors.Join(append(errs, unasked...)...)
}

// recall puts the record back to what it was before the change.
func (a *Applier) recall(e entry) error {
	if now, ok := a.record.Find(e.NIC.MAC); ok == (e.Before != nil) && (!ok || reflect.DeepEqual(now, *e.Before)) {
		return nil
	}
	return a.save(a.record.With(e.NIC.MAC, e.Before))
}
