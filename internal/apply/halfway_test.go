package apply_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"multinicd/internal/apply"
	"multinicd/internal/hosttest"
	"multinicd/nic"
	"multinicd/plan"
)

// points says where a test begins that tries each operation of a change, or each length of a file, and how far on the next one is. With
// -short the race detector is on, under which a test takes ten times as long: one in so many is tried then, from another one on in each run.
func points(from, short int) (first, stride int) {
	if testing.Short() {
		return from + rand.IntN(short), short
	}
	return from, 1
}

// cutOff is the machine on which a scenario's change crashed at operation n. ok is false behind its last one.
func cutOff(t *testing.T, s scenario, n int) (m *hosttest.Machine, ok bool) {
	t.Helper()
	m = prepared(t, s)
	m.CrashAt = n
	_, ok = run(t, m, s)
	m.Ops, m.CrashAt = 0, 0
	return m, ok
}

// elsewhere changes a NIC of which no scenario knows, and fails the test where it is kept from that.
func elsewhere(t *testing.T, m *hosttest.Machine, a *apply.Applier, id int) {
	t.Helper()
	now, _ := m.Look(t.Context())
	c := config(id, fmt.Sprintf("203.0.113.%d/24", id))
	p := plan.Make([]nic.Config{c}, nil, now, plan.Record{})
	if res := a.Do(t.Context(), p.Actions[0]); res.Outcome != apply.Done {
		t.Fatalf("NIC %d: got %s %s: %s", id, res.Outcome, res.Reason, res.Message)
	}
}

// plug adds a link.
func plug(m *hosttest.Machine, id int, name string) {
	l := link(id)
	l.Name = name
	m.Net = append(m.Net, l)
}

// A change is cut off behind a rename; before the daemon is back, a NIC that was plugged in has got the old name. All else goes back, other NICs are
// changed, no start counts as another crash, and once the name is free the NIC comes to what is wanted.
func TestRecoverWhereTheOldNameIsTaken(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			blocked, allowed := 0, outcomes(t, s, whole)
			for n := 1; ; n++ {
				m, crashed := cutOff(t, s, n)
				if !crashed {
					break
				}
				old := prepared(t, s).Net[0].Name
				if slices.ContainsFunc(m.Net, func(l nic.Link) bool { return l.Name == old }) {
					continue
				}
				plug(m, 3, old)
				plug(m, 4, "eth4")
				var a *apply.Applier
				for range 4 { // systemd starts it again and again
					a = newApplier(m, "boot-1", nil)
					found, err := a.Recover(t.Context())
					if err != nil {
						t.Fatalf("crash at %d: the daemon does not start: %v", n, err)
					}
					if half := a.Halfway(); len(half) == 1 && (len(found) == 0 || len(found) > 1 && !s.together || !errors.Is(found[0].Err, nic.ErrNameTaken) || !strings.Contains(half[0].Err.Error(), mac(3).String()) || !slices.Contains(half[0].Names, old)) {
						t.Fatalf("crash at %d: found %+v, half way are %+v", n, found, half)
					}
				}
				if len(a.Halfway()) == 0 { // it was all but done
					continue
				}
				blocked++
				want := prepared(t, s)
				now := slices.Clone(m.Net[:2])
				for i := range now {
					now[i].Name = want.Net[i].Name
				}
				rest := *m
				rest.Net = now
				check(t, &rest, allowed...)
				elsewhere(t, m, a, 4)
				if err := a.Resume(t.Context(), a.Halfway()[0].NIC.MAC); !errors.Is(err, nic.ErrNameTaken) {
					t.Errorf("crash at %d: the name is taken still, and resuming gives %v", n, err)
				}
				m.Net[2].Name = "eth9" // the administrator makes way
				if err := a.Resume(t.Context(), a.Halfway()[0].NIC.MAC); err != nil {
					t.Errorf("crash at %d: the name is free, and resuming gives %v", n, err)
				}
				for i, l := range want.Net {
					if m.Net[i].Name != l.Name {
						t.Errorf("crash at %d: link %d is called %s, want %s", n, i, m.Net[i].Name, l.Name)
					}
				}
				other := config(4, "203.0.113.4/24")
				converge(t, m, a, append(slices.Clone(s.after), other)...)
				if left := journals(m); len(left) > 0 {
					t.Errorf("crash at %d: left are %v", n, left)
				}
			}
			if renames := strings.Contains(name, "added") || strings.Contains(name, "another id") || strings.Contains(name, "removed"); renames && blocked == 0 {
				t.Error("no crash in it let anybody have the name")
			}
		})
	}
}

// The name that a NIC is to go back to is by right that of another NIC of ours by now: it keeps its own, and the plan goes on from there.
func TestANameThatIsAnotherNICsByRightBlocksNobody(t *testing.T) {
	s := scenarios()[swap]
	for n := 1; ; n++ {
		m := prepared(t, s)
		a := start(t, m, "boot-1")
		now, _ := m.Look(t.Context())
		action := plan.Make(s.after, nil, now, a.Record()).Actions[0]
		m.Ops, m.FailFrom = 0, n
		res := a.Do(t.Context(), action)
		m.FailFrom = 0
		if res.Outcome == apply.Done {
			return
		}
		for range 3 { // the other one takes the name that is free
			now, _ = m.Look(t.Context())
			for _, other := range plan.Make(s.after, nil, now, a.Record()).Actions {
				a.Do(t.Context(), other)
			}
		}
		for _, h := range a.Halfway() {
			if err := a.Resume(t.Context(), h.NIC.MAC); err != nil {
				t.Errorf("fails from %d on: resuming: %v", n, err)
			}
		}
		converge(t, m, a, s.after...)
	}
}

// severalHalfWay is a machine on which the changes of NIC 1 and 2 could not be undone: others, the links at 3 and 4, have their names.
func severalHalfWay(t *testing.T) (*hosttest.Machine, *apply.Applier) {
	t.Helper()
	m := hosttest.New(link(1), link(2), link(5))
	a := start(t, m, "boot-1")
	for id := 1; id <= 2; id++ {
		now, _ := m.Look(t.Context())
		c := config(id, fmt.Sprintf("192.0.2.%d/24", id))
		m.Ops = 0
		m.At(6, func() { plug(m, id+10, fmt.Sprintf("eth%d", id)); m.FailAt = m.Ops }) // behind the rename
		if res := a.Do(t.Context(), plan.Make([]nic.Config{c}, nil, now, a.Record()).Actions[0]); res.Outcome != apply.RollbackFailed {
			t.Fatalf("NIC %d: got %s: %s", id, res.Outcome, res.Message)
		}
		m.At(0, nil)
		m.FailAt = 0
	}
	return m, a
}

// Several changes are half way at once: each blocks its NIC only, each comes to its end by itself, whatever the order, also over a restart.
func TestSeveralNICsAreHalfWay(t *testing.T) {
	m, a := severalHalfWay(t)
	for _, restart := range []bool{false, true} {
		if restart {
			a = newApplier(m, "boot-1", nil)
			alive := 0
			a.Alive = func() { alive++ }
			found, err := a.Recover(t.Context())
			if alive != 2 {
				t.Errorf("it says %d times that it goes on, want it of each NIC", alive)
			}
			if err != nil || len(found) != 2 || found[0].NIC.MAC != mac(1) || found[1].NIC.MAC != mac(2) || found[0].Err == nil || found[1].Err == nil {
				t.Fatalf("found %+v, %v", found, err)
			}
		}
		if half := a.Halfway(); len(half) != 2 || half[0].NIC.MAC != mac(1) {
			t.Fatalf("half way are %+v", half)
		}
		if got := journals(m); !slices.Equal(got, []string{marker, journal1, journal2}) {
			t.Errorf("the journals are %v", got)
		}
		if !strings.Contains(string(m.Disk[marker]), "older than the one that ran here before") {
			t.Errorf("an older version finds %q", m.Disk[marker])
		}
	}
	elsewhere(t, m, a, 5)
	m.Net[4].Name = "eth22" // that of the second is free
	if err := a.Resume(t.Context(), mac(2)); err != nil {
		t.Errorf("the second: %v", err)
	}
	if err := a.Resume(t.Context(), mac(1)); !errors.Is(err, nic.ErrNameTaken) {
		t.Errorf("the first: %v", err)
	}
	m.Net[3].Name = "eth11"
	if err := a.Resume(t.Context(), mac(1)); err != nil || len(a.Halfway()) > 0 || len(journals(m)) > 0 {
		t.Errorf("%v, half way are %v, journals are %v", err, a.Halfway(), journals(m))
	}
	if m.Net[0].Name != "eth1" || m.Net[1].Name != "eth2" {
		t.Errorf("the links are %+v", m.Net[:2])
	}
}

// A recovery that has put one NIC right is cut off before it comes to the next: that one's journal still counts.
func TestARecoveryOfSeveralNICsIsCutOff(t *testing.T) {
	for n := 1; ; n++ {
		m, _ := severalHalfWay(t)
		m.Net[3].Name, m.Net[4].Name = "eth11", "eth22" // both names are free
		m.Ops, m.CrashAt = 0, n
		crashed := crashes(func() { start(t, m, "boot-1") })
		m.CrashAt = 0
		found, err := newApplier(m, "boot-1", nil).Recover(t.Context())
		for _, r := range found {
			if r.Stale || r.Err != nil {
				t.Errorf("crash at %d: found %+v", n, r)
			}
		}
		if left := journals(m); err != nil || len(left) > 0 {
			t.Errorf("crash at %d: %v, left are %v", n, err, left)
		}
		if m.Net[0].Name != "eth1" || m.Net[1].Name != "eth2" || m.Net[0].MTU != 1500 || m.Net[1].MTU != 1500 {
			t.Errorf("crash at %d: the links are %+v", n, m.Net[:2])
		}
		if !crashed {
			return
		}
	}
}

// asOlder is a journal as a version has it that knows one file for all NICs.
func asOlder(journal []byte) []byte {
	_, data, _ := bytes.Cut(bytes.TrimSuffix(journal, []byte("\n")), []byte(" "))
	return seal(bytes.Replace(data, []byte(`"File"`), []byte(`"Was"`), 1))
}

// A change is cut off, and then the package is upgraded from a version with one journal for all NICs.
func TestAnOlderVersionsJournalIsTakenUp(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios() {
		if s.together { // older versions made one change at a time
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			allowed := outcomes(t, s, whole)
			first, stride := points(3, 5)
			for n := first; ; n += stride {
				m, crashed := cutOff(t, s, n)
				if !crashed {
					return
				}
				copied, ok := m.Disk[marker]
				if !ok {
					continue
				}
				for _, fails := range []bool{false, true} {
					m, _ := cutOff(t, s, n)
					m.Disk[marker] = asOlder(copied)
					delete(m.Disk, journal1)
					delete(m.Disk, journal2)
					if fails {
						m.FailFrom = 1
					}
					a := newApplier(m, "boot-1", nil)
					if found, err := a.Recover(t.Context()); err != nil || len(found) != 1 {
						t.Fatalf("crash at %d: found %+v, %v", n, found, err)
					}
					m.FailFrom = 0
					if fails { // other NICs are looked after, and that does not cost the way back
						plug(m, 4, "eth4")
						elsewhere(t, m, a, 4)
						m.Net = m.Net[:2]
						delete(m.Disk, "/etc/netplan/90-multinic4.yaml")
						start(t, m, "boot-1")
					}
					if s.format == nil && s.activation == "" || !fails {
						check(t, m, allowed...)
					}
				}
			}
		})
	}
}

// A change is cut off or half way, an older version runs, and after that this one again: it was said aloud, and what was done since is not undone.
func TestAnOlderVersionRanInBetween(t *testing.T) {
	s := scenarios()["an address and routes change"]
	for _, does := range []string{"undoes it", "sets the note aside", "begins another"} {
		m, _ := cutOff(t, s, 6)
		own := m.Disk[journal1]
		if does == "sets the note aside" {
			a := newApplier(m, "boot-1", nil)
			m.FailFrom = 3
			if found, err := a.Recover(t.Context()); err != nil || found[0].Err == nil {
				t.Fatalf("found %+v, %v", found, err)
			}
			m.FailFrom = 0
		}
		delete(m.Disk, marker)
		if does == "begins another" {
			m.Disk[marker] = asOlder(own)
		}
		was := m.Text(stateDir)
		found, err := newApplier(m, "boot-1", nil).Recover(t.Context())
		if err != nil || !slices.ContainsFunc(found, func(r apply.Recovered) bool { return r.Stale && r.NIC.MAC == mac(1) }) {
			t.Errorf("%s: found %+v, %v", does, found, err)
		}
		if does != "begins another" && m.Text(stateDir) != was {
			t.Errorf("%s: what the older one did was undone", does)
		}
		if got := journals(m); !slices.Equal(got, []string{journal1 + ".stale"}) {
			t.Errorf("%s: left are %v", does, got)
		}
	}
}

// What an older version finds: of a change under way all that it needs to undo it, and nothing where all is well.
func TestTheMarker(t *testing.T) {
	s := scenarios()["an address and routes change"]
	for n := 3; ; n++ {
		m, crashed := cutOff(t, s, n)
		if !crashed {
			if left := journals(m); len(left) > 0 {
				t.Errorf("all is well, and left are %v", left)
			}
			return
		}
		if own, ok := m.Disk[journal1]; ok && !bytes.Equal(own, m.Disk[marker]) {
			t.Errorf("crash at %d: an older version finds %q, want %q", n, m.Disk[marker], own)
		}
		var read struct { // as far as one reads it
			Version int
			NIC     struct{ MAC string }
			Steps   []struct{ Name string }
		}
		_, data, _ := bytes.Cut(m.Disk[marker], []byte(" "))
		if err := json.Unmarshal(data, &read); err != nil || read.Version != 1 || read.NIC.MAC != mac(1).String() || len(read.Steps) < 5 || read.Steps[0].Name != "guard" {
			t.Errorf("crash at %d: an older version reads %+v, %v", n, read, err)
		}
	}
}

// A journal of a newer version, after a downgrade: it is said, kept to the byte, its NIC is not touched, and all others are looked after.
func TestANewerVersionsJournal(t *testing.T) {
	for name, files := range map[string][]string{"of its NIC": {marker, journal1}, "one for all": {marker}} {
		s := scenarios()["an address and routes change"]
		m, _ := cutOff(t, s, 6)
		journal := bytes.Replace(m.Disk[journal1], []byte(`"Version":1`), []byte(`"Version":2`), 1)
		if name == "one for all" {
			journal = asOlder(journal)
		}
		_, data, _ := bytes.Cut(bytes.TrimSuffix(journal, []byte("\n")), []byte(" "))
		journal = seal(bytes.Replace(data, []byte(`"Steps":[`), []byte(`"Steps":["of another form",`), 1))
		delete(m.Disk, journal1)
		for _, f := range files {
			m.Disk[f] = journal
		}
		plug(m, 4, "eth4")
		was := m.Text(stateDir)
		for range 2 {
			a := newApplier(m, "boot-1", nil)
			found, err := a.Recover(t.Context())
			if err != nil || len(found) != 1 || found[0].Damaged || found[0].NIC.MAC != mac(1) || found[0].Err == nil || !strings.Contains(found[0].Err.Error(), "version 2") {
				t.Fatalf("%s: found %+v, %v", name, found, err)
			}
			now, _ := m.Look(t.Context())
			if res := a.Do(t.Context(), plan.Make(s.after, nil, now, a.Record()).Actions[0]); res.Outcome != apply.RollbackFailed || !strings.Contains(res.Message, "install the newer one again") {
				t.Errorf("%s: got %s %s", name, res.Outcome, res.Message)
			}
			if m.Text(stateDir) != was || !bytes.Equal(m.Disk[journal1], journal) {
				t.Errorf("%s: the NIC or its journal was touched", name)
			}
		}
		a := newApplier(m, "boot-1", nil)
		if _, err := a.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		elsewhere(t, m, a, 4)
		delete(m.Disk, journal1) // as the message has it
		if err := a.Resume(t.Context(), mac(1)); err != nil || len(a.Halfway()) > 0 {
			t.Errorf("%s: the journal is gone: %v, half way are %v", name, err, a.Halfway())
		}
		converge(t, m, a, append(slices.Clone(s.after), config(4, "203.0.113.4/24"))...)
	}
}

// A journal that the disk does not give blocks its NIC until it does.
func TestAJournalThatCannotBeRead(t *testing.T) {
	s := scenarios()["an address and routes change"]
	before := prepared(t, s).Text(stateDir)
	m, _ := cutOff(t, s, 6)
	m.Unreadable = journal1
	a := newApplier(m, "boot-1", nil)
	if found, err := a.Recover(t.Context()); err != nil || len(found) != 1 || found[0].Damaged || !errors.Is(found[0].Err, hosttest.ErrInjected) {
		t.Fatalf("found %+v, %v", found, err)
	}
	m.Unreadable = ""
	if err := a.Resume(t.Context(), mac(1)); err != nil {
		t.Error(err)
	}
	check(t, m, before)
}

// Who only looks, as a preview does, sees what Recover would take up, and changes nothing.
func TestOpenSeesWhatIsHalfWay(t *testing.T) {
	s := scenarios()["an address and routes change"]
	for name, row := range map[string]struct {
		change func(m *hosttest.Machine)
		cutOff bool   // is what it says
		says   string // else; "": nothing is half way
	}{
		"cut off": {func(*hosttest.Machine) {}, true, ""},
		"its undo was tried": {func(m *hosttest.Machine) {
			m.FailFrom = 3
			if found, err := newApplier(m, "boot-1", nil).Recover(t.Context()); err != nil || found[0].Err == nil {
				t.Fatalf("found %+v, %v", found, err)
			}
			m.FailFrom = 0
		}, false, "multinicd status says"},
		"by an older version": {func(m *hosttest.Machine) {
			m.Disk[marker] = asOlder(m.Disk[journal1])
			delete(m.Disk, journal1)
		}, true, ""},
		"an older version has run since": {func(m *hosttest.Machine) { delete(m.Disk, marker) }, false, ""},
		"by a newer version": {func(m *hosttest.Machine) {
			_, data, _ := bytes.Cut(bytes.TrimSuffix(m.Disk[journal1], []byte("\n")), []byte(" "))
			m.Disk[journal1] = seal(bytes.Replace(data, []byte(`"Version":1`), []byte(`"Version":2`), 1))
		}, false, "version 2"},
		"its journal is damaged":        {func(m *hosttest.Machine) { m.Disk[journal1] = []byte("x\n") }, false, ""},
		"its journal cannot be read":    {func(m *hosttest.Machine) { m.Unreadable = journal1 }, false, "injected fault"},
		"there is a file of another's":  {func(m *hosttest.Machine) { m.Disk[stateDir+"/journal-old"] = m.Disk[journal1] }, true, ""},
		"the marker cannot be read now": {func(m *hosttest.Machine) { m.Unreadable = marker }, true, ""},
	} {
		m, _ := cutOff(t, s, 6)
		row.change(m)
		was, disk := m.Text(""), fmt.Sprint(m.Disk)
		a := newApplier(m, "boot-1", nil)
		if err := a.Open(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		half := a.Halfway()
		if row.cutOff || row.says != "" {
			if len(half) != 1 || half[0].NIC.MAC != mac(1) || errors.Is(half[0].Err, apply.ErrCutOff) != row.cutOff || !strings.Contains(half[0].Err.Error(), row.says) {
				t.Errorf("%s: half way are %+v", name, half)
			}
		} else if len(half) > 0 {
			t.Errorf("%s: half way are %+v", name, half)
		}
		if m.Text("") != was || fmt.Sprint(m.Disk) != disk {
			t.Errorf("%s: looking has changed something", name)
		}
	}
}

// crashes says whether the process is ended in f.
func crashes(f func()) (crashed bool) {
	defer func() {
		if c := recover(); c != nil {
			if _, crashed = c.(hosttest.Crash); !crashed {
				panic(c)
			}
		}
	}()
	f()
	return false
}
