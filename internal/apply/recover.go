package apply

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strings"

	"multinicd/nic"
	"multinicd/plan"
)

// Recovered says what Recover found of one NIC, and what it did.
type Recovered struct {
	NIC     nic.Config // only the MAC, which may be zero, if the journal cannot be read
	Forward bool       // the change was already persisted, and was finished; else it was undone
	Damaged bool       // the journal could not be read and was set aside
	// Stale: since the journal was written, an older version has run, which does not read such
	// journals. The journal was set aside.
	Stale bool
	// Files and links are as before, but the network manager has yet to be told. A Recover that has
	// a Manager does this, or Resume.
	Pending bool
	// Err says what keeps the NIC from being put right. The NIC is then blocked, see Halfway. nil
	// means that it is as before or as wanted.
	Err error
}

// Recover reads what is remembered. For each NIC alone, it undoes or finishes the change that a
// crash or power cut interrupted. It runs before the first plan, needs no API, and may itself be
// cut off and run again. It returns what it found, by MAC; nil means that nothing was interrupted.
// An error means that nothing is known about this host's NICs.
//
// Without a Manager, Recover needs no bus. In that case a journal stays if its change was begun in
// this boot and involved a network manager.
//
// A change is finished if its last durable step had been done, because the next boot would make it
// so anyway. Otherwise it is undone. After a boot only files are put back: links are new, and so is
// everything below /run.
func (a *Applier) Recover(ctx context.Context) ([]Recovered, error) {
	if err := a.Open(); err != nil {
		return nil, err
	}
	a.halfway = nil // each journal that is taken up adds its change again
	files, err := a.Files.Glob(path.Join(a.Dir, journalPrefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("listing the journals: %w", err)
	}
	culprit := a.culprit(files)
	a.taking = true
	out, ran := a.older(ctx)
	for _, file := range files {
		mac, err := nic.ParseMAC(strings.TrimPrefix(path.Base(file), journalPrefix))
		if err != nil {
			continue // set aside, or somebody else's
		}
		r := Recovered{NIC: nic.Config{MAC: mac}, Stale: true}
		if ran {
			err := a.setAside(file, ".stale")
			a.Log.Warn("an older multinicd has run since this change was cut off; its journal was set aside", "mac", mac, "file", file+".stale", "err", err)
		} else {
			by := itself
			if culprit != "" && file != culprit {
				by = another
			}
			r, _ = a.endJournal(ctx, mac, file, by)
		}
		out = append(out, r)
		if a.Alive != nil {
			a.Alive()
		}
	}
	slices.SortStableFunc(out, func(x, y Recovered) int { return x.NIC.MAC.Compare(y.NIC.MAC) })
	a.taking = false
	if err := a.adopt(); err != nil {
		a.Log.Error("an older version's journal keeps every other change from being begun", "err", err)
	}
	a.mark()
	a.at("recovered")
	return out, nil
}

// older takes up the journal of a version that had one file for all NICs. For ran, see olderRan.
func (a *Applier) older(ctx context.Context) (out []Recovered, ran bool) {
	mac, ran, err := a.olderRan()
	switch {
	case err != nil:
		out = append(out, a.damaged(nic.Config{}, a.marker(), err))
	case !mac.IsZero():
		r, _ := a.endJournal(ctx, mac, a.marker(), itself)
		out = append(out, r)
	}
	return out, ran
}

// olderRan says whether an older version has run since the journals of NICs were written. Such a
// version puts away, or overwrites, what is not its own. mac is the NIC whose change that version
// left; zero means none. An error means that the file can be read, but is neither that version's
// journal nor ours.
func (a *Applier) olderRan() (mac nic.MAC, ran bool, err error) {
	data, _, err := a.Files.Read(a.marker())
	if errors.Is(err, fs.ErrNotExist) {
		return mac, true, nil
	}
	if err != nil || string(data) == note {
		return mac, false, nil
	}
	e, err := decodeJournal(data)
	var newer *newerError
	switch {
	case errors.As(err, &newer) && newer.file == "" && !newer.mac.IsZero():
		return newer.mac, true, nil
	case err == nil && e.File == "":
		return e.NIC.MAC, true, nil
	case errors.As(err, &newer) && newer.file != "", err == nil: // a copy
		return mac, false, nil
	}
	return mac, false, err
}

// crash says which change has ended the daemon.
type crash int

const (
	none    crash = iota // it did not end
	itself               // that of the journal
	another              // one that was under way beside it
)

// endJournal undoes or finishes the change of a journal. If it cannot, it blocks the NIC. there is
// false if there is no journal.
func (a *Applier) endJournal(ctx context.Context, mac nic.MAC, file string, by crash) (r Recovered, there bool) {
	r.NIC.MAC = mac
	data, _, err := a.Files.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return r, false
	}
	var e entry
	if err == nil {
		e, err = decodeJournal(data)
	}
	if err == nil && e.NIC.MAC != mac {
		err = fmt.Errorf("%w: it is that of %s", errDamaged, e.NIC.MAC)
	}
	if file := a.foreign(e); err == nil && file != "" {
		err = fmt.Errorf("%w: it names %s, which is no file of ours", errDamaged, file)
	}
	if errors.Is(err, errDamaged) {
		delete(a.halfway, mac)
		return a.damaged(r.NIC, file, err), true
	}
	if err != nil {
		r.Err = fmt.Errorf("reading %s: %w", file, err)
		a.hold(Half{NIC: r.NIC, Err: r.Err, file: file})
		return r, true
	}
	r = Recovered{NIC: e.NIC, Forward: a.final(e), Pending: a.Manager == nil && e.Boot == a.Boot && e.managed()}
	if r.Pending && !r.Forward {
		r.Err = a.rewind(ctx, e, len(e.Steps)-1)
		a.block(e, file, cmp.Or(r.Err, errManager))
		return r, true
	}
	r.Pending = false
	if by != none {
		a.count(&e, file, by)
	}
	if r.Err = a.conclude(ctx, e, file); r.Err != nil {
		r.Pending = errors.Is(r.Err, errManager)
		a.block(e, file, r.Err)
	}
	return r, true
}

// foreign is a file that an entry names and that is not ours; "" if there is none. An undo writes
// what the journal says, as root: whoever can write a journal must not write any file of the host.
func (a *Applier) foreign(e entry) string {
	for _, s := range e.Steps {
		for _, f := range []*plan.File{s.Do.File, s.Undo.File} {
			if f != nil && a.Ours != nil && !(path.Clean(f.Path) == f.Path && a.Ours(f.Path)) {
				return f.Path
			}
		}
	}
	return ""
}

// damaged puts away a journal that cannot be read, or is not ours.
func (a *Applier) damaged(c nic.Config, file string, why error) Recovered {
	err := a.setAside(file, ".damaged")
	a.Log.Error("a journal is damaged and was set aside: look at the NIC", "mac", c.MAC, "file", file+".damaged", "err", errors.Join(why, err))
	return Recovered{NIC: c, Damaged: true}
}

// errManager: everything is undone, except in the memory of the network manager.
var errManager = errors.New("the network manager cannot be asked")

// conclude finishes a change whose last durable step had been done, and undoes any other.
func (a *Applier) conclude(ctx context.Context, e entry, file string) error {
	if a.final(e) {
		return a.finish(e, file)
	}
	if err := a.rewind(ctx, e, len(e.Steps)-1); err != nil {
		return err
	}
	return a.drop(e.NIC.MAC, file)
}

// Open loads what is remembered. A preview needs nothing more. A damaged file is set aside:
// planning rebuilds the record from links and files.
func (a *Applier) Open() error {
	a.attempts = map[string]int{}
	if err := a.load(attemptsFile, &a.attempts); err != nil {
		a.Log.Error("nothing is known of how often a change has ended multinicd", "err", err)
		a.attempts = map[string]int{}
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
	var err error
	a.halfway, err = a.found()
	return err
}

func (a *Applier) setAside(file, suffix string) error {
	data, _, err := a.Files.Read(file)
	if err != nil {
		return fmt.Errorf("setting a journal aside: %w", err)
	}
	if err := a.Files.Write(file+suffix, data, 0o600); err != nil {
		return fmt.Errorf("setting a journal aside: %w", err)
	}
	if err := a.Files.Remove(file); err != nil {
		return fmt.Errorf("removing the journal: %w", err)
	}
	return nil
}

// final says whether the step that makes a change last had been done. That is so if every file up
// to that step, of those that outlive a boot, is as it was to be.
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

// finish does the file steps after the final one, and commits.
func (a *Applier) finish(e entry, file string) error {
	t := transaction{Applier: a, entry: e, journal: file}
	behind := false
	for _, s := range e.Steps {
		if behind && s.Do.File != nil && a.standing(e, *s.Do.File) {
			if err := t.put(*s.Do.File); err != nil {
				return fmt.Errorf("finishing the change: %w", err)
			}
		}
		behind = behind || s.Final
	}
	return t.commit()
}

// standing says whether a file of the entry still means anything. A file below /run does not
// outlive a boot.
func (a *Applier) standing(e entry, f plan.File) bool {
	return e.Boot == a.Boot || !strings.HasPrefix(path.Clean(f.Path), "/run/")
}

// rewind undoes the steps from last down to the first, and restores the record. A link that is gone
// has nothing to put back. Every step is tried.
func (a *Applier) rewind(ctx context.Context, e entry, last int) error {
	t := transaction{Applier: a, entry: e}
	var errs, unasked []error
	lost := false // a part that the manager may put back
	for i := last; i >= 0; i-- {
		u := e.Steps[i].Undo
		switch {
		case u.Link != nil && e.Boot == a.Boot:
			err := a.restore(ctx, e, *u.Link)
			if err != nil && !errors.Is(err, nic.ErrLinkGone) && !errors.Is(err, nic.ErrRenameBusy) {
				lost = lost || !errors.Is(err, nic.ErrNameTaken)
				errs = append(errs, fmt.Errorf("undoing %s: %w", e.Steps[i].Kind, err))
			}
		case u.Manage != nil && a.Manager != nil:
			if u.Manage.Verb == plan.Release && lost {
				continue // the manager may put back what we could not
			}
			if u.Manage.Verb == plan.TakeBack && e.Boot != a.Boot {
				continue // somebody had taken the link, but only until the next boot
			}
			if err := a.Manager.Manage(ctx, *u.Manage); err != nil && !errors.Is(err, nic.ErrLinkGone) && !errors.Is(err, nic.ErrNoManager) {
				lost = true
				unasked = append(unasked, fmt.Errorf("undoing %s: %w", e.Steps[i].Kind, err))
			}
		case u.File != nil && a.standing(e, *u.File):
			if a.matches(*u.File) {
				continue
			}
			if err := t.put(*u.File); err != nil {
				lost = true
				errs = append(errs, fmt.Errorf("undoing %s: %w", e.Steps[i].Kind, err))
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

// restore puts back what one step changed of a link. The link may belong to another NIC that gave
// up its name for a change. If it is no longer called as it was then, it has got a name since, and
// stays so.
func (a *Applier) restore(ctx context.Context, e entry, c nic.Change) error {
	if c.Index != e.Index && c.Name != "" {
		l, err := a.Links.Link(ctx, c.Index)
		if err != nil || l.Name != c.Had {
			return err
		}
	}
	err := a.Links.Restore(ctx, c)
	if errors.Is(err, nic.ErrNameTaken) {
		return a.taken(ctx, c, err)
	}
	return err
}

// recall puts the record back to what it was before the change.
func (a *Applier) recall(e entry) error {
	if now, ok := a.record.Find(e.NIC.MAC); ok == (e.Before != nil) && (!ok || reflect.DeepEqual(now, *e.Before)) {
		return nil
	}
	return a.save(a.record.With(e.NIC.MAC, e.Before))
}
