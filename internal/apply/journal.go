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
	"strings"

	"multinicd/nic"
	"multinicd/plan"
)

// Files in the state folder. The name of a journal has the NIC's MAC: journal-02-00-00-00-01-01.
const (
	journalPrefix = "journal-"
	markerFile    = "journal"
	recordFile    = "record.json"
	attemptsFile  = "attempts.json"
)

// entry is the journal: all that is needed to undo the change, or to finish it, whoever asked for
// it. The whole entry is on the disk before the first step is done. It does not say which steps
// were done, because undoing a step that was not done does no harm.
type entry struct {
	Version int
	// File is the journal's own name. By it a copy in the marker can be told from the journal of a
	// version that had only that one file.
	File   string `json:",omitempty"`
	Boot   string // links, and everything below /run, belong to this boot only
	Digest string // of the wish; attempts are counted by it
	Kind   plan.Kind
	NIC    nic.Config
	Index  int
	Steps  []plan.Step
	Before *plan.Owned // the record of the NIC before the change; nil: none
	After  *plan.Owned // the record once the change is done
	// counted among the attempts: a recovery that fails is no crash of the change
	Counted bool `json:",omitempty"`
}

const journalVersion = 1

func newEntry(boot string, a plan.Action, steps []plan.Step, rec plan.Record) entry {
	e := entry{Version: journalVersion, File: journalName(a.NIC.MAC), Boot: boot, Kind: a.Kind, NIC: a.NIC, Index: a.Change.Index, Steps: steps}
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

func journalName(mac nic.MAC) string {
	return journalPrefix + strings.ReplaceAll(mac.String(), ":", "-")
}

func (a *Applier) journal(mac nic.MAC) string { return path.Join(a.Dir, journalName(mac)) }

// marker is the only journal file that older versions read, see mark.
func (a *Applier) marker() string { return path.Join(a.Dir, markerFile) }

// note is in the marker while changes are half way and none is under way. An older version takes
// the note for a damaged journal: it says so in its log, and puts the note where a person finds it.
const note = `This multinicd is older than the one that ran here before. That one could not undo a change whole: the files
journal-<MAC> beside this one say what was under way. This version does not read them. Look at these NICs
(multinicd status), or install the newer version again.
`

// begin writes the entry, before anything of the change is done. The marker is written first: a
// journal without a marker is one that an older version has passed over.
func (t *transaction) begin() error {
	line, err := encodeLine(t.entry)
	if err != nil {
		return fmt.Errorf("encoding the journal: %w", err)
	}
	if err := t.adopt(); err != nil {
		return err
	}
	if err := t.copyToMarker(line); err != nil {
		return err
	}
	if err := t.Files.Write(t.journal, line, 0o600); err != nil {
		t.mark()
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

// copyToMarker puts a copy of the change's journal into the marker, unless it is there. A change that
// waited finds the copy of another one, which is in force by now, or undone.
func (t *transaction) copyToMarker(journal []byte) error {
	now, _, err := t.Files.Read(t.marker())
	if err == nil && bytes.Equal(now, journal) {
		return nil
	}
	if err := t.Files.Write(t.marker(), journal, 0o600); err != nil {
		return fmt.Errorf("writing the journal's copy: %w", err)
	}
	return nil
}

// drop ends the change of a NIC: its journal is removed, and the NIC is free.
func (a *Applier) drop(mac nic.MAC, journal string) error {
	if err := a.Files.Remove(journal); err != nil {
		return fmt.Errorf("removing the journal: %w", err)
	}
	delete(a.halfway, mac)
	a.mark()
	return nil
}

// mark keeps the one file up to date that an older version reads. While a change is under way, it
// is a copy of the change's journal, which that version would undo. Of several changes it is the one
// whose turn it is, or was last. If a change is half way, it is a note. If all is well, there is no
// file. A failure to write it matters to nobody else.
func (a *Applier) mark() {
	if a.taking || a.underway > 1 {
		return
	}
	for _, h := range a.halfway {
		if h.file == a.marker() {
			return // this file is the only trace of that change, see adopt
		}
	}
	now, _, err := a.Files.Read(a.marker())
	switch {
	case len(a.halfway) > 0 && string(now) != note:
		err = a.Files.Write(a.marker(), []byte(note), 0o600)
	case len(a.halfway) == 0 && !errors.Is(err, fs.ErrNotExist):
		err = a.Files.Remove(a.marker())
	default:
		err = nil
	}
	if err != nil {
		a.Log.Warn("the file that older versions read cannot be kept", "file", a.marker(), "err", err)
	}
}

// commit writes the record of what we own now, then drops the journal. The change is then in force.
func (t *transaction) commit() error {
	t.at("record")
	if err := t.save(t.record.With(t.entry.NIC.MAC, t.entry.After)); err != nil {
		return err
	}
	t.at("done")
	if err := t.drop(t.entry.NIC.MAC, t.journal); err != nil {
		return err
	}
	t.forget(t.entry.Digest)
	return nil
}

// remember writes the record when no step was needed, but more is known of what we own.
func (a *Applier) remember(action plan.Action) error {
	var before *plan.Owned
	if o, known := a.record.Find(action.NIC.MAC); known {
		before = &o
	}
	old, err1 := json.Marshal(before)
	now, err2 := json.Marshal(action.After)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("encoding the record: %w", err)
	}
	if bytes.Equal(old, now) {
		return nil
	}
	return a.save(a.record.With(action.NIC.MAC, action.After))
}

// boundRecord is the record as it is kept on disk, with the boot that it belongs to.
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

// culprit is that one of the journals whose change was at work when the daemon ended; "" where the
// marker does not say.
func (a *Applier) culprit(journals []string) string {
	data, _, _ := a.Files.Read(a.marker())
	e, _ := decodeJournal(data)
	if file := path.Join(a.Dir, e.File); slices.Contains(journals, file) {
		return file
	}
	return ""
}

// count notes, once, that a change ended the daemon, or was under way when another one did. Only
// the first counts. If the note cannot be written, the crash does not count: a full disk must not
// keep the host half way.
func (a *Applier) count(e *entry, file string, by crash) {
	if e.Counted {
		return
	}
	e.Counted = true
	line, err := encodeLine(e)
	if err == nil {
		err = a.Files.Write(file, line, 0o600)
	}
	if err == nil && by == itself {
		a.attempts[e.Digest]++
		err = a.saveAttempts()
	}
	if err != nil {
		a.Log.Error("the attempt cannot be counted", "err", err)
	}
}

// forget removes the note that a change ended the daemon. The change is in force now, even if the
// note stays.
func (a *Applier) forget(digest string) {
	if a.attempts[digest] == 0 {
		return
	}
	delete(a.attempts, digest)
	if err := a.saveAttempts(); err != nil {
		a.Log.Warn("the attempts cannot be kept", "err", err)
	}
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

// Each file is one line: the CRC-32C of its JSON in eight hexadecimal digits, a space, and the
// JSON.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errDamaged = errors.New("damaged line")

func encodeLine(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(data, castagnoli), data), nil
}

// decodeLine answers errDamaged, unless data is a whole line of encodeLine.
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

// newerError says that a journal was written by a newer version. Only what every version has is
// known of it: the MAC, and File, which may be empty.
type newerError struct {
	version int
	file    string
	mac     nic.MAC
}

func (e *newerError) Error() string {
	return fmt.Sprintf("a newer multinicd left a change half way, in a journal of version %d; this one reads %d: install the newer one again, or remove the file to have the NIC as it is now", e.version, journalVersion)
}

// decodeJournal reads the entry. An entry is damaged if it is not whole, or names no NIC.
func decodeJournal(data []byte) (entry, error) {
	var first struct {
		Version int
		File    string
		NIC     struct{ MAC nic.MAC }
	}
	err := decodeLine(data, &first)
	if first.Version > journalVersion {
		return entry{}, &newerError{first.Version, first.File, first.NIC.MAC}
	}
	var e entry
	if err == nil {
		err = decodeLine(data, &e)
	}
	if err == nil && (e.Version != journalVersion || e.NIC.MAC.IsZero()) {
		err = fmt.Errorf("%w: version %d of NIC %q", errDamaged, e.Version, e.NIC.MAC)
	}
	if err != nil {
		return entry{}, err
	}
	return e, nil
}

// load reads a checksummed file of one line. If the file is absent, that is no error, and v stays
// as it is.
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
