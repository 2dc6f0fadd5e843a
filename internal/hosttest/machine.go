// Package hosttest is a fake machine for injecting faults: links, files and a validator in memory, which can fail, or end the process, at
// any operation.
//
// In go the operations of apply.Links and apply.Files; out comes the whole machine as text, to be compared before and after.
//
// It must not be used for a happy path that the real test bed can walk, and it decides nothing that the kernel would decide otherwise.
// Files and NeedRoot stand beside it, for tests of the real thing.
//
// Start reading at Machine.
package hosttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"

	"multinicd/internal/apply"
	"multinicd/nic"
	"multinicd/plan"
	"multinicd/plan/lifeline"
)

// ErrInjected is what an operation answers that was told to fail.
var ErrInjected = errors.New("injected fault")

// Crash is what an operation panics with that was told to end the process.
type Crash struct{ Op int }

// Machine is a host in memory. One goroutine uses it at a time.
type Machine struct {
	Net       []nic.Link
	Rules     []nic.Rule
	Disk      map[string][]byte
	Modes     map[string]fs.FileMode
	Lifelines []lifeline.Path
	Named     []nic.MAC // see Wanted

	// FailAt and CrashAt count operations that change something, from 1; 0: never. A crash comes before the operation has any effect,
	// CrashAfter lets it come after.
	FailAt, CrashAt int
	CrashAfter      bool
	Ops             int
	at              func(op int)
	// FailFrom lets that operation fail and all after it, until it is set back to 0.
	FailFrom int

	// Unreadable is a file of which the disk gives nothing.
	Unreadable string

	// RenameBusy: the kernel does not rename a link that is up.
	RenameBusy bool

	// Neighbours hold addresses.
	Neighbours map[netip.Addr]nic.MAC

	// Doubles are what the kernel has found in use, on links that may not have them any more.
	Doubles []netip.Addr

	// Refuse is what the host's tool answers about files; nil: accepted. Where Slips is set, the
	// first operation behind a refusal fails.
	Refuse error
	Slips  bool
	// Asked counts questions to the host's tool.
	Asked int

	// NM is the network manager; nil: there is none that does anything.
	NM *Manager
	// Networkd takes over what netlink has done, where it is asked; nil: it is not.
	Networkd *Networkd
	// InMind are the files by which networkd has configured links, by ifindex.
	InMind map[int]string
}

// New gives a machine with the links.
func New(links ...nic.Link) *Machine {
	return &Machine{Net: links, Disk: map[string][]byte{}, Modes: map[string]fs.FileMode{}}
}

// At has f called right before the n-th operation; of 0 none is.
func (m *Machine) At(n int, f func()) {
	m.at = func(op int) {
		if op == n {
			f()
		}
	}
}

// op runs one changing operation, or fails or crashes in its place.
func (m *Machine) op(do func() error) error {
	m.Ops++
	if m.at != nil {
		m.at(m.Ops)
	}
	if m.Ops == m.FailAt || m.FailFrom > 0 && m.Ops >= m.FailFrom {
		return ErrInjected
	}
	crash := m.Ops == m.CrashAt
	if crash && !m.CrashAfter {
		panic(Crash{m.Ops})
	}
	err := do()
	if crash {
		panic(Crash{m.Ops})
	}
	return err
}

// Reboot forgets what no boot keeps: every link is new, and down, and /run is empty. See StartManager for who configures them.
func (m *Machine) Reboot() {
	for i := range m.Net {
		l := &m.Net[i]
		l.Index += 1000
		l.Addresses, l.Routes, l.Conf = nil, nil, nic.Conf{}
	}
	m.Rules = nil
	for name := range m.Disk {
		if strings.HasPrefix(name, "/run/") {
			delete(m.Disk, name)
		}
	}
	if m.Networkd != nil {
		m.Networkd.had = nil
	}
	if m.NM != nil {
		m.NM.loaded, m.NM.active, m.NM.mtu, m.NM.held = nil, nil, nil, nil
	}
}

// Text is the whole machine but for what only multinicd reads, below state.
func (m *Machine) Text(state string) string {
	var b strings.Builder
	for _, l := range m.Net {
		fmt.Fprintf(&b, "link %s mac %s up %v mtu %d", l.Name, l.MAC, l.Up, l.MTU)
		addrs := []string{}
		for _, a := range l.Addresses {
			addrs = append(addrs, a.Prefix.String())
		}
		slices.Sort(addrs)
		routes := []string{}
		for _, r := range l.Routes {
			routes = append(routes, r.String())
		}
		slices.Sort(routes)
		fmt.Fprintf(&b, " addresses %v routes %v %s", addrs, routes, l.Conf)
		if l.Conf6 != nil {
			fmt.Fprintf(&b, " %s", l.Conf6)
		}
		b.WriteString("\n")
	}
	rules := []string{}
	for _, r := range m.Rules {
		rules = append(rules, r.String())
	}
	slices.Sort(rules)
	fmt.Fprintf(&b, "rules %v\n", rules)
	for _, name := range slices.Sorted(maps.Keys(m.Disk)) {
		if !strings.HasPrefix(name, state+"/") {
			fmt.Fprintf(&b, "file %s %o\n%s\n", name, m.Modes[name], m.Disk[name])
		}
	}
	if m.NM != nil {
		b.WriteString(m.NM.text())
	}
	return b.String()
}

func (m *Machine) link(index int) (*nic.Link, error) {
	for i := range m.Net {
		if m.Net[i].Index == index {
			return &m.Net[i], nil
		}
	}
	return nil, nic.ErrLinkGone
}

// Link implements apply.Links.
func (m *Machine) Link(_ context.Context, index int) (nic.Link, error) {
	l, err := m.link(index)
	if err != nil {
		return nic.Link{}, err
	}
	out := *l
	out.Rules = slices.Clone(m.Rules)
	return out, nil
}

// Wanted implements daemon.Machine.
func (m *Machine) Wanted(named []nic.MAC) { m.Named = named }

// LookAt gives the same as Look: nobody but a test says who claims a link.
func (m *Machine) LookAt(ctx context.Context, _ int) (plan.View, error) { return m.Look(ctx) }

// Look gives the machine to the planner.
func (m *Machine) Look(context.Context) (plan.View, error) {
	out := plan.View{Lifelines: m.Lifelines, Named: m.Named}
	for _, l := range m.Net {
		l.Addresses, l.Routes, l.Rules = slices.Clone(l.Addresses), slices.Clone(l.Routes), slices.Clone(m.Rules)
		out.Links = append(out.Links, l)
	}
	return out, nil
}

func (m *Machine) guard(index int) error {
	l, err := m.link(index)
	if err != nil {
		return err
	}
	now, _ := m.Look(context.Background()) // which never fails
	if r := plan.Guard(*l, now); r != nil {
		return &plan.RefusalError{Refusal: *r}
	}
	return nil
}

// Free implements apply.Links.
func (m *Machine) Free(_ context.Context, _ int, addrs []netip.Addr) error {
	for _, a := range addrs {
		if who, ok := m.Neighbours[a]; ok {
			return fmt.Errorf("%s has %s: %w", who, a, apply.ErrAddressInUse)
		}
	}
	return nil
}

// Duplicates implements apply.Links.
func (m *Machine) Duplicates(int) (found func() []netip.Addr, stop func(), err error) {
	return func() []netip.Addr { return m.Doubles }, func() {}, nil
}

// Change implements apply.Links.
func (m *Machine) Change(ctx context.Context, c nic.Change) error {
	if err := m.guard(c.Index); err != nil {
		return err
	}
	return m.Restore(ctx, c)
}

// Restore implements apply.Links.
func (m *Machine) Restore(_ context.Context, c nic.Change) error {
	return m.op(func() error {
		l, err := m.link(c.Index)
		if err != nil {
			return err
		}
		if c.Name != "" && l.Name != c.Name {
			if m.RenameBusy && l.Up {
				return nic.ErrRenameBusy
			}
			if slices.ContainsFunc(m.Net, func(o nic.Link) bool { return o.Answers(c.Name) }) {
				return fmt.Errorf("renaming %s to %s: %w", l.Name, c.Name, nic.ErrNameTaken)
			}
			l.Name = c.Name
		}
		if c.MTU != 0 {
			l.MTU = c.MTU
		}
		l.Up = (l.Up || c.Up) && !c.Down
		for _, a := range c.Del {
			l.Addresses = slices.DeleteFunc(l.Addresses, func(h nic.Address) bool { return h.Prefix == a })
		}
		for _, a := range c.Add {
			if !slices.ContainsFunc(l.Addresses, func(h nic.Address) bool { return h.Prefix == a }) {
				t := c.Term(a)
				l.Addresses = append(l.Addresses, nic.Address{Prefix: a, Permanent: t == nic.Lifetime{}, Lifetime: t})
			}
		}
		for _, t := range c.Extends() {
			for i, a := range l.Addresses {
				if a.Prefix == t.Address {
					l.Addresses[i].Permanent, l.Addresses[i].Lifetime = t.Now == nic.Lifetime{}, t.Now
				}
			}
		}
		if c.Conf != nil {
			l.Conf = *c.Conf
		}
		if c.Conf6 != nil && l.Conf6 != nil {
			conf := *c.Conf6
			l.Conf6 = &conf
		}
		l.Addresses = slices.DeleteFunc(l.Addresses, func(h nic.Address) bool { return h.Advertised && slices.Contains(c.Advertised, h.Prefix) })
		l.Routes = slices.DeleteFunc(l.Routes, func(h nic.Route) bool { return slices.Contains(c.AdvertisedRoutes, h) })
		for _, r := range c.DelRoutes {
			l.Routes = slices.DeleteFunc(l.Routes, func(h nic.Route) bool { return h.Key() == r.Key() && (r.Protocol == 0 || h.Protocol == r.Protocol) })
		}
		for _, r := range c.AddRoutes {
			if r.Source.IsValid() && !slices.ContainsFunc(l.Addresses, func(h nic.Address) bool { return h.Prefix.Addr() == r.Source }) {
				if r.Protocol != 0 { // of an undo: it has gone with its source
					continue
				}
				return fmt.Errorf("adding route %s: invalid argument", r)
			}
			if !slices.ContainsFunc(l.Routes, func(h nic.Route) bool { return h.Key() == r.Key() }) {
				l.Routes = append(l.Routes, r)
			}
		}
		for _, r := range c.AddRules {
			if !slices.Contains(m.Rules, r) {
				m.Rules = append(m.Rules, r)
			}
		}
		m.Rules = slices.DeleteFunc(m.Rules, func(r nic.Rule) bool { return slices.Contains(c.DelRules, r) })
		return nil
	})
}

// Read implements apply.Files.
func (m *Machine) Read(name string) ([]byte, fs.FileMode, error) {
	data, ok := m.Disk[name]
	if name == m.Unreadable {
		return nil, 0, fmt.Errorf("reading %s: %w", name, ErrInjected)
	}
	if !ok {
		return nil, 0, fmt.Errorf("reading %s: %w", name, fs.ErrNotExist)
	}
	return bytes.Clone(data), m.Modes[name], nil
}

// Glob implements netplan.Files.
func (m *Machine) Glob(pattern string) ([]string, error) {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m.Disk)) {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, name)
		}
	}
	return out, nil
}

// Write implements apply.Files.
func (m *Machine) Write(name string, data []byte, mode fs.FileMode) error {
	return m.op(func() error {
		m.Disk[name], m.Modes[name] = bytes.Clone(data), mode
		return nil
	})
}

// Remove implements apply.Files.
func (m *Machine) Remove(name string) error {
	return m.op(func() error {
		delete(m.Disk, name)
		return nil
	})
}

// NetworkdFile implements netplan.Bus.
func (m *Machine) NetworkdFile(index int) string { return m.InMind[index] }

// NetplanValidate implements netplan.Bus.
func (m *Machine) NetplanValidate(context.Context, map[string][]byte) error {
	m.Asked++
	err := m.op(func() error { return m.Refuse })
	if err != nil && m.Slips {
		m.FailAt = m.Ops + 1
	}
	return err
}
