package hosttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"multinicd/networkmanager"
	"multinicd/nic"
)

// Manager is a NetworkManager in memory: it has read profiles, brings them in force on links by their MAC, and does so by itself where it reads
// one that is new and a link has none.
type Manager struct {
	Format networkmanager.ProfileFormat // for the test's own use
	// Read gives what a profile says: its UUID and what it makes of a link. Of no other file is it asked.
	Read func(file string) (uuid string, c nic.Config, err error)
	// Profiles lists the files that are there to be read at a start.
	Profiles func() []string
	// Gone: it does not run.
	Gone bool
	// Hangs: it runs, and does not answer.
	Hangs bool
	// Loses: a profile that is reapplied loses the link's IPv6 addresses, as with NetworkManager 1.42.
	Loses bool

	loaded map[string]profile // by file
	active map[int]profile    // by ifindex
	mtu    map[int]int        // by ifindex, before it was changed
	held   map[int]bool
	taken  map[int]bool // by ifindex: links that it does not manage, since somebody has told it so
}

type profile struct {
	uuid   string
	config nic.Config
}

func (m *Machine) manager(do func(n *Manager) error) error {
	return m.op(func() error {
		switch {
		case m.NM.Gone:
			return nic.ErrNoManager
		case m.NM.Hangs:
			return errors.New("no answer in time")
		}
		return do(m.NM)
	})
}

// StartManager has it read all profiles there are and bring them in force, as at boot.
func (m *Machine) StartManager() {
	n := m.NM
	n.loaded, n.active, n.mtu, n.held = map[string]profile{}, map[int]profile{}, map[int]int{}, map[int]bool{}
	n.taken = map[int]bool{}
	for i := range m.Net {
		m.Net[i].Up = true // so it is told of their carrier
		m.state(m.Net[i].Index)
	}
	for _, file := range n.Profiles() {
		_ = m.read(file)
	}
}

// NMHold implements networkmanager.Bus.
func (m *Machine) NMHold(_ context.Context, index int, _ nic.MAC, taken bool) error {
	return m.manager(func(n *Manager) error {
		if n.taken[index] && !taken {
			return fmt.Errorf("link %d is not managed", index)
		}
		n.held[index] = true
		return nil
	})
}

// NMManage implements networkmanager.Bus.
func (m *Machine) NMManage(_ context.Context, index int, _ nic.MAC, managed bool) error {
	return m.manager(func(n *Manager) error {
		if !managed {
			m.Take(index)
			return nil
		}
		delete(n.taken, index)
		m.state(index)
		m.autoconnect()
		return nil
	})
}

// Take has it leave a link alone, as nmcli device set managed no does.
func (m *Machine) Take(index int) {
	m.deactivate(index)
	m.NM.taken[index] = true
	m.state(index)
}

// Force says that a profile which it has not read is in force on a link; "" says that none is.
func (n *Manager) Force(index int, uuid string) { n.active[index] = profile{uuid: uuid} }

// NMRelease implements networkmanager.Bus.
func (m *Machine) NMRelease(context.Context) error {
	return m.manager(func(n *Manager) error { clear(n.held); return nil })
}

// Holds says whether it would take a link back by itself.
func (n *Manager) Holds(index int) bool { return n.held[index] }

// NMAwait implements networkmanager.Bus: what it does is done at once.
func (m *Machine) NMAwait(_ context.Context, index int, _ nic.MAC, uuid string) error {
	return m.manager(func(n *Manager) error {
		if now := n.active[index].uuid; uuid != "" && now != "" && now != uuid {
			return fmt.Errorf("%w on link %d: %q", nic.ErrAnotherProfile, index, now)
		}
		return nil
	})
}

// NMLoad implements networkmanager.Bus.
func (m *Machine) NMLoad(_ context.Context, files []string) error {
	return m.manager(func(*Manager) error {
		var errs []error
		for _, file := range files { // first what goes, so that a UUID may move to another file
			if _, there := m.Disk[file]; !there {
				errs = append(errs, m.read(file))
			}
		}
		for _, file := range files {
			if _, there := m.Disk[file]; there {
				errs = append(errs, m.read(file))
			}
		}
		return errors.Join(errs...)
	})
}

// read reads one profile. What is in force stays as it is, but where its profile has gone.
func (m *Machine) read(file string) error {
	n := m.NM
	if _, there := m.Disk[file]; !there {
		old, known := n.loaded[file]
		delete(n.loaded, file)
		if known && !slices.ContainsFunc(slices.Collect(maps.Values(n.loaded)), func(p profile) bool { return p.uuid == old.uuid }) {
			for index, p := range n.active {
				if p.uuid == old.uuid {
					m.deactivate(index)
				}
			}
		}
		return nil
	}
	if mode := m.Modes[file]; strings.HasSuffix(file, ".nmconnection") && mode&0o077 != 0 {
		return fmt.Errorf("%w %s: mode %o is insecure", nic.ErrProfileRefused, file, mode)
	}
	uuid, c, err := n.Read(file)
	if err != nil {
		return err
	}
	n.loaded[file] = profile{uuid, c}
	m.autoconnect()
	return nil
}

// autoconnect brings in force what it has read, on links that it manages and has nothing in force on.
func (m *Machine) autoconnect() {
	n := m.NM
	for _, file := range slices.Sorted(maps.Keys(n.loaded)) {
		for _, l := range m.Net {
			if _, busy := n.active[l.Index]; !busy && !n.taken[l.Index] && l.HasMAC(n.loaded[file].config.MAC) {
				m.bring(l.Index, n.loaded[file])
			}
		}
	}
}

// NMActivate implements networkmanager.Bus.
func (m *Machine) NMActivate(_ context.Context, index int, mac nic.MAC, uuid string) (known bool, err error) {
	err = m.manager(func(n *Manager) error {
		i := slices.IndexFunc(m.Net, func(l nic.Link) bool { return l.Index == index && l.HasMAC(mac) })
		if i < 0 {
			i = slices.IndexFunc(m.Net, func(l nic.Link) bool { return l.HasMAC(mac) })
		}
		if i < 0 {
			return nic.ErrLinkGone
		}
		for _, file := range slices.Sorted(maps.Keys(n.loaded)) {
			if p := n.loaded[file]; p.uuid == uuid {
				known = true
				again := n.active[m.Net[i].Index].uuid == uuid
				m.bring(m.Net[i].Index, p)
				if again && n.Loses {
					m.Net[i].Addresses = slices.DeleteFunc(m.Net[i].Addresses, func(a nic.Address) bool { return a.Prefix.Addr().Is6() })
				}
			}
		}
		return nil
	})
	return known, err
}

// NMLeft implements networkmanager.Bus.
func (m *Machine) NMLeft(_ context.Context, index int, _ nic.MAC, uuid string) error {
	return m.manager(func(n *Manager) error {
		if n.active[index].uuid == uuid {
			return fmt.Errorf("profile %s is in force on link %d still", uuid, index)
		}
		return nil
	})
}

// bring brings a profile in force in place of what was.
func (m *Machine) bring(index int, p profile) {
	if now, busy := m.NM.active[index]; busy && now.uuid == p.uuid && now.config.Equal(p.config) {
		return
	}
	m.deactivate(index)
	l, _ := m.link(index)
	if p.config.MTU != 0 {
		m.NM.mtu[index] = l.MTU
		l.MTU = p.config.MTU
	}
	l.Up = true
	for _, a := range p.config.Addresses {
		l.Addresses = slices.DeleteFunc(l.Addresses, func(h nic.Address) bool { return h.Prefix == a })
		l.Addresses = append(l.Addresses, nic.Address{Prefix: a, Permanent: true})
	}
	for _, r := range p.config.Routes {
		l.Routes = slices.DeleteFunc(l.Routes, func(h nic.Route) bool { return h.Key() == r.Key() })
		l.Routes = append(l.Routes, r)
	}
	for _, r := range p.config.Rules {
		if !slices.Contains(m.Rules, r) {
			m.Rules = append(m.Rules, r)
		}
	}
	m.NM.active[index] = p
	m.state(index)
}

func (m *Machine) deactivate(index int) {
	p, busy := m.NM.active[index]
	l, err := m.link(index)
	if !busy || err != nil {
		return
	}
	if mtu := m.NM.mtu[index]; mtu != 0 {
		l.MTU = mtu
	}
	l.Addresses = slices.DeleteFunc(l.Addresses, func(h nic.Address) bool {
		return slices.ContainsFunc(p.config.Addresses, func(a netip.Prefix) bool { return a == h.Prefix })
	})
	l.Routes = slices.DeleteFunc(l.Routes, func(h nic.Route) bool {
		return slices.ContainsFunc(p.config.Routes, func(r nic.Route) bool { return r.Key() == h.Key() })
	})
	m.Rules = slices.DeleteFunc(m.Rules, func(r nic.Rule) bool { return slices.Contains(p.config.Rules, r) })
	delete(m.NM.active, index)
	delete(m.NM.mtu, index)
	m.state(index)
}

// state writes what NetworkManager writes of a link.
func (m *Machine) state(index int) {
	file, data := fmt.Sprintf("/run/NetworkManager/devices/%d", index), fmt.Sprintf("[device]\nmanaged=%t\n", !m.NM.taken[index])
	if p, busy := m.NM.active[index]; busy {
		data += "connection-uuid=" + p.uuid + "\n"
	}
	m.Disk[file], m.Modes[file] = []byte(data), 0o644
}

// text is what it has in memory.
func (n *Manager) text() string {
	var b strings.Builder
	for _, file := range slices.Sorted(maps.Keys(n.loaded)) {
		fmt.Fprintf(&b, "loaded %s %+v\n", file, n.loaded[file])
	}
	for _, index := range slices.Sorted(maps.Keys(n.active)) {
		fmt.Fprintf(&b, "active %d %+v\n", index, n.active[index])
	}
	fmt.Fprintf(&b, "held %v\n", slices.Sorted(maps.Keys(n.held)))
	fmt.Fprintf(&b, "taken %v\n", slices.Sorted(maps.Keys(n.taken)))
	return b.String()
}
