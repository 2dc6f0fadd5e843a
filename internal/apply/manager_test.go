package apply_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/internal/apply"
	"multinicd/internal/hosttest"
	"multinicd/networkmanager"
	"multinicd/nic"
	"multinicd/plan"
)

// foreign is the profile of somebody else for NIC 1, in a format of the fake's own.
const foreign = "/etc/NetworkManager/system-connections/System eth1.nmconnection"

// manage gives the machine a NetworkManager that reads the scenario's format.
func manage(m *hosttest.Machine, s scenario) {
	m.NM = &hosttest.Manager{Format: s.format, Loses: s.loses,
		Read: func(file string) (string, nic.Config, error) {
			if file == foreign {
				return "somebody-elses", config(1, string(m.Disk[foreign])), nil
			}
			p, err := s.format.Read(file, func(name string) []byte { return m.Disk[name] })
			return p.UUID, p.Config, err
		},
		Profiles: func() (out []string) {
			for _, file := range slices.Sorted(maps.Keys(m.Disk)) {
				if strings.HasSuffix(file, ".nmconnection") || strings.Contains(file, "/ifcfg-") {
					out = append(out, file)
				}
			}
			return out
		}}
	m.StartManager()
}

// boot is a boot up to where NetworkManager starts: udev has named the links.
func boot(m *hosttest.Machine) {
	m.Reboot()
	for i := range m.Net {
		l := &m.Net[i]
		l.Name, l.Up, l.MTU = fmt.Sprintf("eth%d", i+1), false, 1500
		for _, file := range slices.Backward(slices.Sorted(maps.Keys(m.Disk))) { // the first that is for a link counts
			if strings.HasSuffix(file, ".link") && strings.Contains(string(m.Disk[file]), l.MAC.String()) {
				l.Name = strings.TrimSuffix(strings.TrimPrefix(file, networkmanager.LinkDir+"/10-"), ".link")
			}
		}
	}
}

// A change that is cut off at any step, and a boot: NetworkManager configures each NIC as before or as wanted. With `multinicd recover` before it, which has
// no bus; and without, where the daemon puts right what NetworkManager has read.
func TestBootAfterACrashByNetworkManager(t *testing.T) {
	booted := func(m *hosttest.Machine) string {
		boot(m)
		m.StartManager()
		return m.Text(stateDir)
	}
	for name, s := range scenarios() {
		if s.format == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			allowed := outcomes(t, s, booted)
			m := prepared(t, s)
			run(t, m, s)
			steps := m.Ops
			for n := 1; n <= steps; n++ {
				for _, early := range []bool{true, false} {
					if !early && s.loses {
						continue // what it loses when it goes back, the daemon's first pass puts right
					}
					m := prepared(t, s)
					m.CrashAt = n
					run(t, m, s)
					m.CrashAt = 0
					boot(m)
					a := newApplier(m, "boot-2", nil)
					if early {
						a.Manager = nil
						if _, err := a.Recover(t.Context()); err != nil {
							t.Fatal(err)
						}
						m.StartManager()
					} else {
						m.StartManager()
						if _, err := a.Recover(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					if got := m.Text(stateDir); !slices.Contains(allowed, got) {
						t.Errorf("crash at %d, then a boot, recovered before NetworkManager: %v: neither as before nor as wanted:\n%s\ndifference to what was before:\n%s", n, early, got, cmp.Diff(allowed[0], got))
					}
				}
			}
		})
	}
}

// Without a bus, in the boot of the crash: files and links are as before, and what NetworkManager has in memory is left to one who can ask it.
func TestRecoverWithoutABusLeavesTheRestToTheDaemon(t *testing.T) {
	s := scenarios()["an address and routes change by keyfile"]
	before := prepared(t, s).Text(stateDir)
	m := prepared(t, s)
	run(t, m, s)
	for n := 1; n <= m.Ops; n++ {
		m := prepared(t, s)
		m.CrashAt = n
		if _, crashed := run(t, m, s); !crashed {
			t.Fatalf("no crash at %d", n)
		}
		m.CrashAt = 0
		a := newApplier(m, "boot-1", nil)
		a.Manager = nil
		r, err := a.Recover(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if left := journals(m); (len(left) == 2) != (len(r) == 1 && r[0].Pending) {
			t.Fatalf("crash at %d: left are %v, and Recover says %+v", n, left, r)
		}
		start(t, m, "boot-1")
		check(t, m, before, m.Text(stateDir))
		if r != nil {
			check(t, m, before)
		}
	}
}

// Nothing is done while NetworkManager is away, and what was begun is undone without it.
func TestNetworkManagerGoesAway(t *testing.T) {
	s := scenarios()["an address and routes change by keyfile"]
	m := prepared(t, s)
	before := m.Text(stateDir)
	m.NM.Gone = true
	results, _ := run(t, m, s)
	check(t, m, before)
	if r := results[0]; r.Outcome != apply.Failed || !errors.Is(r.Err, nic.ErrNoManager) {
		t.Errorf("got %s: %v", r.Outcome, r.Err)
	}
	m = prepared(t, s)
	run(t, m, s)
	for n := 1; n <= m.Ops; n++ {
		m := prepared(t, s)
		m.At(n, func() { m.NM.Gone = true })
		results, _ := run(t, m, s)
		if results[0].Outcome == apply.RollbackFailed {
			t.Errorf("gone at %d: %s", n, results[0].Message)
		}
		// It starts again, and reads what it finds.
		m.NM.Gone = false
		start(t, m, "boot-1")
		for _, l := range m.Net {
			if results[0].Outcome != apply.Done && l.HasMAC(mac(1)) && !slices.ContainsFunc(l.Addresses, func(a nic.Address) bool { return a.Prefix == prefixes("192.0.2.10/24")[0] }) {
				t.Errorf("gone at %d: %s, and the address before is not there: %v", n, results[0].Outcome, l.Addresses)
			}
		}
	}
}

// A crash, and a NetworkManager that hangs when the daemon comes back: files and links are as before, the daemon lives, and goes on when it answers again.
func TestNetworkManagerHangsWhileRecovering(t *testing.T) {
	s := scenarios()["an address and routes change by keyfile"]
	m := prepared(t, s)
	run(t, m, s)
	for n := 1; n <= m.Ops; n++ {
		m := prepared(t, s)
		before := m.Text(stateDir)
		m.CrashAt = n
		run(t, m, s)
		m.CrashAt, m.NM.Hangs = 0, true
		a := newApplier(m, "boot-1", nil)
		r, err := a.Recover(t.Context())
		if err != nil {
			t.Fatalf("crash at %d: the daemon does not start: %v", n, err)
		}
		m.NM.Hangs = false
		if len(r) == 0 || !r[0].Pending {
			continue
		}
		now, _ := m.Look(t.Context())
		actions := plan.Make(s.after, nil, now, a.Record()).Actions
		if res := a.Do(t.Context(), actions[0]); res.Outcome != apply.RollbackFailed || !errors.Is(res.Err, r[0].Err) {
			t.Errorf("crash at %d: got %s: %s", n, res.Outcome, res.Message)
		}
		if err := a.Resume(t.Context(), mac(1)); err != nil {
			t.Errorf("crash at %d: it answers again: %v", n, err)
		}
		check(t, m, before)
		converge(t, m, a, s.after...)
	}
}

// Somebody has made our profile one that NetworkManager does not take, and the change that would put it right fails, at any step: it is undone all the same,
// and keeps no other NIC from being looked after.
func TestAProfileThatWasRefusedBeforeDoesNotStopTheUndo(t *testing.T) {
	s := scenarios()["an address and routes change by keyfile"]
	spoilt := func() *hosttest.Machine {
		m := prepared(t, s)
		m.Modes[networkmanager.Keyfile{}.File(nic.NameFor(1))] = 0o666
		return m
	}
	m := spoilt()
	run(t, m, s)
	for n := 1; n <= m.Ops; n++ {
		m := spoilt()
		m.FailAt = n
		results, _ := run(t, m, s)
		if len(results) > 0 && results[0].Outcome == apply.RollbackFailed {
			t.Errorf("failed at %d: %s", n, results[0].Message)
		}
		m.FailAt = 0
		converge(t, m, start(t, m, "boot-1"), s.after...)
	}
}

// Somebody has told NetworkManager to leave a link alone. A change has it manage the link again; one that fails or is cut off at any step leaves it alone as
// before, with what was on it, unless recovery goes on. A boot makes NetworkManager forget what it was told, and the undo of a change that was begun before
// does not tell it again.
func TestALinkThatWasTakenFromNetworkManagerIsTakenBackByTheUndo(t *testing.T) {
	for name, after := range map[string]string{
		"an address and routes change by keyfile": "[]", "an address and routes change by ifcfg": "[]", "a NIC gets another id by keyfile": "[]",
		"a NIC is removed by keyfile": "[11]", // it has to do nothing for that
	} {
		t.Run(name, func(t *testing.T) {
			s := scenarios()[name]
			machine := func() *hosttest.Machine {
				m := prepared(t, s)
				m.Take(11)
				m.Ops = 0
				return m
			}
			before := machine().Text(stateDir)
			m := machine()
			run(t, m, s)
			ops, wanted := m.Ops, m.Text(stateDir)
			if !strings.Contains(before, "\ntaken [11]\n") || !strings.Contains(wanted, "\ntaken "+after+"\n") {
				t.Fatalf("taken is not [11] before and %s behind the change:\n%s\n%s", after, before, wanted)
			}
			for n := 1; n <= ops; n++ {
				for how, at := range map[string]func(m *hosttest.Machine){
					"fails":      func(m *hosttest.Machine) { m.FailAt = n },
					"is cut off": func(m *hosttest.Machine) { m.CrashAt = n },
				} {
					m := machine()
					at(m)
					run(t, m, s)
					m.FailAt, m.CrashAt = 0, 0
					start(t, m, "boot-1")
					if got := m.Text(stateDir); got != before && got != wanted {
						t.Errorf("it %s at %d: neither as before nor as wanted:\n%s\ndifference to what was before:\n%s", how, n, got, cmp.Diff(before, got))
					}
				}
				m := machine()
				m.CrashAt = n
				run(t, m, s)
				m.CrashAt = 0
				boot(m)
				m.StartManager()
				start(t, m, "boot-2")
				if got := m.Text(stateDir); !strings.Contains(got, "\ntaken []\n") {
					t.Errorf("it is cut off at %d, and booted: the link is taken anew:\n%s", n, got)
				}
			}
		})
	}
}

// A NIC with IPv6 addresses alone, one of which a neighbour has: NetworkManager (1.42 to 1.52) gives the profile up, and does not say why. The kernel does.
func TestNetworkManagerGivesUpAProfileWhoseAddressIsInUse(t *testing.T) {
	address := prefixes("2001:db8::10/64")[0].Addr()
	for name, tt := range map[string]struct {
		found   []netip.Addr
		outcome apply.Outcome
		reason  plan.Reason
	}{
		"the kernel has found it":  {[]netip.Addr{address}, apply.Refused, plan.AddressInUse},
		"the kernel knows of none": {nil, apply.RolledBack, plan.ApplyFailed},
	} {
		t.Run(name, func(t *testing.T) {
			s := scenario{after: []nic.Config{config(1, "2001:db8::10/64")}, format: networkmanager.Keyfile{}}
			m := prepared(t, s)
			before := m.Text(stateDir)
			a := start(t, m, "boot-1")
			a.At = func(point string) {
				if point == string(plan.StepActivate) {
					m.FailAt, m.Doubles = m.Ops+1, tt.found
				}
			}
			now, _ := m.Look(t.Context())
			res := a.Do(t.Context(), plan.Make(s.after, nil, now, a.Record()).Actions[0])
			if res.Outcome != tt.outcome || res.Reason != tt.reason {
				t.Errorf("got %s %s %q, want %s %s", res.Outcome, res.Reason, res.Message, tt.outcome, tt.reason)
			}
			check(t, m, before)
		})
	}
}
