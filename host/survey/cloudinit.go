package survey

import (
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// hotplugRules are the names of the rule by which udev calls cloud-init for each link that comes or
// goes: 10- until cloud-init 23, 90- since 24.1.
var hotplugRules = []string{"10-cloud-init-hook-hotplug.rules", "90-cloud-init-hook-hotplug.rules"}

// cloudConfigs are where cloud-init reads its configuration, the weakest first. The last file that
// has a key counts. Those of the instance come with its user-data and its vendor-data.
var cloudConfigs = []string{
	"/etc/cloud/cloud.cfg",
	"/etc/cloud/cloud.cfg.d/*.cfg",
	"/var/lib/cloud/instance/vendor-cloud-config.txt",
	"/var/lib/cloud/instance/vendor2-cloud-config.txt",
	"/var/lib/cloud/instance/cloud-config.txt",
}

// hotplug says how we know that cloud-init configures NICs that are plugged in; "" where it does
// not. cloud-init installs its rule where that is on. A rule that a package brings says nothing:
// what the rule calls asks the configuration first. The word in a list of modules
// (install_hotplug) says nothing either, and each cloud image has it.
func (s *Survey) hotplug() string {
	for _, folder := range []string{"/etc/udev/rules.d/", "/run/udev/rules.d/"} {
		for _, name := range hotplugRules {
			if s.rule(folder + name) {
				return folder + name + " has cloud-init configure NICs that are plugged in"
			}
		}
	}
	on := ""
	for _, pattern := range cloudConfigs {
		files, _ := s.host.Glob(pattern) // sorted; the patterns are valid
		for _, f := range files {
			data, _, err := s.host.Read(f)
			if err != nil {
				continue
			}
			switch said, plugged := plugs(data); {
			case said && plugged:
				on = f
			case said:
				on = ""
			}
		}
	}
	if on == "" {
		return ""
	}
	return on + " has cloud-init configure NICs that are plugged in (updates.network.when: hotplug)"
}

// rule says whether there is a rule of udev's at a path. One that leads to /dev/null hides the rule
// of a package.
func (s *Survey) rule(file string) bool {
	target, err := os.Readlink(s.host.Path(file))
	return s.host.Exists(file) && (err != nil || target != os.DevNull)
}

// plugs says whether a configuration of cloud-init speaks of updates.network.when, and whether
// hotplug is among its values. cloud-init does not read what is no YAML.
func plugs(data []byte) (said, plugged bool) {
	var tree struct {
		Updates struct {
			Network struct {
				When yaml.Node
			}
		}
	}
	if yaml.Unmarshal(data, &tree) != nil || tree.Updates.Network.When.IsZero() {
		return false, false
	}
	var list one
	if list.UnmarshalYAML(&tree.Updates.Network.When) != nil {
		return false, false
	}
	for _, event := range list {
		plugged = plugged || strings.TrimSpace(event) == "hotplug"
	}
	return true, plugged
}
