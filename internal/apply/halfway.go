package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"multinicd/nic"
	"multinicd/plan"
)

// Half is a change that is neither in force nor undone. No other change touches its NIC until
// Resume has put it right.
type Half struct {
	NIC nic.Config // of a journal that cannot be read only the MAC
	Err error      // what is in the way
	// Names are the names that the way back gives to links. A link that has one of them now may be
	// in the way. Sorted.
	Names []string
	// Undone is what the change will have ended with, once it is put right. Of a change that was cut
	// off it is zero.
	Undone Result

	file string // the journal
}

// Result is the result of any action on the NIC while the change is half way.
func (h Half) Result(a plan.Action) Result {
	return Result{Action: a}.fail(RollbackFailed, plan.RollbackFailed, fmt.Errorf("a change of it could not be undone yet, and that is tried again: %w", h.Err))
}

// Halfway lists the changes that are half way, by MAC. nil means none. After Open alone it lists
// the changes that have a journal.
func (a *Applier) Halfway() []Half {
	return slices.SortedFunc(maps.Values(a.halfway), func(x, y Half) int { return x.NIC.MAC.Compare(y.NIC.MAC) })
}

// Resume tries once more to put right what a NIC's change left half way. nil means that the NIC is
// as before or as wanted, and free. If somebody has removed the journal, there is nothing to put
// right.
func (a *Applier) Resume(ctx context.Context, mac nic.MAC) error {
	h, ok := a.halfway[mac]
	if !ok {
		return nil
	}
	r, there := a.endJournal(ctx, mac, h.file, none)
	if !there {
		delete(a.halfway, mac)
	}
	a.mark()
	return r.Err
}

// block keeps every other change away from a NIC whose change could be neither undone nor finished.
func (a *Applier) block(e entry, file string, err error) { a.hold(e.half(file, err)) }

func (e entry) half(file string, err error) Half {
	h := Half{NIC: e.NIC, Err: err, file: file}
	for _, s := range e.Steps {
		if l := s.Undo.Link; l != nil && l.Name != "" {
			h.Names = append(h.Names, l.Name)
		}
	}
	slices.Sort(h.Names)
	return h
}

// Errors of a change of which only the journal was looked at.
var (
	// ErrCutOff: the change is under way in another process, or was cut off. Whoever changes the
	// host next undoes or finishes it first.
	ErrCutOff = errors.New("a change of it is under way, or was cut off: that one comes to its end first")
	errTried  = errors.New("multinicd status says what is in the way")
)

// found lists the changes of which there are journals, as Recover would take them up. It changes
// nothing. nil means that there are none.
func (a *Applier) found() (map[nic.MAC]Half, error) {
	out := map[nic.MAC]Half{}
	look := func(file string, mac nic.MAC) {
		data, _, err := a.Files.Read(file)
		var e entry
		if err == nil {
			e, err = decodeJournal(data)
		}
		var newer *newerError
		switch {
		case err == nil && e.Counted:
			out[e.NIC.MAC] = e.half(file, errTried)
		case err == nil:
			out[e.NIC.MAC] = e.half(file, ErrCutOff)
		case errors.As(err, &newer) && !newer.mac.IsZero():
			out[newer.mac] = Half{NIC: nic.Config{MAC: newer.mac}, Err: err, file: file}
		case !errors.Is(err, errDamaged) && !errors.Is(err, fs.ErrNotExist) && !mac.IsZero():
			out[mac] = Half{NIC: nic.Config{MAC: mac}, Err: err, file: file}
		}
	}
	if mac, ran, _ := a.olderRan(); ran { // the other journals are out of date, and are set aside
		if !mac.IsZero() {
			look(a.marker(), mac)
		}
		return out, nil
	}
	files, err := a.Files.Glob(path.Join(a.Dir, journalPrefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("listing the journals: %w", err)
	}
	for _, file := range files {
		if mac, err := nic.ParseMAC(strings.TrimPrefix(path.Base(file), journalPrefix)); err == nil {
			look(file, mac)
		}
	}
	return out, nil
}

func (a *Applier) hold(h Half) {
	if a.halfway == nil {
		a.halfway = map[nic.MAC]Half{}
	}
	if old, ok := a.halfway[h.NIC.MAC]; ok { // it was tried again
		h.Undone = old.Undone
	}
	a.halfway[h.NIC.MAC] = h
	a.mark()
}

// adopt gives the journal of an older version a file of its own. That version had one file for all
// NICs, which would be in the way of other changes.
func (a *Applier) adopt() error {
	for mac, h := range a.halfway {
		if h.file != a.marker() {
			continue
		}
		data, _, err := a.Files.Read(h.file)
		if err == nil {
			err = a.Files.Write(a.journal(mac), data, 0o600)
		}
		if err != nil {
			return fmt.Errorf("making way for the journal: %w", err)
		}
		h.file = a.journal(mac)
		a.halfway[mac] = h
		a.mark()
	}
	return nil
}

// taken says who has the name that the undo is to give back to a link. nil means that another NIC
// of ours has the name by right. This link then keeps its present name, and the next plan gives it
// the name that is wanted.
func (a *Applier) taken(ctx context.Context, c nic.Change, err error) error {
	now, lookErr := a.Links.Look(ctx)
	if lookErr != nil {
		return errors.Join(err, lookErr)
	}
	i := slices.IndexFunc(now.Links, func(l nic.Link) bool { return l.Answers(c.Name) })
	if i < 0 {
		return err
	}
	who := now.Links[i]
	for _, o := range a.record.NICs {
		if o.Applied && o.Config.Name == c.Name && o.MAC != c.MAC && who.HasMAC(o.MAC) {
			return nil
		}
	}
	what := "the link"
	if who.Name != c.Name {
		what = "an alternative name of link " + who.Name
	}
	return fmt.Errorf("%w: %s is %s with MAC %s (ifindex %d) by now; give that another name, or unplug it, and this NIC is put right by itself", err, c.Name, what, who.MAC, who.Index)
}
