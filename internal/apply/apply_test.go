package apply_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multinicd/ifcfg"
	"multinicd/internal/apply"
	"multinicd/internal/hosttest"
	"multinicd/internal/node"
	"multinicd/netplan"
	"multinicd/networkmanager"
	"multinicd/nic"
	"multinicd/plan"
	"multinicd/plan/lifeline"
)

const stateDir = "/var/lib/multinicd"

type probe struct{ err error }

func (p probe) Before(context.Context, int) func(context.Context) error {
	return func(context.Context) error { return p.err }
}

func newApplier(m *hosttest.Machine, boot string, probeErr error) *apply.Applier {
	a := &apply.Applier{Backend: netplan.New(m, m), Links: m, Files: m, Probe: probe{probeErr}, Log: slog.New(slog.DiscardHandler),
		Ours: node.MayChange, Dir: stateDir, Boot: boot, ProbeTimeout: time.Second, VerifyTimeout: time.Second}
	if m.NM != nil {
		a.Backend, a.Manager = &networkmanager.Backend{Files: m, Format: m.NM.Format}, networkmanager.Manager{Bus: m}
	}
	if n := m.Networkd; n != nil {
		b := netplan.New(m, m)
		b.Activation = n.Activation
		a.Backend, a.Manager = b, node.NewServices(m, a.Log)
	}
	return a
}

func mac(last byte) nic.MAC { return nic.MAC{2, 0, 0, 0, 1, last} }

func prefixes(ss ...string) (out []netip.Prefix) {
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func config(id int, addrs ...string) nic.Config {
	return nic.Config{ID: id, Name: nic.NameFor(id), MAC: mac(byte(id)), MTU: 1400, Addresses: prefixes(addrs...)}
}

func link(id int) nic.Link {
	return nic.Link{Index: 10 + id, Name: fmt.Sprintf("eth%d", id), MAC: mac(byte(id)), Device: true, MTU: 1500, MaxMTU: 9000}
}

// converge plans and applies until nothing is left to do, as the daemon's loop does.
func converge(t *testing.T, m *hosttest.Machine, a *apply.Applier, want ...nic.Config) {
	t.Helper()
	for range 3 {
		now, _ := m.Look(t.Context())
		quiet := true
		for _, action := range plan.Make(want, nil, now, a.Record()).Actions {
			res := a.Do(t.Context(), action)
			if res.Outcome != apply.Unchanged && res.Outcome != apply.Done {
				t.Fatalf("converging: %s %s: %s", action.NIC.Name, res.Outcome, res.Message)
			}
			quiet = quiet && res.Outcome == apply.Unchanged
			if action.Change.Way != nil {
				break
			}
		}
		if quiet {
			return
		}
	}
	t.Fatal("the machine does not come to rest")
}

func start(t *testing.T, m *hosttest.Machine, boot string) *apply.Applier {
	t.Helper()
	a := newApplier(m, boot, nil)
	if _, err := a.Recover(t.Context()); err != nil {
		t.Fatalf("recovering: %v", err)
	}
	return a
}

// scenario is a change of the one NIC: add, change and remove, on a host that networkd does or does not know it on.
type scenario struct {
	before, after []nic.Config
	runtime       bool
	format        networkmanager.ProfileFormat // of NetworkManager; nil: netplan
	loses         bool                         // hosttest.Manager.Loses
	activation    string                       // netplan.Backend.Activation
	together      bool                         // neighbours are asked, about both NICs at once
}

func scenarios() map[string]scenario {
	route := config(1, "192.0.2.11/24", "2001:db8::1/64")
	route.Routes = []nic.Route{{To: netip.MustParsePrefix("198.51.100.0/24"), Via: netip.MustParseAddr("192.0.2.1")}}
	renamed := config(1, "192.0.2.10/24")
	renamed.ID, renamed.Name = 7, nic.NameFor(7)
	with := func(c nic.Config, change func(*nic.Config)) nic.Config { change(&c); return c }
	gateway := with(config(1, "192.0.2.10/24", "2001:db8::1/64"), func(c *nic.Config) { c.Gateway = netip.MustParseAddr("192.0.2.1") })
	one, two := config(1, "192.0.2.10/24", "2001:db8::1/64"), config(2, "192.0.2.20/24", "2001:db8::2/64")
	out := map[string]scenario{
		"a NIC gets a gateway":                             {[]nic.Config{one}, []nic.Config{gateway}, true, nil, false, "", false},
		"a NIC joins the subnet of one with a greater id":  {[]nic.Config{two}, []nic.Config{one, two}, false, nil, false, "", false},
		"a NIC joins the subnet of one with a smaller id":  {[]nic.Config{one}, []nic.Config{one, two}, true, nil, false, "", false},
		"a NIC leaves the subnet of another":               {[]nic.Config{one, two}, []nic.Config{two}, true, nil, false, "", false},
		"two NICs part":                                    {[]nic.Config{one, two}, []nic.Config{one, config(2, "198.51.100.20/24")}, true, nil, false, "", false},
		"a NIC is added":                                   {nil, []nic.Config{config(1, "192.0.2.10/24")}, false, nil, false, "", false},
		"an address and routes change":                     {[]nic.Config{config(1, "192.0.2.10/24")}, []nic.Config{route}, false, nil, false, "", false},
		"an address changes where networkd knows the link": {[]nic.Config{config(1, "192.0.2.10/24")}, []nic.Config{config(1, "192.0.2.11/24")}, true, nil, false, "", false},
		"a NIC gets another id":                            {[]nic.Config{config(1, "192.0.2.10/24")}, []nic.Config{renamed}, true, nil, false, "", false},
		swap:                                               {[]nic.Config{one, config(2, "198.51.100.20/24")}, []nic.Config{swapped(one, 2), swapped(config(2, "198.51.100.20/24"), 1)}, true, nil, false, "", false},
		"a NIC is removed":                                 {[]nic.Config{route}, nil, true, nil, false, "", false},
	}
	for _, name := range []string{"a NIC is added", "a NIC gets a gateway", "a NIC joins the subnet of one with a smaller id", "a NIC gets another id", "a NIC is removed"} {
		s := out[name]
		s.format = networkmanager.Keyfile{}
		out[name+" by keyfile"] = s
	}
	for _, name := range []string{"a NIC is added", "a NIC gets a gateway", "a NIC joins the subnet of one with a smaller id", "an address and routes change", "a NIC gets another id", swap, "a NIC is removed"} {
		for _, activation := range []string{netplan.Networkd, netplan.Netplan} {
			s := out[name]
			s.activation = activation
			out[name+", activated by "+activation] = s
		}
	}
	for name, format := range map[string]networkmanager.ProfileFormat{"": nil, ", by keyfile": networkmanager.Keyfile{}} {
		out["two NICs are added together"+name] = scenario{after: []nic.Config{one, config(2, "198.51.100.20/24")}, format: format, together: true}
	}
	changed := out["an address and routes change"]
	changed.format = ifcfg.Format{}
	out["an address and routes change by ifcfg"] = changed
	changed.format = networkmanager.Keyfile{}
	out["an address and routes change by keyfile"] = changed
	changed.loses = true
	out["an address and routes change by keyfile, and the IPv6 addresses are lost"] = changed
	return out
}

const swap = "two NICs swap their ids"

func swapped(c nic.Config, id int) nic.Config {
	c.ID, c.Name = id, nic.NameFor(id)
	return c
}

const runtimeFile = "/run/systemd/network/10-netplan-multinic1.network"

// prepared gives a machine on which the scenario's before is in force.
func prepared(t *testing.T, s scenario) *hosttest.Machine {
	t.Helper()
	m := hosttest.New(link(1), link(2))
	if s.format != nil {
		manage(m, s)
	}
	if s.activation != "" {
		m.Networkd = &hosttest.Networkd{Activation: s.activation, Read: func(disk map[string][]byte) map[string]nic.Config {
			return hosttest.NetworkFiles(netplan.RuntimeDir, disk)
		}}
		if s.activation == netplan.Netplan {
			m.Networkd.Read = readYAML
		}
	}
	a := start(t, m, "boot-1")
	converge(t, m, a, s.before...)
	if s.runtime && s.format == nil {
		m.Disk[runtimeFile] = []byte("[Match]\nPermanentMACAddress=02:00:00:00:01:01\nName=multinic1\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n")
		m.Modes[runtimeFile] = 0o640
		linkFile := strings.TrimSuffix(runtimeFile, "network") + "link"
		m.Disk[linkFile], m.Modes[linkFile] = []byte("[Match]\nPermanentMACAddress=02:00:00:00:01:01\n\n[Link]\nName=multinic1\nMTUBytes=1400\n"), 0o644
		converge(t, m, a, s.before...)
	}
	m.Ops = 0
	return m
}

// run does the scenario's change and says whether the process was ended by it.
func run(t *testing.T, m *hosttest.Machine, s scenario) (results []apply.Result, crashed bool) {
	t.Helper()
	defer func() {
		if c := recover(); c != nil {
			if _, ok := c.(hosttest.Crash); !ok {
				panic(c)
			}
			crashed = true
		}
	}()
	a := newApplier(m, "boot-1", nil)
	if s.together {
		asks(a.Backend)
	}
	if _, err := a.Recover(t.Context()); err != nil {
		return nil, false // a fault while starting: the service fails to start and is started again
	}
	for again := true; again; { // as the daemon's loop does: what comes behind a name for the time being is planned anew
		again = false
		now, _ := m.Look(t.Context())
		actions := plan.Make(s.after, nil, now, a.Record()).Actions
		got := make([]apply.Result, len(actions))
		begun := a.InTurns(t.Context(), actions, func(plan.Action) bool { return !s.together }, func(i int) bool {
			got[i] = a.Do(t.Context(), actions[i])
			again = actions[i].Change.Way != nil && got[i].Outcome == apply.Done
			return !again
		})
		results = append(results, got[:begun]...)
	}
	return results, false
}

// asks has a backend ask neighbours.
func asks(b apply.Backend) {
	switch b := b.(type) {
	case *netplan.Backend:
		b.DAD = true
	case *networkmanager.Backend:
		b.DAD = true
	}
}

// TestFailOrCrashAtEveryStep is the signature test: a change fails at step 1, 2, ... n, and crashes at each step followed by Recover; after each the
// machine printed as text equals the text before or the text wanted.
func TestFailOrCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			allowed := outcomes(t, s, whole)
			before := allowed[0]
			m := prepared(t, s)
			if _, crashed := run(t, m, s); crashed {
				t.Fatal("crashed without a fault")
			}
			wanted, steps := m.Text(stateDir), m.Ops
			if steps < 5 || wanted == before {
				t.Fatalf("the scenario changes nothing: %d steps", steps)
			}
			first, stride := points(1, 5)
			for n := first; n <= steps; n += stride {
				t.Run(fmt.Sprintf("fails at %d", n), func(t *testing.T) {
					m := prepared(t, s)
					m.FailAt = n
					results, _ := run(t, m, s)
					check(t, m, allowed...)
					for _, r := range results {
						if m.Text(stateDir) == before && r.Outcome == apply.Done && r.Action.NIC.MAC == mac(1) {
							t.Errorf("the result says %s, but the machine is as before", r.Outcome)
						}
					}
					converge(t, m, start(t, m, "boot-1"), s.after...)
					check(t, m, wanted, wanted)
				})
				for _, after := range []bool{false, true} {
					t.Run(fmt.Sprintf("crashes at %d, after=%v", n, after), func(t *testing.T) {
						m := prepared(t, s)
						m.CrashAt, m.CrashAfter = n, after
						if _, crashed := run(t, m, s); !crashed {
							t.Fatal("did not crash")
						}
						a := start(t, m, "boot-1")
						check(t, m, allowed...)
						converge(t, m, a, s.after...)
						check(t, m, wanted, wanted)
					})
				}
			}
		})
	}
}

func whole(m *hosttest.Machine) string { return m.Text(stateDir) }

// outcomes are the machines as text on which each NIC is as before or as wanted: first all as before, last all as wanted. A change is all or back
// for each NIC alone.
func outcomes(t *testing.T, s scenario, text func(*hosttest.Machine) string) (texts []string) {
	t.Helper()
	for mask := 0; ; mask++ {
		m := prepared(t, s)
		a := start(t, m, "boot-1")
		now, _ := m.Look(t.Context())
		actions := plan.Make(s.after, nil, now, a.Record()).Actions
		if mask == 1<<len(actions) {
			return texts
		}
		for i, action := range actions {
			if mask&(1<<i) != 0 {
				a.Do(t.Context(), action)
			}
		}
		texts = append(texts, text(m))
	}
}

func check(t *testing.T, m *hosttest.Machine, texts ...string) {
	t.Helper()
	if got := m.Text(stateDir); !slices.Contains(texts, got) {
		t.Errorf("the machine is neither as before nor as wanted:\n%s\ndifference to what is wanted:\n%s", got, cmp.Diff(texts[len(texts)-1], got))
	}
}

func TestBootAfterACrashKeepsOrPersistsWhole(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios() {
		if s.format != nil {
			continue // there the files come first; see TestBootAfterACrashByNetworkManager
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := func(m *hosttest.Machine) string {
				var out []string
				for f, data := range m.Disk {
					if strings.HasPrefix(f, "/etc/") {
						out = append(out, f+"\n"+string(data))
					}
				}
				slices.Sort(out)
				return strings.Join(out, "\n")
			}
			allowed := outcomes(t, s, files)
			m := prepared(t, s)
			run(t, m, s)
			steps := m.Ops
			first, stride := points(1, 5)
			for n := first; n <= steps; n += stride {
				m := prepared(t, s)
				m.CrashAt = n
				run(t, m, s)
				m.Reboot()
				ops := m.Ops
				start(t, m, "boot-2")
				if got := files(m); !slices.Contains(allowed, got) {
					t.Errorf("crash at %d, then a boot: files are neither as before nor as wanted:\n%s", n, got)
				}
				if m.Ops-ops > 0 && len(m.Net[0].Addresses) > 0 {
					t.Errorf("crash at %d, then a boot: recovery changed a link of the new boot", n)
				}
			}
		})
	}
}

func TestResults(t *testing.T) {
	refused := errors.New("netplan says no")
	tests := map[string]struct {
		break_  func(m *hosttest.Machine)
		probe   error
		outcome apply.Outcome
		reason  plan.Reason
		at      string // the step before which it breaks; before the change if empty
	}{
		"done":                         {func(*hosttest.Machine) {}, nil, apply.Done, plan.Configured, ""},
		"a probe fails":                {func(*hosttest.Machine) {}, errors.New("no answer"), apply.RolledBack, plan.ProbeFailed, ""},
		"netplan refuses the file":     {func(m *hosttest.Machine) { m.Refuse = refused }, nil, apply.RolledBack, plan.ValidationFailed, ""},
		"the journal cannot be":        {func(m *hosttest.Machine) { m.FailAt = 2 }, nil, apply.Failed, plan.ApplyFailed, ""},
		"the journal's copy cannot be": {func(m *hosttest.Machine) { m.FailAt = 1 }, nil, apply.Failed, plan.ApplyFailed, ""},
		"the first change fails":       {func(m *hosttest.Machine) { m.FailAt = 3 }, nil, apply.RolledBack, plan.ApplyFailed, ""},
		"the link became protected": {func(m *hosttest.Machine) {
			m.Net[0].Routes = []nic.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1")}}
		}, nil, apply.Refused, plan.ProtectedLink, ""},
		"somebody has configured the link meanwhile": {func(m *hosttest.Machine) {
			m.Net[0].Claim = &nic.Claim{Owner: "netplan", Evidence: "50-cloud-init.yaml names its MAC"}
		}, nil, apply.Refused, plan.ForeignConfig, ""},
		"somebody gave the link an address meanwhile": {func(m *hosttest.Machine) {
			m.Net[0].Addresses = []nic.Address{{Prefix: netip.MustParsePrefix("10.9.0.1/24"), Permanent: true}}
		}, nil, apply.Refused, plan.ForeignConfig, ""},
		"another link took the address meanwhile": {func(m *hosttest.Machine) {
			m.Net[1].Addresses = []nic.Address{{Prefix: netip.MustParsePrefix("192.0.2.10/32"), Permanent: true}}
		}, nil, apply.Refused, plan.AddressInUse, ""},
		"the API server has moved into the subnet": {func(m *hosttest.Machine) {
			m.Lifelines = []lifeline.Path{{What: "the API server", To: netip.MustParseAddr("192.0.2.77"), Index: 12}}
		}, nil, apply.Refused, plan.CutsAPIPath, ""},
		"the way to the API server has moved to the link": {func(m *hosttest.Machine) {
			m.Lifelines = []lifeline.Path{{What: "the API server", To: netip.MustParseAddr("203.0.113.1"), Index: 11}}
		}, nil, apply.Refused, plan.ProtectedLink, ""},
		"the change moves the way to the API server, says the probe too": {func(m *hosttest.Machine) {
			m.Lifelines = []lifeline.Path{{What: "the API server", To: netip.MustParseAddr("203.0.113.1"), Index: 11}}
		}, errors.New("no answer"), apply.RolledBack, plan.ProbeFailed, "addresses"},
		"the change moves the way to the API server": {func(m *hosttest.Machine) {
			m.Lifelines = []lifeline.Path{{What: "the API server", To: netip.MustParseAddr("203.0.113.1"), Index: 11}}
		}, nil, apply.RolledBack, plan.ProtectedLink, "addresses"},
		"the link became part of a bond": {func(m *hosttest.Machine) { m.Net[0].Master = 9 }, nil, apply.Refused, plan.NotPhysical, ""},
		"the link was unplugged":         {func(m *hosttest.Machine) { m.Net = m.Net[1:] }, nil, apply.Failed, plan.ApplyFailed, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := scenarios()["a NIC is added"]
			m := prepared(t, s)
			a := newApplier(m, "boot-1", tt.probe)
			if _, err := a.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			now, _ := m.Look(t.Context())
			action := plan.Make(s.after, nil, now, a.Record()).Actions[0]
			before := m.Text(stateDir)
			if tt.at == "" {
				tt.break_(m)
				before = m.Text(stateDir)
			}
			a.At = func(point string) {
				if point == tt.at {
					tt.break_(m)
				}
			}
			res := a.Do(t.Context(), action)
			if res.Outcome != tt.outcome || res.Reason != tt.reason {
				t.Errorf("got %s %s (%s), want %s %s", res.Outcome, res.Reason, res.Message, tt.outcome, tt.reason)
			}
			if tt.outcome != apply.Done && m.Text(stateDir) != before {
				t.Errorf("the machine changed:\n%s", cmp.Diff(before, m.Text(stateDir)))
			}
		})
	}
}

func TestSameAgainDoesNothing(t *testing.T) {
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			m := prepared(t, s)
			run(t, m, s)
			m.Ops, m.Asked = 0, 0
			run(t, m, s)
			if m.Ops != 0 || m.Asked != 0 {
				t.Errorf("%d operations and %d questions the second time, want none", m.Ops, m.Asked)
			}
		})
	}
}

func TestALinkThatCannotBeRenamedKeepsItsNameUntilTheNextBoot(t *testing.T) {
	m := hosttest.New(link(1))
	m.Net[0].Up, m.RenameBusy = true, true
	a := start(t, m, "boot-1")
	converge(t, m, a, config(1, "192.0.2.10/24"))
	if l := m.Net[0]; l.Name != "eth1" || len(l.Addresses) != 1 {
		t.Errorf("the link is %+v, want it configured as eth1", l)
	}
	if o, _ := a.Record().Find(mac(1)); !o.RenameBlocked {
		t.Error("the record does not say that the name waits for the boot")
	}
	m.Ops = 0
	converge(t, m, a, config(1, "192.0.2.10/24"))
	if m.Ops != 0 {
		t.Errorf("%d operations the second time, want none", m.Ops)
	}
	converge(t, m, a) // removed, although it cannot be renamed back
	if len(m.Net[0].Addresses) != 0 {
		t.Errorf("addresses left: %v", m.Net[0].Addresses)
	}

	m = hosttest.New(link(1))
	m.Net[0].Up, m.RenameBusy = true, true
	converge(t, m, start(t, m, "boot-1"), config(1, "192.0.2.10/24"))
	m.Reboot()
	m.Net[0].Name, m.Net[0].Up = "multinic1", true
	a = start(t, m, "boot-2")
	converge(t, m, a, config(1, "192.0.2.10/24"))
	if o, _ := a.Record().Find(mac(1)); o.RenameBlocked {
		t.Error("after the boot the name still waits")
	}
}

func TestANeighboursAddressIsRefusedAndTheLinkLeftAsItWas(t *testing.T) {
	m := hosttest.New(link(1))
	m.Neighbours = map[netip.Addr]nic.MAC{netip.MustParseAddr("192.0.2.10"): mac(99)}
	b := netplan.New(m, m)
	b.DAD = true
	a := start(t, m, "boot-1")
	a.Backend = b
	before := m.Text(stateDir)
	now, _ := m.Look(t.Context())
	res := a.Do(t.Context(), plan.Make([]nic.Config{config(1, "192.0.2.10/24")}, nil, now, a.Record()).Actions[0])
	if res.Outcome != apply.Refused || res.Reason != plan.AddressInUse || !strings.Contains(res.Message, mac(99).String()) {
		t.Errorf("got %s %s %q, want it refused and the neighbour named", res.Outcome, res.Reason, res.Message)
	}
	if got := m.Text(stateDir); got != before {
		t.Errorf("the machine changed:\n%s", cmp.Diff(before, got))
	}
}

// The kernel finds out, once the address is on the link: it does not say who has it.
func TestANeighbourWhomTheKernelHasFoundIsAskedFor(t *testing.T) {
	address := netip.MustParseAddr("2001:db8::10")
	for name, tt := range map[string]struct {
		neighbours map[netip.Addr]nic.MAC
		says       string
	}{
		"who answers is named":  {map[netip.Addr]nic.MAC{address: mac(99)}, mac(99).String()},
		"nobody answers by now": {nil, "2001:db8::10 is held by a neighbour, says the kernel"},
	} {
		t.Run(name, func(t *testing.T) {
			m := hosttest.New(link(1))
			m.Neighbours = tt.neighbours
			a := start(t, m, "boot-1") // which asks nobody beforehand
			before := m.Text(stateDir)
			a.At = func(point string) {
				if point == "verify" {
					m.Net[0].Addresses[0].Duplicate = true
				}
			}
			now, _ := m.Look(t.Context())
			res := a.Do(t.Context(), plan.Make([]nic.Config{config(1, "2001:db8::10/64")}, nil, now, a.Record()).Actions[0])
			if res.Outcome != apply.Refused || res.Reason != plan.AddressInUse || !strings.Contains(res.Message, tt.says) {
				t.Errorf("got %s %s %q, want it refused and %q", res.Outcome, res.Reason, res.Message, tt.says)
			}
			check(t, m, before)
		})
	}
}

// The kernel has found out; by the time of the look a network manager has taken the addresses away, or has just put them there again.
func TestAnAddressInUseThatIsGoneFromTheLinkIsNoRiddle(t *testing.T) {
	v4, v6 := netip.MustParsePrefix("192.0.2.10/24"), netip.MustParsePrefix("2001:db8::10/64")
	for name, tt := range map[string]struct {
		link   func(l *nic.Link)
		found  []netip.Addr
		reason plan.Reason
	}{
		"all addresses are gone":    {func(l *nic.Link) { l.Addresses = nil }, []netip.Addr{v6.Addr()}, plan.AddressInUse},
		"it is being checked again": {func(l *nic.Link) { l.Carrier, l.Addresses[1].Tentative = true, true }, []netip.Addr{v6.Addr()}, plan.AddressInUse},
		"it is there after all":     {func(*nic.Link) {}, []netip.Addr{v6.Addr()}, plan.Configured},
		"all addresses are gone, and the kernel has found none in use":    {func(l *nic.Link) { l.Addresses = nil }, nil, plan.VerificationFailed},
		"all addresses are gone, and the kernel has found another in use": {func(l *nic.Link) { l.Addresses = nil }, []netip.Addr{netip.MustParseAddr("2001:db8::11")}, plan.VerificationFailed},
	} {
		t.Run(name, func(t *testing.T) {
			m := hosttest.New(link(1))
			a := start(t, m, "boot-1")
			before := m.Text(stateDir)
			a.At = func(point string) {
				if point == "verify" {
					tt.link(&m.Net[0])
					m.Doubles = tt.found
				}
			}
			now, _ := m.Look(t.Context())
			res := a.Do(t.Context(), plan.Make([]nic.Config{config(1, v4.String(), v6.String())}, nil, now, a.Record()).Actions[0])
			if res.Reason != tt.reason {
				t.Errorf("got %s %s %q, want %s", res.Outcome, res.Reason, res.Message, tt.reason)
			}
			if tt.reason == plan.Configured {
				return
			}
			if tt.reason == plan.AddressInUse && (res.Outcome != apply.Refused || !strings.Contains(res.Message, "2001:db8::10 is held by a neighbour, says the kernel")) {
				t.Errorf("got %s %q", res.Outcome, res.Message)
			}
			check(t, m, before)
		})
	}
}

// torn gives a link once; from then on the kernel changes it as often as it is read, until there is no more time.
type torn struct {
	*hosttest.Machine
	reads *int
}

func (l torn) Link(ctx context.Context, index int) (nic.Link, error) {
	if *l.reads++; *l.reads > 1 {
		<-ctx.Done()
		return nic.Link{}, ctx.Err()
	}
	return l.Machine.Link(ctx, index)
}

func TestTheTimeToVerifyIsOverWhileTheLinkIsRead(t *testing.T) {
	for name, tt := range map[string]struct {
		reads  int // before it is verified
		stop   bool
		reason plan.Reason
		says   string
	}{
		"after a look":                 {0, false, plan.VerificationFailed, "address: want 192.0.2.10/24, have tentative"},
		"before any":                   {1, false, plan.VerificationFailed, "deadline exceeded"},
		"the service is being stopped": {1, true, plan.ApplyFailed, "canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			m := hosttest.New(link(1))
			a := start(t, m, "boot-1")
			before := m.Text(stateDir)
			a.Links, a.VerifyTimeout = torn{m, &tt.reads}, 60*time.Millisecond
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			a.At = func(point string) {
				if point == "verify" {
					m.Net[0].Carrier, m.Net[0].Addresses[0].Tentative = true, true
					if tt.stop {
						stop()
					}
				}
			}
			now, _ := m.Look(t.Context())
			res := a.Do(ctx, plan.Make([]nic.Config{config(1, "192.0.2.10/24")}, nil, now, a.Record()).Actions[0])
			if res.Outcome != apply.RolledBack || res.Reason != tt.reason || !strings.Contains(res.Message, tt.says) {
				t.Errorf("got %s %s: %s", res.Outcome, res.Reason, res.Message)
			}
			check(t, m, before)
		})
	}
}
