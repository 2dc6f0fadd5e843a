package survey

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"multinicd/host"
)

// CNI is a container network that chooses an interface of this host for the traffic of Pods.
type CNI struct {
	Name string // "Calico", "Cilium" or "flannel"
	File string // its configuration
	Told string // how we know that somebody tells it which interface to take; "": it may choose
}

// cniFiles are the folders in which container runtimes look for networks. k3s and MicroK8s have their own.
var cniFiles = []string{"/etc/cni/net.d/*", "/var/lib/rancher/k3s/agent/etc/cni/net.d/*", "/var/snap/microk8s/current/args/cni-network/*"}

// chooser is a container network, and how its program is told an interface.
type chooser struct {
	name    string
	plugin  string // type of its CNI plugin
	program string // /proc/PID/comm
	// setting finds, among its arguments and its environment, what tells it.
	setting func() *regexp.Regexp
}

var choosers = []chooser{
	{"Calico", "calico", "calico-node", sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?:^|\n)(IP6?_AUTODETECTION_METHOD=[^\n]+|IP=[0-9][^\n]*)`)
	})},
	{"Cilium", "cilium-cni", "cilium-agent", sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?:^|\n)(--devices[=\n][^\n]+|CILIUM_DEVICES=[^\n]+)`)
	})},
	{"flannel", "flannel", "flanneld", sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?:^|\n)(--?iface(?:-regex|-can-reach)?[=\n][^\n]+|FLANNELD_IFACE[A-Z_]*=[^\n]+)`)
	})},
}

// choosing are settings that leave the choice to the program.
var choosing = []string{"IP_AUTODETECTION_METHOD=first-found", "IP6_AUTODETECTION_METHOD=first-found"}

// CNIs lists the container networks whose configuration is on this host, by name, each once. Whether
// one is told its interface stands in the cluster: what its program on this host has been given is
// looked at. Nothing is decided by that, so that any process of the program's name will do.
func (s *Survey) CNIs() (out []CNI) {
	found := map[string]string{}
	for _, pattern := range cniFiles {
		files, _ := s.host.Glob(pattern) // the patterns are valid
		for _, f := range files {
			if !slices.Contains([]string{".conf", ".conflist", ".json"}, path.Ext(f)) {
				continue
			}
			if name := s.network(f); name != "" && found[name] == "" {
				found[name] = f
			}
		}
	}
	for _, c := range choosers {
		if f := found[c.name]; f != "" {
			out = append(out, CNI{c.name, f, s.tells(c)})
		}
	}
	return out
}

// network says whose configuration a file is, "" if it is of none that chooses. canal has Calico's
// plugin, but flannel's way between the nodes. A file that is no JSON goes by its name.
func (s *Survey) network(file string) string {
	base := strings.ToLower(path.Base(file))
	if strings.Contains(base, "canal") {
		return "flannel"
	}
	var tree any
	data, _, err := s.host.Read(file)
	if err == nil && json.Unmarshal(data, &tree) == nil {
		types := typesIn(tree)
		for _, c := range choosers {
			if slices.Contains(types, c.plugin) {
				return c.name
			}
		}
		if len(types) > 0 {
			return ""
		}
	}
	for _, c := range choosers {
		if strings.Contains(base, strings.ToLower(c.name)) {
			return c.name
		}
	}
	return ""
}

// typesIn lists the plugins that a configuration calls: its own, those of its list, and those that
// they call in turn.
func typesIn(tree any) (out []string) {
	switch t := tree.(type) {
	case map[string]any:
		if name, ok := t["type"].(string); ok {
			out = append(out, name)
		}
		for _, v := range t {
			out = append(out, typesIn(v)...)
		}
	case []any:
		for _, v := range t {
			out = append(out, typesIn(v)...)
		}
	}
	return out
}

// tells says how we know that a network is told its interface.
func (s *Survey) tells(c chooser) string {
	names, _ := s.host.Glob("/proc/[0-9]*/comm")
	for _, f := range names {
		if comm, err := s.host.Head(f, maxHead); err != nil || strings.TrimSpace(string(comm)) != c.program {
			continue
		}
		pid := path.Base(path.Dir(f))
		for _, of := range []string{"cmdline", "environ"} {
			data, err := s.host.Head(path.Join(path.Dir(f), of), maxHead)
			if err != nil {
				continue // it has ended
			}
			for _, m := range c.setting().FindAllStringSubmatch(strings.ReplaceAll(string(data), "\x00", "\n"), -1) {
				if told := strings.ReplaceAll(m[1], "\n", " "); !slices.Contains(choosing, told) {
					return fmt.Sprintf("process %s (%s) has %s", pid, c.program, told)
				}
			}
		}
		// Cilium's agent reads its ConfigMap as files.
		if data, err := s.host.Head(path.Join(path.Dir(f), "root/tmp/cilium/config-map/devices"), maxHead); c.name == "Cilium" && err == nil && len(data) > 0 {
			return fmt.Sprintf("process %s (%s) has devices: %s", pid, c.program, strings.TrimSpace(string(data)))
		}
	}
	if c.name != "flannel" {
		return ""
	}
	for _, pattern := range flannelFiles {
		files, _ := s.host.Glob(pattern) // the patterns are valid
		for _, f := range files {
			data, err := s.host.Head(f, maxHead)
			if err == nil && flannelIface().MatchString(strings.Join(host.Joined(data), "\n")) {
				return f + " has flannel-iface"
			}
		}
	}
	return ""
}

// flannelFiles are where k3s, which has flannel in it, is told flannel's interface.
var flannelFiles = []string{"/etc/rancher/k3s/config.yaml", "/etc/rancher/k3s/config.yaml.d/*.yaml", "/etc/systemd/system/k3s*.service", "/etc/systemd/system/k3s*.service.d/*.conf"}

var flannelIface = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`flannel-iface["']?(?:[:=\s]+["']?)[A-Za-z0-9]`) })
