package apply_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"multinicd/internal/apply"
	"multinicd/internal/hosttest"
	"multinicd/nic"
	"multinicd/plan"
)

// seal gives JSON the checksum that the journal has.
func seal(data []byte) []byte {
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)), data)
}

// FuzzRecover: no journal, torn or sealed with a good checksum, makes Recover panic; what cannot be read changes nothing but the state folder;
// and a start on a sound machine leaves no journal but that of a newer version, and what cannot be undone here, so that the next one finds nothing else.
func FuzzRecover(f *testing.F) {
	for _, s := range scenarios() {
		for crash := 2; crash < 12; crash += 3 {
			journal := journalOf(f, s, crash)
			if _, data, ok := bytes.Cut(bytes.TrimSuffix(journal, []byte("\n")), []byte(" ")); ok {
				f.Add(data, true, "boot-1")
				f.Add(bytes.Replace(data, []byte(`"File"`), []byte(`"Was"`), 1), true, "boot-1") // as an older version has it
				f.Add(bytes.Replace(data, []byte(`"Version":1`), []byte(`"Version":2`), 1), true, "boot-1")
				f.Add(data[:len(data)/2], false, "boot-2")
			}
		}
	}
	f.Add([]byte(`{"Version":1}`), true, "")
	f.Add([]byte(`{"Version":1,"Steps":[{"Name":"x","Do":{"Check":"free"},"Final":true}]}`), true, "boot-1")
	f.Fuzz(func(t *testing.T, data []byte, sealed bool, boot string) {
		for _, files := range [][]string{{marker}, {marker, journal1}, {journal1}} { // of an older version, of this one, and with an older one in between
			m := hosttest.New(link(1), link(2))
			before := m.Text(stateDir)
			journal := data
			if sealed {
				journal = seal(data)
			}
			for _, file := range files {
				m.Disk[file] = journal
			}
			rec, err := newApplier(m, boot, nil).Recover(t.Context())
			if err != nil {
				t.Fatalf("the daemon does not start: %v", err)
			}
			damaged := len(rec) > 0 && !slices.ContainsFunc(rec, func(r apply.Recovered) bool { return !r.Damaged && !r.Stale })
			if damaged && m.Text(stateDir) != before {
				t.Errorf("the journal cannot be read, and the machine was changed:\n%s", m.Text(stateDir))
			}
			again, err := newApplier(m, boot, nil).Recover(t.Context())
			if err != nil || slices.ContainsFunc(again, func(r apply.Recovered) bool { return r.Err == nil }) {
				t.Errorf("the next start finds %+v, %v", again, err)
			}
		}
	})
}

// journalOf is the journal that a crash at an operation leaves behind.
func journalOf(f *testing.F, s scenario, crash int) []byte {
	f.Helper()
	m := hosttest.New(link(1), link(2))
	do := func(want []nic.Config) {
		defer func() { _ = recover() }()
		a := newApplier(m, "boot-1", nil)
		if _, err := a.Recover(f.Context()); err != nil {
			f.Fatal(err)
		}
		now, _ := m.Look(f.Context())
		for _, action := range plan.Make(want, nil, now, a.Record()).Actions {
			a.Do(f.Context(), action)
		}
	}
	do(s.before)
	m.Ops, m.CrashAt = 0, crash
	do(s.after)
	return m.Disk[journal1]
}
