package host

import (
	"bytes"
	"maps"
	"path"
	"slices"
	"strings"

	"multinicd/nic"

	"go.yaml.in/yaml/v3"
)

// formers is what the former agent left for one link.
type formers struct {
	files []string // sorted
	ids   []string // of netplan's definitions in them
}

// ourMark stands in every file of ours. Some of the former agent have names that ours have too.
const ourMark = "Written by multinicd"

// Former lists the files of the former agent that speak of the link, and of nothing else; sorted. They have its names (nic.FormerFiles).
func (h *Host) Former(l nic.Link) ([]string, error) {
	f, err := h.former(l)
	return f.files, err
}

func (h *Host) former(l nic.Link) (out formers, err error) {
	for _, pattern := range nic.FormerFiles {
		names, err := h.Glob(pattern)
		if err != nil {
			return formers{}, err
		}
		for _, name := range names {
			if ids, ok := h.speaksOnlyOf(name, l); ok {
				out.files, out.ids = append(out.files, name), append(out.ids, ids...)
			}
		}
	}
	slices.Sort(out.files)
	return out, nil
}

// speaksOnlyOf says whether all that a file configures is the link, by its MAC or by a name that only the agent or we can have given it.
func (h *Host) speaksOnlyOf(file string, l nic.Link) (ids []string, ok bool) {
	data, _, err := h.Read(file)
	if err != nil || bytes.Contains(data, []byte(ourMark)) {
		return nil, false
	}
	parse := parseIfcfg
	switch path.Ext(file) {
	case ".yaml":
		if parse = parseNetplan; !onlyEthernets(data) {
			return nil, false
		}
	case ".link": // which has the conditions of a .network
		parse = parseNetwork
	case ".nmconnection":
		parse = parseKeyfile
	}
	definitions, err := parse(file, data)
	if err != nil || len(definitions) == 0 {
		return nil, false
	}
	for _, d := range definitions {
		byMAC := len(d.macs) == 1 && l.HasMAC(d.macs[0])
		byName := d.macs == nil && len(d.names) == 1 && d.names[0] == l.Name && strings.HasPrefix(l.Name, nic.NamePrefix)
		if !byMAC && !byName {
			return nil, false
		}
		ids = append(ids, d.id)
	}
	return ids, true
}

// onlyEthernets says whether a file of netplan's makes nothing but Ethernet links: no bridge, say, that would lose its port.
func onlyEthernets(data []byte) bool {
	var tree struct{ Network map[string]yaml.Node }
	if err := yaml.Unmarshal(data, &tree); err != nil {
		return false
	}
	for key := range maps.Keys(tree.Network) {
		if !slices.Contains([]string{"version", "renderer", "ethernets"}, key) {
			return false
		}
	}
	return true
}

// left says whether the former agent left a file for the link, or netplan's generator made it of such a one.
func (f formers) left(file string) bool {
	return slices.Contains(f.files, file) || slices.ContainsFunc(f.ids, func(id string) bool {
		return file == "/run/systemd/network/10-netplan-"+id+".network" || file == "/run/NetworkManager/system-connections/netplan-"+id+".nmconnection"
	})
}
