package survey

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"multinicd/host"
	"multinicd/nic"
)

// wrote says whether a machine wrote the definition, or a person who meant the link, and why we think so. A person names a NIC by its MAC or its exact
// name, in a file of /etc. Cloud-init, images, installers and network managers write for a NIC whose use they do not know.
func (d definition) wrote(l nic.Link) (machine bool, why string) {
	switch {
	case d.unread != nil:
		return false, ""
	case d.author != "":
		return true, "written by " + d.author
	case cloudInitWrote(d.file):
		return true, "written by cloud-init"
	case !strings.HasPrefix(d.file, "/etc/"):
		return true, fmt.Sprintf("a program or the distribution puts files into %s", path.Dir(d.file))
	case d.broken != nil:
		return false, ""
	case len(d.macs) > 0:
		return false, "it names this MAC: somebody meant it"
	}
	name := matchName(d.names, l)
	if name == "" { // the link has another name since
		if i := slices.IndexFunc(d.names, func(n string) bool { return !isPattern(n) }); i >= 0 {
			name = d.names[i]
		}
	}
	switch {
	case name != "" && !isPattern(name):
		return false, fmt.Sprintf("it names %s: somebody meant it", name)
	case len(d.names) > 0:
		return true, fmt.Sprintf("it matches every %s: an image's catch-all", strings.Join(d.names, " "))
	case len(d.drivers) > 0:
		return true, "it matches every link of a driver: an image's catch-all"
	}
	return true, "it matches every link: an image's catch-all"
}

// isPattern says of a name in a definition that it means more than one link.
func isPattern(name string) bool { return strings.ContainsAny(name, "*?[! ") }

// cloudInitFiles match the files that cloud-init writes by the rules of path.Match. No header is asked for: cloud-init 25 writes none into netplan's file.
var cloudInitFiles = []string{
	"/etc/netplan/50-cloud-init.yaml",
	"/etc/systemd/network/10-cloud-init-*.network",
	"/etc/NetworkManager/system-connections/cloud-init-*.nmconnection",
	"/etc/network/interfaces.d/50-cloud-init*",
}

func cloudInitWrote(file string) bool {
	return slices.ContainsFunc(cloudInitFiles, func(p string) bool { return globs(p, file) })
}

// keyfileOrigins are the writers of profiles who say so in the key org.freedesktop.NetworkManager.origin of the section [user].
var keyfileOrigins = map[string]string{"cloud-init": "cloud-init", "nm-initrd-generator": "the initrd, from the kernel's command line"}

// byItself is what writes a profile for a NIC that has none.
const byItself = "NetworkManager by itself, for want of another profile"

// automatic are the names that NetworkManager gives to such a profile.
var automatic = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^Wired connection [0-9]+$`) })

// claimBy is the claim of a definition to a link. how says in which way the link is meant.
func (d definition) claimBy(l nic.Link, how string) *nic.Claim {
	machine, why := d.wrote(l)
	if why != "" {
		how += ": " + why
	}
	return &nic.Claim{Owner: d.owner, File: d.file, ID: d.id, Machine: machine, Evidence: how}
}

// Who reads the files of a source on this host. A file that nobody reads, now or after the next boot, claims nothing.

func netplanReads(s *Survey) bool { return slices.ContainsFunc(generators, s.host.Exists) }

func networkdReads(s *Survey) bool {
	return s.host.Exists(host.NetworkdState) || s.enabled("systemd-networkd.service")
}

func managerReads(s *Survey) bool {
	return s.host.Exists(managerDevices) || s.enabled("NetworkManager.service")
}

func ifupdownReads(s *Survey) bool { return s.oneOf("/sbin/ifup", "/usr/sbin/ifup") != "" }

// ifcfgReads is for NetworkManager with its plugin, or the network service that was before NetworkManager.
func ifcfgReads(s *Survey) bool {
	if s.host.Exists(invocation+"network.service") || s.enabled("network.service") || s.any("/etc/rc.d/rc[2-5].d/S*network", "/etc/rc[2-5].d/S*network") {
		return true
	}
	return managerReads(s) && s.any(IfcfgPlugin...) && s.plugsIfcfg()
}

// IfcfgPlugin matches, by the rules of path.Match, where distributions have what makes NetworkManager read ifcfg files. No pattern has "/usr/lib/*/": the unit may not
// list /usr/lib/modules (ProtectKernelModules=), and what cannot be told would count as there.
var IfcfgPlugin = []string{"/usr/lib64/NetworkManager/*/libnm-settings-plugin-ifcfg-rh.so", "/usr/lib/*-linux-gnu*/NetworkManager/*/libnm-settings-plugin-ifcfg-rh.so",
	"/usr/lib/NetworkManager/*/libnm-settings-plugin-ifcfg-rh.so"}

// plugsIfcfg says whether NetworkManager.conf(5) leaves the plugin switched on. Where no file names the plugins, it is.
func (s *Survey) plugsIfcfg() bool {
	on := true
	for _, pattern := range []string{"/usr/lib/NetworkManager/conf.d/*.conf", "/run/NetworkManager/conf.d/*.conf", "/etc/NetworkManager/NetworkManager.conf", "/etc/NetworkManager/conf.d/*.conf"} {
		files, _ := s.host.Glob(pattern)
		for _, f := range files {
			data, _, err := s.host.Read(f)
			if err != nil {
				continue
			}
			_ = host.Ini(data, func(section, key, value string) error {
				has := strings.Contains(value, "ifcfg-rh")
				switch {
				case section == "main" && key == "plugins" && value != "":
					on = has
				case section == "main" && key == "plugins+":
					on = on || has
				case section == "main" && key == "plugins-":
					on = on && !has
				}
				return nil
			})
		}
	}
	return on
}

// enabled says whether a unit is to run from the next boot on. Of what cannot be told it is.
func (s *Survey) enabled(unit string) bool {
	if target, err := os.Readlink(s.host.Path("/etc/systemd/system/" + unit)); err == nil && target == os.DevNull {
		return false // masked
	}
	return s.any("/etc/systemd/system/*.wants/"+unit, "/run/systemd/system/*.wants/"+unit, "/run/systemd/generator*/*.wants/"+unit, "/usr/lib/systemd/system/*.wants/"+unit)
}

// any says whether a file matches one of the patterns, or that cannot be told.
func (s *Survey) any(patterns ...string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { found, err := s.host.Glob(p); return err != nil || len(found) > 0 })
}
