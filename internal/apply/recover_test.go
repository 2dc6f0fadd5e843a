package apply_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"multinicd/internal/apply"
	"multinicd/internal/hosttest"
	"multinicd/nic"
	"multinicd/plan"
)

const (
	marker   = stateDir + "/journal"
	journal1 = stateDir + "/journal-02-00-00-00-01-01"
	journal2 = stateDir + "/journal-02-00-00-00-01-02"
)

// journals lists what is left of any.
func journals(m *hosttest.Machine) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m.Disk)), func(f string) bool { return !strings.HasPrefix(f, marker) })
}

func TestTornJournal(t *testing.T) {
	t.Parallel()
	s := scenarios()["an address and routes change"]
	before := prepared(t, s).Text(stateDir)
	done := prepared(t, s)
	run(t, done, s)
	wanted := done.Text(stateDir)
	const crash = 5
	m := prepared(t, s)
	m.CrashAt = crash
	run(t, m, s)
	whole := m.Disk[journal1]
	if len(whole) == 0 || m.Text(stateDir) == before {
		t.Fatalf("operation %d is not in the middle of the change", crash)
	}
	first, stride := points(0, 50) // of 1,700 lengths; all go the same two ways
	for length := first; length <= len(whole); length += stride {
		m := prepared(t, s)
		m.CrashAt = crash
		run(t, m, s)
		m.CrashAt = 0
		m.Disk[journal1] = whole[:length]
		a := newApplier(m, "boot-1", nil)
		rec, err := a.Recover(t.Context())
		if err != nil {
			t.Fatalf("length %d: %v", length, err)
		}
		if torn := length < len(whole); len(rec) != 1 || rec[0].Damaged != torn || rec[0].NIC.MAC != mac(1) {
			t.Fatalf("length %d of %d: found %+v", length, len(whole), rec)
		}
		if !rec[0].Damaged {
			check(t, m, before, wanted)
		}
		converge(t, m, a, s.after...)
		check(t, m, wanted)
	}
}

func TestAChangeThatEndsTheDaemonIsNotTriedForEver(t *testing.T) {
	s := scenarios()["a NIC is added"]
	m := prepared(t, s)
	for range 3 {
		start(t, m, "boot-1")
		m.Ops, m.CrashAt = 0, 5
		if _, crashed := run(t, m, s); !crashed {
			t.Fatal("did not crash")
		}
	}
	m.CrashAt = 0
	results, _ := run(t, m, s)
	if r := results[0]; r.Outcome != apply.Refused || r.Reason != plan.ChangeCrashed {
		t.Errorf("got %s %s, want it refused as %s", r.Outcome, r.Reason, plan.ChangeCrashed)
	}
	other := s
	other.after = []nic.Config{config(1, "192.0.2.99/24")}
	if results, _ := run(t, m, other); results[0].Outcome != apply.Done {
		t.Errorf("another wish: got %s, want %s", results[0].Outcome, apply.Done)
	}
}

// A disk that fails for good while a change is undone, and is mended later: no restart is needed.
func TestAnUndoThatFailedIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			allowed := outcomes(t, s, whole)
			m := prepared(t, s)
			run(t, m, s)
			wanted := m.Text(stateDir)
			first, stride := points(2, 5)
			for n := first; ; n += stride {
				m := prepared(t, s)
				a := start(t, m, "boot-1")
				now, _ := m.Look(t.Context())
				action := plan.Make(s.after, nil, now, a.Record()).Actions[0]
				m.Ops, m.FailFrom = 0, n
				res := a.Do(t.Context(), action)
				if m.Ops < n && n > 5 {
					return
				}
				if res.Outcome == apply.Done { // only what older versions read could not be removed
					m.FailFrom = 0
					if left := journals(m); len(left) != 1 || left[0] != marker {
						t.Errorf("fails from %d on: got %s, and left are %v", n, res.Outcome, left)
					}
					converge(t, m, start(t, m, "boot-1"), s.after...)
					check(t, m, wanted)
					continue
				}
				if again := a.Do(t.Context(), action); again.Err == nil {
					t.Errorf("fails from %d on: the second time it is %s", n, again.Outcome)
				}
				half := a.Halfway()
				if failed := res.Outcome == apply.RollbackFailed; failed != (len(half) == 1) || failed && a.Resume(t.Context(), action.NIC.MAC) == nil {
					t.Errorf("fails from %d on: got %s, and half way are %v", n, res.Outcome, half)
				}
				m.FailFrom = 0
				for _, h := range half {
					if err := a.Resume(t.Context(), h.NIC.MAC); err != nil {
						t.Errorf("fails from %d on: resuming: %v", n, err)
					}
					check(t, m, allowed...)
				}
				converge(t, m, a, s.after...)
				check(t, m, wanted)
				if left := journals(m); len(left) > 0 {
					t.Errorf("fails from %d on: left are %v", n, left)
				}
			}
		})
	}
}

// Recovery itself fails, or is cut off, at each of its operations, is run again, and comes to the same end. However often that happens, the change
// counts as one that ended the daemon once.
func TestRecoverFailsOrIsCutOffItself(t *testing.T) {
	t.Parallel()
	few := []string{"an address and routes change", "a NIC is added", "a NIC gets another id by keyfile", swap, "a NIC is removed, activated by networkd"}
	for name, s := range scenarios() {
		if os.Getenv("MULTINIC_LONG") == "" && !slices.Contains(few, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			allowed := outcomes(t, s, whole)
			done := prepared(t, s)
			run(t, done, s)
			wanted := done.Text(stateDir)
			first, stride := points(1, 5)
			for n := first; ; n += stride {
				if _, crashed := cutOff(t, s, n); !crashed {
					return
				}
				for k := 1; ; k++ {
					reached := false
					for what, fault := range map[string]func(m *hosttest.Machine){
						"fails at":      func(m *hosttest.Machine) { m.FailAt = k },
						"fails from":    func(m *hosttest.Machine) { m.FailFrom = k },
						"is cut off at": func(m *hosttest.Machine) { m.CrashAt = k },
						"is cut off behind": func(m *hosttest.Machine) {
							m.CrashAt, m.CrashAfter = k, true
						},
					} {
						m, _ := cutOff(t, s, n)
						var a *apply.Applier
						for range 4 { // as systemd starts it
							m.Ops = 0
							fault(m)
							a = newApplier(m, "boot-1", nil)
							func() {
								defer func() {
									if c := recover(); c != nil {
										a = nil
									}
								}()
								if _, err := a.Recover(t.Context()); err != nil {
									t.Errorf("crash at %d, recovery %s %d: the daemon does not start: %v", n, what, k, err)
								}
							}()
							reached = reached || m.Ops >= k
						}
						m.FailAt, m.FailFrom, m.CrashAt, m.CrashAfter = 0, 0, 0, false
						if a == nil {
							a = start(t, m, "boot-1")
						}
						for _, h := range a.Halfway() {
							if err := a.Resume(t.Context(), h.NIC.MAC); err != nil {
								t.Errorf("crash at %d, recovery %s %d: resuming: %v", n, what, k, err)
							}
						}
						check(t, m, allowed...)
						converge(t, m, a, s.after...) // not refused as ChangeCrashed
						check(t, m, wanted)
					}
					if !reached {
						break
					}
				}
			}
		})
	}
}

// The change is in force: that something could not be noted about it afterwards must not undo it, without a journal even.
func TestAnAttemptThatCannotBeForgottenUndoesNothing(t *testing.T) {
	s := scenarios()["an address and routes change"]
	done := prepared(t, s)
	run(t, done, s)
	m, _ := cutOff(t, s, 6)
	a := start(t, m, "boot-1")
	now, _ := m.Look(t.Context())
	a.At = func(point string) {
		if point == "done" { // the journal's removal, the marker's, and then the attempts
			m.FailAt = m.Ops + 3
		}
	}
	if res := a.Do(t.Context(), plan.Make(s.after, nil, now, a.Record()).Actions[0]); res.Outcome != apply.Done || m.Ops != m.FailAt {
		t.Errorf("got %s: %s, with %d operations", res.Outcome, res.Message, m.Ops)
	}
	check(t, m, done.Text(stateDir))
}

// A change may have waited for its probe for as long as the service manager waits for us: it hears of us before the undo, not only behind that.
func TestAnUndoBeginsWithASignOfLife(t *testing.T) {
	s := scenarios()["an address and routes change"]
	m := prepared(t, s)
	before := m.Text(stateDir)
	a := newApplier(m, "boot-1", errors.New("no answer"))
	if _, err := a.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	signs := 0
	a.Alive = func() {
		if signs++; m.Text(stateDir) == before {
			t.Error("it comes when all is undone already")
		}
	}
	now, _ := m.Look(t.Context())
	if res := a.Do(t.Context(), plan.Make(s.after, nil, now, a.Record()).Actions[0]); res.Outcome != apply.RolledBack || signs != 1 {
		t.Errorf("got %s after %d signs", res.Outcome, signs)
	}
	check(t, m, before)
}

// An undo writes as root what the journal says.
func TestAJournalThatNamesAFileOfOthersIsSetAside(t *testing.T) {
	t.Parallel()
	s := scenarios()["an address and routes change"]
	for _, file := range []string{"/etc/passwd", "/etc/netplan/50-cloud-init.yaml", "/etc/netplan/../cron.d/90-multinic1.yaml"} {
		m := prepared(t, s)
		m.CrashAt = 5
		run(t, m, s)
		m.CrashAt = 0
		m.Disk[journal1] = reworded(t, m.Disk[journal1], "/etc/netplan/90-multinic1.yaml", file)
		before := m.Text(stateDir)
		rec, err := newApplier(m, "boot-1", nil).Recover(t.Context())
		if err != nil || len(rec) != 1 || !rec[0].Damaged || rec[0].NIC.MAC != mac(1) {
			t.Errorf("%s: found %+v, %v", file, rec, err)
		}
		if got := m.Text(stateDir); got != before {
			t.Errorf("%s: the machine was\n%s\nand is\n%s", file, before, got)
		}
		if left := journals(m); !slices.Contains(left, journal1+".damaged") {
			t.Errorf("%s: of journals there are %q", file, left)
		}
	}
}

// reworded is a line of the journal with another text in it, and the sum that belongs to it.
func reworded(t *testing.T, line []byte, old, text string) []byte {
	t.Helper()
	data := bytes.TrimSuffix(line[9:], []byte("\n"))
	if !bytes.Contains(data, []byte(old)) {
		t.Fatalf("the journal does not name %s: %s", old, line)
	}
	data = bytes.ReplaceAll(data, []byte(old), []byte(text))
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)), data)
}
