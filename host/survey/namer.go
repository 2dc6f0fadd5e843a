package survey

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"multinicd/host"
	"multinicd/nic"

	"go.yaml.in/yaml/v3"
)

// Namers says what gives a link another name than want at each boot: a rule of udev's for its MAC, or
// a definition of netplan's with set-name, which cloud-init carries out itself. A sentence for each.
func (s *Survey) Namers(l nic.Link, want string) (out []string) {
	for _, pattern := range []string{"/etc/udev/rules.d/*.rules", "/run/udev/rules.d/*.rules"} {
		files, _ := s.host.Glob(pattern) // the patterns are valid
		for _, f := range files {
			data, _, err := s.host.Read(f)
			if err != nil {
				continue
			}
			for _, line := range host.Joined(data) {
				if name := named(line, l); name != "" && name != want {
					out = append(out, fmt.Sprintf("%s has a rule for its MAC with NAME=%q, which counts more than a .link file", f, name))
				}
			}
		}
	}
	files, _ := s.host.Glob("/etc/netplan/*.yaml")
	for _, f := range files {
		data, _, err := s.host.Read(f)
		if err != nil || bytes.Contains(data, []byte(nic.Mark)) {
			continue
		}
		if name := setName(data, l); name != "" && name != want {
			out = append(out, fmt.Sprintf("%s has set-name: %s for its MAC", f, name))
		}
	}
	return out
}

// ruleName finds the name that a rule of udev's gives, and not one that it asks for (NAME=="...").
var ruleName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?:^|[\s,])NAME:?="([^"$%]+)"`) })

// named gives the name that a rule of udev's has for a link by its MAC, or "".
func named(rule string, l nic.Link) string {
	m := ruleName().FindStringSubmatch(rule)
	rule = strings.ToLower(rule)
	if m == nil || !strings.Contains(rule, l.MAC.String()) && (l.Permanent.IsZero() || !strings.Contains(rule, l.Permanent.String())) {
		return ""
	}
	return m[1]
}

// setName gives the name that a file of netplan's has for a link by its MAC, or "".
func setName(data []byte, l nic.Link) string {
	var tree struct {
		Network struct {
			Ethernets map[string]yaml.Node
		}
	}
	if yaml.Unmarshal(data, &tree) != nil {
		return ""
	}
	for _, node := range tree.Network.Ethernets {
		var e struct {
			Match struct {
				MAC string `yaml:"macaddress"`
			}
			SetName string `yaml:"set-name"`
		}
		if node.Decode(&e) != nil {
			continue // "renderer"
		}
		if m, err := nic.ParseMAC(e.Match.MAC); err == nil && l.HasMAC(m) && e.SetName != "" {
			return e.SetName
		}
	}
	return ""
}

// Booted is when the kernel began (proc_stat(5), btime); zero if that is not known.
func (s *Survey) Booted() (out time.Time) {
	data, err := s.host.Head("/proc/stat", 1<<20) // a line for each interrupt may be long
	if err != nil {
		return out
	}
	_ = host.Lines(data, func(line string) error {
		if text, ok := strings.CutPrefix(line, "btime "); ok {
			if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
				out = time.Unix(n, 0)
			}
		}
		return nil
	})
	return out
}
