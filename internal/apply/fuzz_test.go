package apply_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"testing"

	"multinicd/internal/hosttest"
	"multinicd/nic"
	"multinicd/plan"
)

// seal gives JSON the checksum that the journal has.
func seal(data []byte) []byte {
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)), data)
}

// FuzzRecover: no journal, torn or sealed with a good checksum, makes Recover panic; what cannot be read changes nothing but the state folder;
// and a start on a sound machine leaves no journal, so that the next one finds nothing to do.
func FuzzRecover(f *testing.F) {
	for _, s := range scenarios() {
		for crash := 2; crash < 12; crash += 3 {
			journal := journalOf(f, s, crash)
			if _, data, ok := bytes.Cut(bytes.TrimSuffix(journal, []byte("\n")), []byte(" ")); ok {
				f.Add(data, true, "boot-1")
				f.Add(data[:len(data)/2], false, "boot-2")
			}
		}
	}
	f.Add([]byte(`{"Version":1}`), true, "")
	f.Add([]byte(`{"Version":1,"Steps":[{"Name":"x","Do":{"Check":"free"},"Final":true}]}`), true, "boot-1")
	f.Fuzz(func(t *testing.T, data []byte, sealed bool, boot string) {
		m := hosttest.New(link(1), link(2))
		before := m.Text(stateDir)
		journal := data
		if sealed {
			journal = seal(data)
		}
		m.Disk[stateDir+"/journal"] = journal
		rec, err := newApplier(m, boot, nil).Recover(t.Context())
		if err != nil {
			return // a newer version's journal, say, which nobody may throw away
		}
		if rec.Damaged && m.Text(stateDir) != before {
			t.Errorf("the journal cannot be read, and the machine was changed:\n%s", m.Text(stateDir))
		}
		if again, err := newApplier(m, boot, nil).Recover(t.Context()); again != nil || err != nil {
			t.Errorf("the next start finds %+v, %v", again, err)
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
	return m.Disk[stateDir+"/journal"]
}
