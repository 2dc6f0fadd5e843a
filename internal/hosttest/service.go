package hosttest

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"multinicd/nic"
)

// Networkd is a networkd in memory: it knows what files said when it read them last, and takes links in hand by their name or MAC. What it has in mind is no part
// of Machine.Text.
type Networkd struct {
	// Activation says whom the backend under test asks.
	Activation string
	// Read gives what all files that count say, by the name of the link or by its MAC.
	Read func(disk map[string][]byte) map[string]nic.Config
	// Unsafe: asked to read its files, it would touch others.
	Unsafe string
	// Breaks: it takes the addresses away that it should have given, and says that it is done.
	Breaks bool
	Asked  int

	had map[string]nic.Config
}

// NetworkdReload implements node.ServiceBus.
func (m *Machine) NetworkdReload(context.Context, int, string, string, func(string) bool) (unsafe string, err error) {
	if m.Networkd.Unsafe != "" {
		return m.Networkd.Unsafe, nil
	}
	return "", m.op(m.takeInHand)
}

// NetworkdLetGo implements node.ServiceBus.
func (m *Machine) NetworkdLetGo(context.Context, int, func(string) bool) (unsafe string, err error) {
	return "", nil
}

// NetplanApply implements node.ServiceBus.
func (m *Machine) NetplanApply(context.Context) error { return m.op(m.takeInHand) }

// NetworkdDone implements node.ServiceBus.
func (m *Machine) NetworkdDone(context.Context, int, string) error {
	return m.op(func() error { return nil })
}

// takeInHand makes each link what its file says, whole, and takes what it gave from those that have none any more.
func (m *Machine) takeInHand() error {
	n := m.Networkd
	n.Asked++
	now := n.Read(m.Disk)
	for i := range m.Net {
		l := &m.Net[i]
		c, wanted := of(now, l)
		old, had := of(n.had, l)
		switch {
		case wanted && (!had || !old.Equal(c)):
			l.Addresses, l.Routes = nil, nil
			for _, a := range c.Addresses {
				if !n.Breaks {
					l.Addresses = append(l.Addresses, nic.Address{Prefix: a, Permanent: true})
				}
			}
			l.Routes = append(l.Routes, c.Routes...)
		case had && !wanted:
			l.Addresses = slices.DeleteFunc(l.Addresses, func(h nic.Address) bool {
				return slices.ContainsFunc(old.Addresses, func(a netip.Prefix) bool { return a == h.Prefix })
			})
			l.Routes = nil
		}
	}
	n.had = maps.Clone(now)
	return nil
}

// of gives what files say of a link, by its name or by its MAC.
func of(said map[string]nic.Config, l *nic.Link) (nic.Config, bool) {
	c, ok := said[l.Name]
	if !ok {
		c, ok = said[l.MAC.String()]
	}
	return c, ok
}

// NetworkFiles reads the .network files of dir as netplan's generator writes them: addresses and routes, by what they match. Of two files that
// match the same, the first counts.
func NetworkFiles(dir string, disk map[string][]byte) map[string]nic.Config {
	out := map[string]nic.Config{}
	for _, file := range slices.Sorted(maps.Keys(disk)) {
		data := disk[file]
		if !strings.HasPrefix(file, dir+"/") || !strings.HasSuffix(file, ".network") {
			continue
		}
		name, section, c := "", "", nic.Config{}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "[") {
				section = line
				if section == "[Route]" {
					c.Routes = append(c.Routes, nic.Route{})
				}
				continue
			}
			key, value, _ := strings.Cut(line, "=")
			number, _ := strconv.Atoi(value)
			switch {
			case section == "[Match]" && key != "":
				name = value
			case key == "Address":
				c.Addresses = append(c.Addresses, netip.MustParsePrefix(value))
			case section != "[Route]":
			default:
				r := &c.Routes[len(c.Routes)-1]
				switch key {
				case "Destination":
					r.To = netip.MustParsePrefix(value)
				case "Gateway":
					r.Via = netip.MustParseAddr(value)
				case "GatewayOnLink":
					r.OnLink = true
				case "PreferredSource":
					r.Source = netip.MustParseAddr(value)
				case "Table":
					r.Table = number
				case "Metric":
					r.Metric = number
				}
			}
		}
		if _, ok := out[name]; !ok {
			out[name] = c
		}
	}
	return out
}
