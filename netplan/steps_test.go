package netplan_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"multinicd/internal/hosttest"
	"multinicd/netplan"
	"multinicd/nic"
	"multinicd/plan"
)

var config = hosttest.Config

func route(to, via string) nic.Route {
	return nic.Route{To: netip.MustParsePrefix(to), Via: netip.MustParseAddr(via)}
}

func configure(c nic.Config) plan.Action {
	return plan.Action{Kind: plan.Configure, NIC: c, After: &plan.Owned{MAC: c.MAC, Config: c, Applied: true}}
}

func remove(c nic.Config) plan.Action { return plan.Action{Kind: plan.Remove, NIC: c} }

func onDisk(c nic.Config) (string, string) { return netplan.File(c), string(netplan.Render(c)) }

const (
	network1 = "/run/systemd/network/10-netplan-0-multinic1.network"
	link1    = "/run/systemd/network/10-netplan-0-multinic1.link"
)

const former = "/run/systemd/network/10-netplan-multinic1.network"

// onLink is the action of a NIC that is plugged in, and as wanted in the kernel.
func onLink(c nic.Config) plan.Action {
	a := configure(c)
	a.Link = &nic.Link{Index: 11, Name: c.Name, MAC: c.MAC, Up: true}
	return a
}

func offLink(c nic.Config) plan.Action {
	a := remove(c)
	a.Link = onLink(c).Link
	return a
}

// opened is of a NIC whose link listens to routers, by somebody's hand.
func opened(c nic.Config) plan.Action {
	a := offLink(c)
	a.Link.Conf6 = &nic.Conf6{AcceptRA: 2}
	return a
}

// leased is of a NIC whose link has the address that is wanted with a lifetime.
func leased(c nic.Config) plan.Action {
	a := onLink(c)
	a.Change = nic.Change{Index: 11, MAC: c.MAC, Had: c.Name, Terms: []nic.Term{{Address: c.Addresses[0], Had: nic.Lifetime{Valid: 60, Preferred: 60}}}}
	return a
}

// cameBack is of a NIC that was given back before, and has an address of ours again.
func cameBack(c nic.Config) plan.Action {
	a := offLink(c)
	a.Change = nic.Change{Index: 11, MAC: c.MAC, Had: c.Name, Del: c.Addresses}
	return a
}

var sum = regexp.MustCompile(`[0-9a-f]{64}`)

// The files of a change: which, in which order, and which of them makes it final.
func TestStepsOfFiles(t *testing.T) {
	one, changed, renamed := config(1, "192.0.2.7/24"), config(1, "192.0.2.8/24"), config(7, "192.0.2.7/24")
	renamed.MAC = one.MAC
	file, data := onDisk(one)
	oldNetwork := "[Match]\nName=multinic1\n\n[Network]\nLinkLocalAddressing=no\nAddress=192.0.2.7/24\nIPv6AcceptRA=no\n"
	oldLink := "[Match]\nPermanentMACAddress=02:00:00:00:01:01\n\n[Link]\nName=multinic1\n"
	for name, test := range map[string]struct {
		disk   map[string]string
		modes  map[string]fs.FileMode
		inMind string // networkd's file of the link
		action plan.Action
		want   []string
	}{
		"a new NIC is one file":     {action: configure(one), want: []string{"validate", "persist write /etc/netplan/90-multinic1.yaml 600 (final)"}},
		"the same again is nothing": {disk: map[string]string{file: data, network1: oldNetwork, link1: oldLink}, action: configure(one)},
		"a file that somebody edited is put right": {disk: map[string]string{file: data + "      dhcp4: true\n"}, action: configure(one),
			want: []string{"validate", "persist write /etc/netplan/90-multinic1.yaml 600 (final)"}},
		"a file that all may read is put right": {disk: map[string]string{file: data}, modes: map[string]fs.FileMode{file: 0o644}, action: configure(one),
			want: []string{"validate", "persist write /etc/netplan/90-multinic1.yaml 600 (final)"}},
		"what networkd knows follows once it is final": {disk: map[string]string{file: data, network1: oldNetwork, link1: oldLink}, modes: map[string]fs.FileMode{network1: 0o640}, action: configure(changed),
			want: []string{"validate", "persist write /etc/netplan/90-multinic1.yaml 600 (final)", "runtime write " + network1 + " 640"}},
		"what networkd knows is put right alone": {disk: map[string]string{file: data, network1: strings.ReplaceAll(oldNetwork, ".7", ".6")}, action: configure(one),
			want: []string{"runtime write " + network1 + " 644"}},
		"a new MTU is told to udev too": {disk: map[string]string{file: data, network1: oldNetwork, link1: oldLink}, action: configure(with(one, func(c *nic.Config) { c.MTU = 1400 })),
			want: []string{"validate", "persist write /etc/netplan/90-multinic1.yaml 600 (final)", "runtime write " + network1 + " 644", "runtime write " + link1 + " 644"}},
		"a new name: the new file first, the old one makes it final": {disk: map[string]string{file: data, network1: oldNetwork, link1: oldLink}, action: configure(renamed),
			want: []string{"validate", "persist write /etc/netplan/90-multinic7.yaml 600", "persist remove /etc/netplan/90-multinic1.yaml (final)", "runtime remove " + network1, "runtime remove " + link1}},
		"a NIC is given back": {disk: map[string]string{file: data, network1: oldNetwork, link1: oldLink}, action: remove(one),
			want: []string{"validate", "persist remove /etc/netplan/90-multinic1.yaml (final)", "runtime remove " + network1, "runtime remove " + link1}},
		"what an older version had told networkd is put right": {disk: map[string]string{file: data, former: oldNetwork}, action: configure(changed),
			want: []string{"validate", "persist write /etc/netplan/90-multinic1.yaml 600 (final)", "runtime write " + former + " 644"}},
		"what an older version had told networkd goes with the NIC": {disk: map[string]string{file: data, former: oldNetwork}, action: remove(one),
			want: []string{"validate", "persist remove /etc/netplan/90-multinic1.yaml (final)", "runtime remove " + former}},
		"networkd has a catch-all in mind: it is told": {inMind: "/run/systemd/network/10-netplan-all-en.network", action: onLink(one),
			want: []string{"kernel", "service undo reload SUM", "validate", "persist write /etc/netplan/90-multinic1.yaml 600 (final)", "runtime write " + network1 + " 644", "activate 10-netplan-0-multinic1.network SUM", "verify", "probe"}},
		"networkd has our own file in mind of a NIC that is given back: it is told": {disk: map[string]string{file: data, network1: oldNetwork}, inMind: network1, action: offLink(one),
			want: []string{"kernel", "service undo reload SUM", "validate", "persist remove /etc/netplan/90-multinic1.yaml (final)", "runtime remove " + network1, "activate SUM", "verify", "probe"}},
		"somebody has opened it to routers: so it is once more": {disk: map[string]string{file: data, network1: oldNetwork}, inMind: network1, action: opened(one),
			want: []string{"kernel", "service undo reload SUM", "validate", "persist remove /etc/netplan/90-multinic1.yaml (final)", "runtime remove " + network1, "activate SUM", "kernel\n    ~ accept_ra 0 addr_gen_mode 1 disable_ipv6 0 -> accept_ra 2 addr_gen_mode 0 disable_ipv6 0", "verify", "probe"}},
		"networkd has leased the very address: it is given once more": {inMind: "/run/systemd/network/10-netplan-all-en.network", action: leased(one),
			want: []string{"guard", "addresses\n    ~ address 192.0.2.7/24 for a time -> for good", "verify", "probe", "kernel", "service undo reload SUM", "validate", "persist write /etc/netplan/90-multinic1.yaml 600 (final)", "runtime write " + network1 + " 644", "activate 10-netplan-0-multinic1.network SUM", "kernel\n    + address 192.0.2.7/24", "verify", "probe"}},
		"networkd has read our file in the moment when the NIC was given back: it is told first": {inMind: network1, action: cameBack(one),
			want: []string{"activate forget 02:00:00:00:01:01", "guard", "retire\n    - address 192.0.2.7/24", "verify", "probe"}},
		"networkd has our own file in mind: it is not asked": {disk: map[string]string{network1: oldNetwork}, inMind: network1, action: onLink(one),
			want: []string{"validate", "persist write /etc/netplan/90-multinic1.yaml 600 (final)"}},
		"a NIC without files is given back":      {action: remove(one)},
		"files of other NICs stay":               {disk: map[string]string{file: strings.ReplaceAll(data, "01:01", "01:02")}, action: remove(one)},
		"files of others that name the MAC stay": {disk: map[string]string{"/etc/netplan/50-cloud-init.yaml": data, "/etc/netplan/90-multinic1.yaml.bak": data, "/etc/netplan/90-multinics.yaml": data}, action: remove(one)},
		"the file of a NIC that had the id before is overwritten": {disk: map[string]string{file: strings.ReplaceAll(data, "01:01", "01:02")}, action: configure(one),
			want: []string{"validate", "persist write /etc/netplan/90-multinic1.yaml 600 (final)"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := hosttest.New()
			m.InMind = map[int]string{11: test.inMind}
			for f, text := range test.disk {
				mode := fs.FileMode(0o600)
				if strings.HasPrefix(f, "/run/") {
					mode = 0o644
				}
				if test.modes[f] != 0 {
					mode = test.modes[f]
				}
				m.Put(t, f, []byte(text), mode)
			}
			steps, err := netplan.New(m, m).Steps(t.Context(), test.action)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			before := m.Text("")
			for _, s := range steps {
				got = append(got, sum.ReplaceAllString(strings.TrimSpace(hosttest.Tell(s)), "SUM"))
				if s.Do.File == nil {
					continue
				}
				old, had := test.disk[s.Do.File.Path]
				if u := s.Undo.File; u == nil || u.Absent == had || string(u.Data) != old || u.Path != s.Do.File.Path || had && u.Mode != m.Modes[u.Path] {
					t.Errorf("%s: the undo is %+v", string(s.Kind), s.Undo.File)
				}
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if after := m.Text(""); after != before || m.Asked != 0 {
				t.Error("asking for steps changed something")
			}
		})
	}
}

func with(c nic.Config, change func(*nic.Config)) nic.Config { change(&c); return c }

func TestStepsOfALink(t *testing.T) {
	c := config(1, "192.0.2.7/24")
	a := configure(c)
	a.Change = nic.Change{Index: 11, MAC: c.MAC, Had: "eth1", Name: c.Name, Up: true, Add: c.Addresses}
	m := hosttest.New()
	b := netplan.New(m, m)
	for dad, want := range map[bool]string{
		false: "guard rename up addresses verify probe validate persist",
		true:  "guard rename up free addresses verify probe validate persist",
	} {
		b.DAD = dad
		steps, err := b.Steps(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, s := range steps {
			got = append(got, string(s.Kind))
			if s.Final != (i == len(steps)-1) {
				t.Errorf("step %s: final is %v", s.Kind, s.Final)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

// broken are files of which one cannot be read.
type broken struct{ *hosttest.Machine }

var errBroken = errors.New("input/output error")

func (b broken) Read(name string) ([]byte, fs.FileMode, error) {
	if _, ok := b.Disk[name]; ok {
		return nil, 0, errBroken
	}
	return b.Machine.Read(name)
}

func TestStepsNameTheFileThatCannotBeRead(t *testing.T) {
	c := config(1, "192.0.2.7/24")
	for _, file := range []string{netplan.File(c), netplan.File(config(2)), network1, link1} {
		m := hosttest.New()
		m.Put(t, file, nil, 0o600)
		_, err := netplan.New(broken{m}, m).Steps(t.Context(), configure(c))
		if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: got %v", file, err)
		}
	}
}

// The real netplan is asked once per shape: what a change makes of the machine, and whether that is
// a question that was not asked yet.
func TestValidateAsksOncePerShape(t *testing.T) {
	base := config(1, "192.0.2.7/24")
	base.MTU, base.Routes = 1400, []nic.Route{route("10.0.0.0/8", "192.0.2.1")}
	other := config(2, "192.0.2.9/24")
	put := func(name, data string) func(m *hosttest.Machine) {
		return func(m *hosttest.Machine) { m.Disk[name] = []byte(data) }
	}
	for name, test := range map[string]struct {
		machine func(m *hosttest.Machine)
		action  plan.Action
		asks    bool
	}{
		"the same":                          {nil, configure(base), false},
		"another address":                   {nil, configure(with(base, func(c *nic.Config) { c.Addresses = config(1, "10.1.2.3/8").Addresses })), false},
		"another MAC":                       {nil, configure(with(base, func(c *nic.Config) { c.MAC[5] = 9 })), false},
		"another MTU and next hop":          {nil, configure(with(base, func(c *nic.Config) { c.MTU = 65535; c.Routes = []nic.Route{route("172.16.0.0/12", "192.0.2.2")} })), false},
		"an address more":                   {nil, configure(with(base, func(c *nic.Config) { c.Addresses = config(1, "192.0.2.7/24", "192.0.2.8/24").Addresses })), true},
		"another family":                    {nil, configure(with(base, func(c *nic.Config) { c.Addresses = config(1, "2001:db8::7/64").Addresses })), true},
		"another family of a route":         {nil, configure(with(base, func(c *nic.Config) { c.Routes = []nic.Route{route("2001:db8::/32", "fe80::1")} })), true},
		"two families in one route":         {nil, configure(with(base, func(c *nic.Config) { c.Routes = []nic.Route{route("10.0.0.0/8", "fe80::1")} })), true},
		"no MTU":                            {nil, configure(with(base, func(c *nic.Config) { c.MTU = 0 })), true},
		"a number that does not fit":        {nil, configure(with(base, func(c *nic.Config) { c.MTU = 99999999999 })), true},
		"a negative number":                 {nil, configure(with(base, func(c *nic.Config) { c.MTU = -1 })), true},
		"an address without length":         {nil, configure(with(base, func(c *nic.Config) { c.Addresses = config(1, "192.0.2.7/0").Addresses })), true},
		"another key":                       {nil, configure(with(base, func(c *nic.Config) { c.Routes = slices.Clone(c.Routes); c.Routes[0].Metric = 5 })), true},
		"another NIC of that shape":         {nil, configure(with(base, func(c *nic.Config) { c.ID, c.Name, c.MAC[5] = 3, "multinic3", 3 })), false},
		"another NIC of another shape":      {nil, configure(config(3, "192.0.2.7/24")), true},
		"one file less":                     {nil, remove(base), false},
		"a foreign file that names ours":    {put("/etc/netplan/50.yaml", "network: {bonds: {b: {interfaces: [multinic1]}}}\n"), remove(base), true},
		"another NIC of ours beside it":     {put(onDisk(other)), configure(base), true},
		"a foreign file more":               {put("/etc/netplan/50-cloud-init.yaml", "network: {}\n"), configure(base), true},
		"a foreign file in another folder":  {put("/run/netplan/50.yaml", "network: {}\n"), configure(base), true},
		"one more in the last folder":       {put("/lib/netplan/50.yaml", "network: {}\n"), configure(base), true},
		"another byte in a foreign file":    {put("/etc/netplan/01-primary.yaml", "network: {version: 2 }\n"), configure(base), true},
		"another address in a foreign file": {put("/etc/netplan/01-primary.yaml", "network: {version: 2} # \"192.0.2.8\"\n"), configure(base), true},
		"a file that netplan does not read": {put("/etc/netplan/50-cloud-init.yaml.bak", "network: {}\n"), configure(base), false},
		"another netplan":                   {put("/usr/libexec/netplan/generate", "newer"), configure(base), true},
		"another libnetplan":                {put("/usr/lib/x86_64-linux-gnu/libnetplan.so.0.0", "newer"), configure(base), true},
		"nothing beside a kernel's modules": {put("/usr/lib/modules/libnetplan.so", "newer"), configure(base), false},
		"another program is no other judge": {put("/usr/sbin/ip", "newer"), configure(base), false},
	} {
		t.Run(name, func(t *testing.T) {
			m := hosttest.New()
			m.Disk["/etc/netplan/01-primary.yaml"] = []byte("network: {version: 2} # \"192.0.2.7\"\n")
			m.Disk["/usr/libexec/netplan/generate"] = []byte("older")
			m.Disk["/usr/lib/x86_64-linux-gnu/libnetplan.so.0.0"] = []byte("older")
			b := netplan.New(m, m)
			validate(t, b, configure(base), nil)
			if m.Asked != 1 {
				t.Fatalf("asked %d times", m.Asked)
			}
			file, data := onDisk(base)
			m.Put(t, file, []byte(data), 0o600) // it is in place now; hosttest's mode is as Steps wants it
			if test.machine != nil {
				test.machine(m)
			}
			steps, err := b.Steps(t.Context(), test.action)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Validate(t.Context(), steps); err != nil {
				t.Fatal(err)
			}
			if asked := m.Asked == 2; asked != test.asks {
				t.Errorf("asked is %v", asked)
			}
			validate(t, b, test.action, nil)
			if m.Asked > 2 {
				t.Error("asked again the second time")
			}
		})
	}
}

// Where a file of others speaks of names like ours, which of ours are there counts.
func TestValidateAsksForEachNameThatOthersMaySpeakOf(t *testing.T) {
	m := hosttest.New()
	m.Disk["/etc/netplan/50.yaml"] = []byte("network: {bridges: {multinic2: {}}}\n")
	b := netplan.New(m, m)
	for i := 1; i <= 3; i++ {
		c := config(i, "192.0.2.7/24")
		validate(t, b, configure(c), nil)
		file, data := onDisk(c)
		m.Put(t, file, []byte(data), 0o600)
		if m.Asked != i {
			t.Errorf("NIC %d: asked %d times", i, m.Asked)
		}
	}
	validate(t, b, remove(config(2, "192.0.2.7/24")), nil)
	if m.Asked != 4 {
		t.Errorf("removed: asked %d times", m.Asked)
	}
}

func validate(t *testing.T, b *netplan.Backend, a plan.Action, want error) {
	t.Helper()
	steps, err := b.Steps(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Validate(t.Context(), steps); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// The next process does not ask for what the one before was told, and asks wherever it cannot know.
func TestTheNextProcessRemembersWhatNetplanAccepted(t *testing.T) {
	const state = "/var/lib/multinicd"
	a := configure(config(1, "192.0.2.7/24"))
	for name, test := range map[string]struct {
		between func(t *testing.T, m *hosttest.Machine)
		action  plan.Action
		asks    bool
	}{
		"the same":      {nil, a, false},
		"another of it": {nil, configure(config(2, "192.0.2.8/24")), false},
		"another shape": {nil, configure(config(1, "2001:db8::7/64")), true},
		"another folder": {func(t *testing.T, m *hosttest.Machine) {
			m.Put(t, "/etc/netplan/50.yaml", []byte("network: {}\n"), 0o600)
		}, a, true},
		"no file":                      {func(_ *testing.T, m *hosttest.Machine) { delete(m.Disk, path.Join(state, netplan.MemoryFile)) }, a, true},
		"a file that others may write": {func(_ *testing.T, m *hosttest.Machine) { m.Modes[path.Join(state, netplan.MemoryFile)] = 0o620 }, a, true},
		"a file that others may read":  {func(_ *testing.T, m *hosttest.Machine) { m.Modes[path.Join(state, netplan.MemoryFile)] = 0o644 }, a, false},
		"another netplan": {func(t *testing.T, m *hosttest.Machine) {
			m.Put(t, "/usr/lib/x86_64-linux-gnu/libnetplan.so.0.0", []byte("newer"), 0o644)
		}, a, true},
		"a torn file": {func(_ *testing.T, m *hosttest.Machine) {
			m.Disk[path.Join(state, netplan.MemoryFile)] = []byte(`{"beside": "`)
		}, a, true},
		"an empty file": {func(_ *testing.T, m *hosttest.Machine) { m.Disk[path.Join(state, netplan.MemoryFile)] = nil }, a, true},
		"no word of it": {func(_ *testing.T, m *hosttest.Machine) { m.Disk[path.Join(state, netplan.MemoryFile)] = []byte("null") }, a, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := hosttest.New()
			process := func() *netplan.Backend {
				b := netplan.New(m, m)
				b.Memory = netplan.Memory{Files: m, Dir: state}
				return b
			}
			validate(t, process(), a, nil)
			if m.Asked != 1 {
				t.Fatalf("asked %d times at first", m.Asked)
			}
			if test.between != nil {
				test.between(t, m)
			}
			validate(t, process(), test.action, nil)
			if asked := m.Asked == 2; asked != test.asks {
				t.Errorf("the second process asked is %v", asked)
			}
			asked := m.Asked
			validate(t, process(), test.action, nil)
			if m.Asked != asked {
				t.Error("the third process asked again")
			}
		})
	}
}

func TestARefusalIsNotRemembered(t *testing.T) {
	m := hosttest.New()
	b := netplan.New(m, m)
	m.Refuse = errors.New("netplan refuses it")
	a := configure(config(1, "192.0.2.7/24"))
	validate(t, b, a, m.Refuse)
	validate(t, b, a, m.Refuse)
	m.Refuse = nil
	validate(t, b, a, nil)
	validate(t, b, a, nil)
	if m.Asked != 3 {
		t.Errorf("asked %d times, want 3", m.Asked)
	}
}

// Files of ours that somebody edited: a shape that was accepted must not stand for them.
func TestAnEditedFileOfOursHasAShapeOfItsOwn(t *testing.T) {
	c := config(1, "192.0.2.7/24")
	c.MTU = 1500
	_, good := onDisk(config(2, "192.0.2.9/24"))
	for name, edit := range map[string]func(s string) string{
		"an address that is none":         func(s string) string { return strings.ReplaceAll(s, "192.0.2.9/24", "192.0.2.999/24") },
		"an address without length":       func(s string) string { return strings.ReplaceAll(s, "192.0.2.9/24", "192.0.2.9") },
		"a MAC that is none":              func(s string) string { return strings.ReplaceAll(s, ":01:02", ":01:02:03") },
		"all of it in the first line":     func(string) string { return "network: {no-such-key: true}" },
		"another line behind a comment":   func(s string) string { return s + "      no-such-key: true\n" },
		"an address without its quotes":   func(s string) string { return strings.ReplaceAll(s, "\"192.0.2.9/24\"", "192.0.2.9/24") },
		"another NIC's name":              func(s string) string { return strings.ReplaceAll(s, "multinic2", "multinic12") },
		"a word in quotes in place of it": func(s string) string { return strings.ReplaceAll(s, "192.0.2.9/24", "dead") },
	} {
		t.Run(name, func(t *testing.T) {
			m := hosttest.New()
			b := netplan.New(m, m)
			file := netplan.File(config(2))
			m.Put(t, file, []byte(good), 0o600)
			validate(t, b, configure(c), nil)
			m.Put(t, file, []byte(edit(good)), 0o600)
			m.Refuse = errors.New("netplan refuses it")
			validate(t, b, configure(c), m.Refuse)
		})
	}
}

func TestKnownToNetworkd(t *testing.T) {
	c := config(1)
	for file, want := range map[string]bool{
		network1: true, former: true,
		link1: false, "/run/systemd/network/10-netplan-multinic2.network": false, "/etc/netplan/90-multinic1.yaml": false,
	} {
		m := hosttest.New()
		m.Put(t, file, nil, 0o644)
		if got := netplan.KnownToNetworkd(m, c); got != want {
			t.Errorf("%s: got %v", file, got)
		}
	}
}
