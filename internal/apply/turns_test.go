package apply_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"multinicd/internal/apply"
	"multinicd/internal/hosttest"
	"multinicd/netplan"
	"multinicd/networkmanager"
	"multinicd/nic"
	"multinicd/plan"
)

// many are n NICs that are asked for on a machine that has them, and neighbours are asked about each.
func many(t *testing.T, n int) (m *hosttest.Machine, a *apply.Applier, actions []plan.Action) {
	t.Helper()
	m = hosttest.New()
	var want []nic.Config
	for id := 1; id <= n; id++ {
		m.Net = append(m.Net, link(id))
		want = append(want, config(id, fmt.Sprintf("10.0.%d.10/24", id)))
	}
	a = start(t, m, "boot-1")
	asks(a.Backend)
	now, _ := m.Look(t.Context())
	return m, a, plan.Make(want, nil, now, a.Record()).Actions
}

// inTurns does the actions, and gives their results.
func inTurns(t *testing.T, a *apply.Applier, actions []plan.Action, alone func(plan.Action) bool) []apply.Result {
	t.Helper()
	out := make([]apply.Result, len(actions))
	begun := a.InTurns(t.Context(), actions, alone, func(i int) bool { out[i] = a.Do(t.Context(), actions[i]); return true })
	if begun != len(actions) {
		t.Errorf("%d of %d actions were begun", begun, len(actions))
	}
	return out
}

func never(plan.Action) bool { return false }

// slow are links whose neighbours take their time to answer.
type slow struct{ apply.Links }

const answer = 200 * time.Millisecond

func (s slow) Free(ctx context.Context, index int, addrs []netip.Addr) error {
	time.Sleep(answer)
	return s.Links.Free(ctx, index, addrs)
}

func TestTheNeighboursOfManyNICsAreAskedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, actions := many(t, 32) // which is twice as many as wait together
		a.Links = slow{m}
		began := time.Now()
		for _, r := range inTurns(t, a, actions, never) {
			if r.Outcome != apply.Done {
				t.Errorf("%s: %s %s", r.Action.NIC.Name, r.Outcome, r.Message)
			}
		}
		if took := time.Since(began); took != 2*answer {
			t.Errorf("that took %s, want %s", took, 2*answer)
		}
		for name := range m.Disk {
			if strings.HasPrefix(name, stateDir+"/journal") {
				t.Errorf("%s is left", name)
			}
		}
	})
}

// An older version, in the place of this one, undoes what the marker has: none that is in force.
func TestTheMarkerHasTheChangeWhoseTurnItIs(t *testing.T) {
	t.Parallel()
	m, a, actions := many(t, 4)
	a.Links = &fatal{Links: m, at: func(c nic.Change, _ string) bool {
		for _, action := range actions {
			own := "journal-" + strings.ReplaceAll(action.NIC.MAC.String(), ":", "-")
			if marker := string(m.Disk[stateDir+"/journal"]); c.Index == action.Link.Index && !strings.Contains(marker, own) {
				t.Errorf("while %s is changed the marker has %.80q", action.NIC.Name, marker)
			}
		}
		return false
	}}
	inTurns(t, a, actions, never)
}

// A neighbour has the address of one of them: the others are none the worse.
func TestANICThatIsRefusedHarmsNoneThatWaitsWithIt(t *testing.T) {
	t.Parallel()
	m, a, actions := many(t, 5)
	m.Neighbours = map[netip.Addr]nic.MAC{netip.MustParseAddr("10.0.2.10"): {2, 9}}
	before := m.Net[1]
	for i, r := range inTurns(t, a, actions, never) {
		want := apply.Done
		if i == 1 {
			want = apply.Refused
		}
		if r.Outcome != want || want == apply.Refused && r.Reason != plan.AddressInUse {
			t.Errorf("%s: %s %s %s, want %s", r.Action.NIC.Name, r.Outcome, r.Reason, r.Message, want)
		}
	}
	if now := m.Net[1]; now.Name != before.Name || now.Up != before.Up || now.MTU != before.MTU || len(now.Addresses) > 0 {
		t.Errorf("the link was %+v, is %+v", before, now)
	}
}

// What depends on another change comes before or behind it, as the plan has it.
func TestWhatDependsOnAnotherChangeWaitsForNone(t *testing.T) {
	t.Parallel()
	named := func(c plan.Action, name string) plan.Action { c.Change.Name = name; return c }
	called := func(c plan.Action, name string) plan.Action {
		l := *c.Link
		l.Name = name
		c.Link = &l
		return c
	}
	for name, tt := range map[string]struct {
		edit func(a []plan.Action)
		want string // who began and ended, in order
	}{
		"nothing": {func([]plan.Action) {}, "+0 +1 +2 -0 -1 -2"},
		"one needs the name that another has": {func(a []plan.Action) {
			a[0] = called(a[0], "multinic9")
			a[1] = named(a[1], "multinic9")
		}, "+0 -0 +1 -1 +2 -2"},
		"one needs the alternative name of another": {func(a []plan.Action) {
			a[0] = called(a[0], "x")
			a[0].Link.AltNames = []string{"multinic9"}
			a[2] = named(a[2], "multinic9")
		}, "+0 -0 +1 -1 +2 -2"},
		"one needs an address that another gives up": {func(a []plan.Action) {
			a[0].Change.Del = prefixes("10.0.2.10/16")
		}, "+0 -0 +1 -1 +2 -2"},
		"one is removed": {func(a []plan.Action) { a[1].Kind = plan.Remove }, "+0 -0 +1 -1 +2 -2"},
		"one makes way":  {func(a []plan.Action) { a[2].Change.Way = &nic.Change{Index: 12} }, "+0 +1 -0 -1 +2 -2"},
		"one waits":      {func(a []plan.Action) { a[1] = plan.Action{Kind: plan.Wait, NIC: a[1].NIC} }, "+0 +1 -1 +2 -0 -2"},
	} {
		t.Run(name, func(t *testing.T) {
			m, a, actions := many(t, 3)
			tt.edit(actions)
			var events []string
			a.Links = m
			a.InTurns(t.Context(), actions, never, func(i int) bool {
				events = append(events, fmt.Sprintf("+%d", i))
				a.Do(t.Context(), actions[i])
				events = append(events, fmt.Sprintf("-%d", i))
				return true
			})
			if got := strings.Join(events, " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// netless are the NICs that were brought up by a manager that would not take them back by itself.
type netless struct {
	apply.Manager
	m    *hosttest.Machine
	nics []nic.MAC
}

func (n *netless) Manage(ctx context.Context, what plan.Manage) error {
	if what.Verb == plan.Activate && !n.m.NM.Holds(what.Index) {
		n.nics = append(n.nics, what.MAC)
	}
	return n.Manager.Manage(ctx, what)
}

func TestAManagerHoldsEachNICOfManyUntilItIsDone(t *testing.T) {
	t.Parallel()
	m, _, _ := many(t, 4)
	manage(m, scenario{format: networkmanager.Keyfile{}})
	a := start(t, m, "boot-1")
	asks(a.Backend)
	var want []nic.Config
	for id := 1; id <= 4; id++ {
		want = append(want, config(id, fmt.Sprintf("10.0.%d.10/24", id)))
	}
	manager := &netless{Manager: a.Manager, m: m}
	a.Manager = manager
	now, _ := m.Look(t.Context())
	for _, r := range inTurns(t, a, plan.Make(want, nil, now, a.Record()).Actions, never) {
		if r.Outcome != apply.Done || m.NM.Holds(r.Action.Link.Index) {
			t.Errorf("%s: %s %s, held %v", r.Action.NIC.Name, r.Outcome, r.Message, m.NM.Holds(r.Action.Link.Index))
		}
	}
	if len(manager.nics) > 0 {
		t.Errorf("NICs %v were not held", manager.nics)
	}
}

func TestNoMoreBeginWhenItIsEnough(t *testing.T) {
	t.Parallel()
	m, a, actions := many(t, 5)
	ctx, cancel := context.WithCancel(t.Context())
	ended := 0
	a.At = func(point string) {
		if m.Net[1].Up {
			cancel() // in the midst of the second one
		}
	}
	begun := a.InTurns(ctx, actions, never, func(i int) bool { a.Do(t.Context(), actions[i]); ended++; return true })
	if begun != 2 || ended != 2 {
		t.Errorf("%d begun and %d ended, want two each", begun, ended)
	}
	m, a, actions = many(t, 5)
	begun = a.InTurns(t.Context(), actions, never, func(i int) bool { a.Do(t.Context(), actions[i]); return i != 0 })
	if begun < 1 || begun > 5 || slices.ContainsFunc(m.Net[:begun], func(l nic.Link) bool { return len(l.Addresses) != 1 }) {
		t.Errorf("%d begun, the machine is\n%s", begun, m.Text(stateDir))
	}
}

// A change ends multinicd each time, while others are under way: only that one is not tried any more.
func TestACrashCountsForTheChangeThatWasAtWork(t *testing.T) {
	t.Parallel()
	const guilty = 3
	for name, at := range map[string]func(c nic.Change, file string) bool{
		"before it waits":         func(c nic.Change, _ string) bool { return c.Index == link(guilty).Index && c.Up },
		"behind that":             func(c nic.Change, _ string) bool { return c.Index == link(guilty).Index && len(c.Add) > 0 },
		"where it writes a file":  func(_ nic.Change, file string) bool { return strings.HasSuffix(file, nic.NameFor(guilty)+".yaml") },
		"where another one waits": func(c nic.Change, _ string) bool { return c.Index == link(guilty).Index && c.Name != "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, a, actions := many(t, 4)
			var want []nic.Config
			for _, one := range actions {
				want = append(want, one.NIC)
			}
			for crashes := 0; crashes <= 3; crashes++ {
				fatal := &fatal{Links: m, Files: m, at: at}
				a.Links, a.Files = fatal, fatal
				results, crashed := func() (out []apply.Result, yes bool) {
					defer func() { yes = recover() != nil }()
					return inTurns(t, a, actions, never), false
				}()
				if crashed != (crashes < 3) {
					t.Fatalf("after %d crashes: crashed again %v", crashes, crashed)
				}
				for i, r := range results {
					want := plan.Configured
					if i == guilty-1 {
						want = plan.ChangeCrashed
					}
					if r.Reason != want {
						t.Errorf("%s: %s %s %s, want %s", r.Action.NIC.Name, r.Outcome, r.Reason, r.Message, want)
					}
				}
				a = start(t, m, "boot-1")
				asks(a.Backend)
				now, _ := m.Look(t.Context())
				actions = plan.Make(want, nil, now, a.Record()).Actions
			}
		})
	}
}

// fatal ends the process at an operation.
type fatal struct {
	apply.Links
	apply.Files
	at func(c nic.Change, file string) bool
}

func (f *fatal) Change(ctx context.Context, c nic.Change) error {
	if f.at(c, "") {
		panic(hosttest.Crash{})
	}
	return f.Links.Change(ctx, c)
}

func (f *fatal) Write(name string, data []byte, mode fs.FileMode) error {
	if f.at(nic.Change{}, name) {
		panic(hosttest.Crash{})
	}
	return f.Files.Write(name, data, mode)
}

// reader counts how often a file is read.
type reader struct {
	*hosttest.Machine
	reads int
}

func (r *reader) Read(name string) ([]byte, fs.FileMode, error) {
	r.reads++
	return r.Machine.Read(name)
}

// Each NIC asks whether a file of another one is in its way: of four times as many NICs no more than four times as many files are read.
func TestNotEveryNICReadsTheFilesOfAll(t *testing.T) {
	t.Parallel()
	for name, backend := range map[string]func(r *reader) apply.Backend{
		"netplan":                    func(r *reader) apply.Backend { return netplan.New(r, r.Machine) },
		"netplan for NetworkManager": func(r *reader) apply.Backend { return netplan.NewManager(r, r.Machine, false) },
		"keyfiles": func(r *reader) apply.Backend {
			return &networkmanager.Backend{Files: r, Format: networkmanager.Keyfile{}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reads := func(n int) int {
				m, a, actions := many(t, n)
				if name != "netplan" {
					manage(m, scenario{format: networkmanager.Keyfile{}})
					a.Manager = networkmanager.Manager{Bus: m}
				}
				r := &reader{Machine: m}
				a.Backend = backend(r)
				for _, one := range inTurns(t, a, actions, never) {
					if one.Outcome != apply.Done {
						t.Fatalf("%s: %s %s", one.Action.NIC.Name, one.Outcome, one.Message)
					}
				}
				for i := range actions { // as they are now
					l, _ := m.Link(t.Context(), actions[i].Link.Index)
					actions[i].Link, actions[i].Change = &l, nic.Change{}
				}
				r.reads = 0
				for _, one := range inTurns(t, a, actions, never) {
					if one.Outcome != apply.Unchanged {
						t.Fatalf("%s once more: %s %s", one.Action.NIC.Name, one.Outcome, one.Message)
					}
				}
				return r.reads
			}
			if eight, all := reads(8), reads(32); all > 4*eight {
				t.Errorf("%d files are read for 8 NICs, %d for 32", eight, all)
			}
		})
	}
}
