package apply

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path"
	"slices"
	"strconv"

	"multinicd/nic"
	"multinicd/plan"
)

// Files in the state folder.
const (
	journalFile  = "journal"
	recordFile   = "record.json"
	attemptsFile = "attempts.json"
)

// entry is the journal: all that is needed to undo the change, or to finish it, without whoever asked for it. It is on the disk, whole, before
// the first step is done. Which steps were done it need not say: to undo one that was not does no harm.
type entry struct {
	Version int
	Boot    string // links and everything below /run are of this boot only
	Digest  string // of the wish, to count attempts by
	Kind    plan.Kind
	NIC     nic.Config
	Index   int
	Steps   []plan.Step
	Before  *plan.Owned // what we remember of the NIC before the change; nil: nothing
	After   *plan.Owned // the same once the change is done
}

const journalVersion = 1

func newEntry(boot string, a plan.Action, steps []plan.Step, rec plan.Record) entry {
	e := entry{Version: journalVersion, Boot: boot, Kind: a.Kind, NIC: a.NIC, Index: a.Change.Index, Steps: steps}
	if o, ok := rec.Find(a.NIC.MAC); ok {
		e.Before = &o
	}
	if a.After != nil {
		after := *a.After
		e.After = &after
	}
	wish, _ := json.Marshal(struct {
		Kind plan.Kind
		NIC  nic.Config
	}{a.Kind, a.NIC})
	sum := sha256.Sum256(wish)
	e.Digest = hex.EncodeToString(sum[:8])
	return e
}

// managed says whether the undo needs a network manager.
func (e entry) managed() bool {
	return slices.ContainsFunc(e.Steps, func(s plan.Step) bool { return s.Undo.Manage != nil })
}

func (a *Applier) journal() string { return path.Join(a.Dir, journalFile) }

// begin writes the entry. Nothing of the change has been done yet.
func (t *transaction) begin() error {
	line, err := encodeLine(t.entry)
	if err != nil {
		return fmt.Errorf("encoding the journal: %w", err)
	}
	if err := t.Files.Write(t.journal(), line, 0o600); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

// commit remembers what we own now, then drops the journal: the change is in force.
func (t *transaction) commit() error {
	t.at("record")
	if err := t.save(t.record.With(t.entry.NIC.MAC, t.entry.After)); err != nil {
		return err
	}
	t.at("done")
	if err := t.Files.Remove(t.journal()); err != nil {
		return fmt.Errorf("removing the journal: %w", err)
	}
	return t.forget(t.entry.Digest)
}

// remember keeps the record where no step was needed but what we own has become more precise.
func (a *Applier) remember(action plan.Action) error {
	next := a.record.With(action.NIC.MAC, action.After)
	old, err1 := json.Marshal(a.record)
	now, err2 := json.Marshal(next)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("encoding the record: %w", err)
	}
	if bytes.Equal(old, now) {
		return nil
	}
	return a.save(next)
}

// boundRecord is the record as it is kept: its checksummed line says of which boot it is.
type boundRecord struct {
	Boot   string
	Record plan.Record
}

func (a *Applier) save(r plan.Record) error {
	line, err := encodeLine(boundRecord{a.Boot, r})
	if err != nil {
		return fmt.Errorf("encoding the record: %w", err)
	}
	if err := a.Files.Write(path.Join(a.Dir, recordFile), line, 0o600); err != nil {
		return fmt.Errorf("writing the record: %w", err)
	}
	a.record = r
	return nil
}

// count notes that a change was cut off; forget that it was not.
func (a *Applier) count(digest string) error {
	a.attempts[digest]++
	return a.saveAttempts()
}

func (a *Applier) forget(digest string) error {
	if a.attempts[digest] == 0 {
		return nil
	}
	delete(a.attempts, digest)
	return a.saveAttempts()
}

func (a *Applier) saveAttempts() error {
	line, err := encodeLine(a.attempts)
	if err != nil {
		return fmt.Errorf("encoding the attempts: %w", err)
	}
	if err := a.Files.Write(path.Join(a.Dir, attemptsFile), line, 0o600); err != nil {
		return fmt.Errorf("writing the attempts: %w", err)
	}
	return nil
}

// Each file is one line: the CRC-32C of its JSON in eight hexadecimal digits, a space, and the JSON.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errDamaged = errors.New("damaged line")

func encodeLine(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(data, castagnoli), data), nil
}

// decodeLine answers errDamaged for anything but what encodeLine wrote, whole.
func decodeLine(data []byte, v any) error {
	line, rest, whole := bytes.Cut(data, []byte("\n"))
	if !whole || len(rest) > 0 || len(line) < 10 || line[8] != ' ' {
		return errDamaged
	}
	sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(line[9:], castagnoli) {
		return errDamaged
	}
	if err := json.Unmarshal(line[9:], v); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil
}

// decodeJournal reads the entry.
func decodeJournal(data []byte) (entry, error) {
	var e entry
	if err := decodeLine(data, &e); err != nil {
		return entry{}, err
	}
	if e.Version != journalVersion {
		return entry{}, fmt.Errorf("journal of version %d, this multinicd reads %d", e.Version, journalVersion)
	}
	return e, nil
}

// load reads a checksummed file of one line; absent is fine and leaves v as it is.
func (a *Applier) load(name string, v any) error {
	data, _, err := a.Files.Read(path.Join(a.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if err := decodeLine(data, v); err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	return nil
}
