package netplan

import (
	"net/netip"
	"strings"

	"go.yaml.in/yaml/v3"

	"multinicd/internal/filestep"
	"multinicd/networkmanager"
	"multinicd/nic"
)

// Written gives the addresses that our files of a NIC have now, whoever wrote them there: the YAML,
// and what netplan's generator has made of it for networkd or NetworkManager. What cannot be read
// has none. An address may be there twice.
func Written(f filestep.Files, c nic.Config) (out []netip.Prefix) {
	data, _, err := f.Read(File(c))
	if err == nil {
		out = append(out, inYAML(data)...)
	}
	for _, id := range []string{ID(c), formerID(c)} {
		network, _ := runtimeFiles(id)
		if data, _, err := f.Read(network); err == nil {
			out = append(out, inNetwork(data)...)
		}
		if data, _, err := f.Read(profileFile(id)); err == nil {
			out = append(out, networkmanager.InKeyfile(data)...)
		}
	}
	return out
}

// inYAML reads no more than addresses: netplan takes much that Read refuses, such as an address
// with a label.
func inYAML(data []byte) (out []netip.Prefix) {
	var tree struct {
		Network struct {
			Ethernets map[string]struct{ Addresses []yaml.Node }
		}
	}
	if yaml.Unmarshal(data, &tree) != nil {
		return nil
	}
	for _, d := range tree.Network.Ethernets {
		for _, n := range d.Addresses {
			if n.Kind == yaml.MappingNode && len(n.Content) > 0 {
				n = *n.Content[0]
			}
			if p, err := netip.ParsePrefix(n.Value); err == nil {
				out = append(out, p)
			}
		}
	}
	return out
}

// inNetwork reads a file of networkd: systemd.network(5).
func inNetwork(data []byte) (out []netip.Prefix) {
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, "=")
		if p, err := netip.ParsePrefix(strings.TrimSpace(value)); err == nil && strings.TrimSpace(key) == "Address" {
			out = append(out, p)
		}
	}
	return out
}
