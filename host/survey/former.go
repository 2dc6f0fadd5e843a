package survey

import (
	"bytes"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"multinicd/nic"

	"go.yaml.in/yaml/v3"
)

// formers is what the former agent left for one link.
type formers struct {
	files []string // sorted
	ids   []string // of netplan's definitions in them
}

// Former lists the files of the former agent that speak of the link, and of nothing else; sorted. They have its names (nic.FormerFiles).
func (s *Survey) Former(l nic.Link) ([]string, error) {
	files, err := s.formerFiles()
	return files.of(l).files, err
}

// Formers is the same for many links, by ifindex; those of which nothing was left are not in it.
func (s *Survey) Formers(links []nic.Link) (map[int][]string, error) {
	files, err := s.formerFiles()
	out := map[int][]string{}
	for _, l := range links {
		if f := files.of(l).files; f != nil {
			out[l.Index] = f
		}
	}
	return out, err
}

// formerCache keeps what stands in the files that may be of the former agent, by path.
type formerCache struct {
	sync.Mutex
	files formerFiles
}

type formerFiles map[string]parsed

// formerFiles reads a file again only if it has changed: with 64 NICs there are as many files, most of them ours.
func (s *Survey) formerFiles() (formerFiles, error) {
	s.formers.Lock()
	defer s.formers.Unlock()
	out := formerFiles{}
	for _, pattern := range nic.FormerFiles {
		names, err := s.host.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			at, err := s.stamp(name)
			if err != nil {
				continue // it is gone, or Claims tells why it cannot be read
			}
			if old, ok := s.formers.files[name]; ok && old.stamp == at {
				out[name] = old
				continue
			}
			if data, at, err := s.steady(name, at); err == nil {
				out[name] = parsed{stamp: at, definitions: formerDefinitions(name, data)}
			} // else it is nothing of the former agent's that can be relied on, and read again the next time
		}
	}
	s.formers.files = out // forgets what is gone
	return out, nil
}

// formerDefinitions gives what a file configures; nil where that is nothing, or the file is ours.
func formerDefinitions(file string, data []byte) []definition {
	if bytes.Contains(data, []byte(nic.Mark)) {
		return nil
	}
	parse := parseIfcfg
	switch path.Ext(file) {
	case ".yaml":
		if parse = parseNetplan; !onlyEthernets(data) {
			return nil
		}
	case ".link": // which has the conditions of a .network
		parse = parseNetwork
	case ".nmconnection":
		parse = parseKeyfile
	}
	definitions, err := parse(file, data)
	if err != nil {
		return nil
	}
	return definitions
}

// of gives those that speak of the link, and of nothing else.
func (f formerFiles) of(l nic.Link) (out formers) {
	for name, file := range f {
		if ids, ok := speakOnlyOf(file.definitions, l); ok {
			out.files, out.ids = append(out.files, name), append(out.ids, ids...)
		}
	}
	slices.Sort(out.files)
	return out
}

// speakOnlyOf says whether all that a file configures is the link, by its MAC or by a name that only the agent or we can have given it.
func speakOnlyOf(definitions []definition, l nic.Link) (ids []string, ok bool) {
	for _, d := range definitions {
		byMAC := len(d.macs) == 1 && l.HasMAC(d.macs[0])
		byName := d.macs == nil && len(d.names) == 1 && d.names[0] == l.Name && strings.HasPrefix(l.Name, nic.NamePrefix)
		if !byMAC && !byName {
			return nil, false
		}
		ids = append(ids, d.id)
	}
	return ids, len(definitions) > 0
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
		return file == networkdFile(id) || file == managerFile(id)
	})
}
