package survey

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"strings"

	"multinicd/host"
	"multinicd/nic"

	"go.yaml.in/yaml/v3"
)

// source is a kind of file that configures links.
type source struct {
	patterns []string             // the first folder wins
	except   []string             // patterns of names left out
	read     func(s *Survey) bool // whether somebody reads such files on this host
	shadows  bool                 // a file hides those of its name in later folders
	parse    func(file string, data []byte) ([]definition, error)
}

var sources = []source{
	{ // netplan(5)
		patterns: []string{"/etc/netplan/*.yaml", "/run/netplan/*.yaml", "/lib/netplan/*.yaml"},
		read:     netplanReads,
		shadows:  true,
		parse:    parseNetplan,
	},
	{ // systemd.network(5). What netplan generated stands in its YAML, and in networkd's state.
		patterns: []string{"/etc/systemd/network/*.network", "/run/systemd/network/*.network", "/usr/local/lib/systemd/network/*.network", "/usr/lib/systemd/network/*.network"},
		except:   []string{"10-netplan-*"},
		read:     networkdReads,
		shadows:  true,
		parse:    parseNetwork,
	},
	{ // nm-settings-keyfile(5)
		patterns: []string{"/etc/NetworkManager/system-connections/*", "/run/NetworkManager/system-connections/*", "/usr/lib/NetworkManager/system-connections/*"},
		except:   []string{".*", "*~", "*.bak"},
		read:     managerReads,
		shadows:  true,
		parse:    parseKeyfile,
	},
	{ // nm-settings-ifcfg-rh(5)
		patterns: []string{"/etc/sysconfig/network-scripts/ifcfg-*"},
		except:   []string{"*~", "*.bak", "*.old", "*.orig", "*.rpmnew", "*.rpmorig", "*.rpmsave", "ifcfg-lo"},
		read:     ifcfgReads,
		parse:    parseIfcfg,
	},
	{ // interfaces(5)
		patterns: []string{"/etc/network/interfaces", "/etc/network/interfaces.d/*"},
		read:     ifupdownReads,
		parse:    parseInterfaces,
	},
}

// one is a YAML scalar or a list of them.
type one []string

func (o *one) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*o = one{n.Value}
		return nil
	}
	return n.Decode((*[]string)(o))
}

// netplanTree is what counts here of a file of netplan's.
type netplanTree struct {
	Network struct {
		Renderer  string
		Ethernets map[string]yaml.Node // also "renderer", for all of them
	}
}

// ethernet is a definition of netplan's.
type ethernet struct {
	Renderer string
	Match    *struct {
		MAC    string `yaml:"macaddress"`
		Name   one    `yaml:"name"`
		Driver one    `yaml:"driver"`
	}
}

func parseNetplan(file string, data []byte) ([]definition, error) {
	var tree netplanTree
	if err := yaml.Unmarshal(data, &tree); err != nil {
		return nil, err
	}
	renderer := tree.Network.Ethernets["renderer"].Value
	var out []definition
	for id, node := range tree.Network.Ethernets {
		if node.Kind == yaml.ScalarNode && node.Tag != "!!null" {
			continue // said of all
		}
		var e ethernet
		if err := node.Decode(&e); err != nil {
			return nil, err
		}
		d := definition{owner: "netplan", file: file, id: id, names: []string{id}, renderer: cmp.Or(e.Renderer, renderer)}
		if e.Match != nil {
			d.names, d.drivers = e.Match.Name, e.Match.Driver
			if e.Match.MAC != "" {
				m, err := nic.ParseMAC(e.Match.MAC)
				if err != nil {
					return nil, err
				}
				d.macs = []nic.MAC{m}
			}
		}
		out = append(out, d)
	}
	return out, nil
}

// parseNetwork reads the [Match] section of a networkd unit. Conditions that it does not know are taken for met.
func parseNetwork(file string, data []byte) ([]definition, error) {
	d := definition{owner: "networkd", file: file, id: strings.TrimSuffix(path.Base(file), ".network"), firstWins: true}
	conditions := false
	err := host.Ini(data, func(section, key, value string) error {
		switch section + "." + key {
		case "Match.MACAddress", "Match.PermanentMACAddress":
			conditions = true
			for _, f := range strings.Fields(value) {
				m, err := nic.ParseMAC(f)
				if err != nil {
					return err
				}
				d.macs = append(d.macs, m)
			}
		case "Match.Name", "Match.OriginalName":
			conditions = true
			fields := strings.Fields(value)
			if len(fields) > 0 && strings.HasPrefix(fields[0], "!") { // the mark is for the whole list
				for i := range fields {
					fields[i] = "!" + strings.TrimPrefix(fields[i], "!")
				}
			}
			d.names = append(d.names, fields...)
		case "Match.Driver":
			conditions = true
			d.drivers = append(d.drivers, strings.Fields(value)...)
		case "Match.Type":
			// Ethernet NICs are the only links we ask about that a type could mean.
			conditions = true
			if !strings.HasPrefix(value, "!") && !strings.Contains(value, "ether") && value != "*" {
				d.names = []string{}
			}
		case "Match.Kind":
			conditions = true
			if !strings.HasPrefix(value, "!") && value != "*" {
				d.names = []string{} // NICs have no kind
			}
		case "Link.Unmanaged":
			d.unmanaged = host.Truth(value)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !conditions {
		return nil, nil // networkd ignores a unit without conditions
	}
	return []definition{d}, nil
}

func parseKeyfile(file string, data []byte) ([]definition, error) {
	d := definition{owner: "NetworkManager", file: file, id: strings.TrimSuffix(path.Base(file), ".nmconnection")}
	kind, method, generated, external := "", "", false, false
	err := host.Ini(data, func(section, key, value string) error {
		switch section + "." + key {
		case "connection.id":
			d.id = value
		case "connection.uuid":
			d.uuid = value
		case "connection.type":
			kind = value
		case ".nmmeta.nm-generated":
			generated = host.Truth(value)
		case ".nmmeta.external": // 1.42, November 2026
			external = host.Truth(value)
		case "ipv4.method":
			method = value
		case "user.org.freedesktop.NetworkManager.origin":
			d.author = keyfileOrigins[value]
		case "connection.interface-name":
			d.names = []string{value}
		case "ethernet.mac-address", "802-3-ethernet.mac-address":
			m, err := keyfileMAC(value)
			if err != nil {
				return err
			}
			d.macs = []nic.MAC{m}
		}
		return nil
	})
	// NetworkManager also writes down what somebody else has set on a link, by ip(8) say: that is no claim of its own.
	seen := external || generated && method == "manual"
	if err != nil || seen || kind != "ethernet" && kind != "802-3-ethernet" {
		return nil, err
	}
	// Whoever has given such a profile an address meant it.
	alone := generated || automatic().MatchString(d.id) && method != "manual"
	if alone {
		d.author = byItself
	}
	// A profile without either is for any NIC that has no better one: it is no claim to this one, unless it is in force there. One that came by
	// itself goes by itself, too.
	d.anyLink = d.names == nil && d.macs == nil || alone || d.author == keyfileOrigins["nm-initrd-generator"]
	return []definition{d}, nil
}

// keyfileMAC reads both forms: "02:00:00:00:01:01", and the bytes in decimal with ';' between them.
func keyfileMAC(s string) (nic.MAC, error) {
	var b nic.MAC
	if n, err := fmt.Sscanf(s, "%d;%d;%d;%d;%d;%d", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]); err == nil && n == len(b) {
		return b, nil
	}
	return nic.ParseMAC(s)
}

func parseIfcfg(file string, data []byte) ([]definition, error) {
	d := definition{owner: "NetworkManager", file: file, id: strings.TrimPrefix(path.Base(file), "ifcfg-")}
	if bytes.HasPrefix(data, []byte("# Created by cloud-init")) {
		d.author = "cloud-init"
	}
	err := host.Lines(data, func(line string) error {
		key, value, _ := strings.Cut(line, "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "DEVICE":
			d.names = []string{value}
		case "HWADDR":
			m, err := nic.ParseMAC(value)
			if err != nil {
				return err
			}
			d.macs = []nic.MAC{m}
		case "NAME":
			d.id = value
		case "UUID":
			d.uuid = value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.anyLink = d.names == nil && d.macs == nil
	return []definition{d}, nil
}

func parseInterfaces(file string, data []byte) ([]definition, error) {
	var out []definition
	err := host.Lines(data, func(line string) error {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "iface" && f[1] != "lo" {
			out = append(out, definition{owner: "ifupdown", file: file, id: f[1], names: []string{f[1]}})
		}
		return nil
	})
	return out, err
}
