package host

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Agents says which other programs of this host configure NICs by themselves: by name the evidence.
func (h *Host) Agents() map[string]string {
	out := map[string]string{}
	for _, pattern := range []string{"/etc/cloud/cloud.cfg", "/etc/cloud/cloud.cfg.d/*.cfg"} {
		files, _ := h.Glob(pattern)
		for _, f := range files {
			data, _, err := h.Read(f)
			if err == nil && hotplugged(data) {
				out["cloud-init"] = f + " has cloud-init configure NICs that are plugged in (updates.network.when: hotplug)"
			}
		}
	}
	if rule := h.oneOf("/etc/udev/rules.d/90-cloud-init-hook-hotplug.rules", "/run/udev/rules.d/90-cloud-init-hook-hotplug.rules"); rule != "" {
		out["cloud-init"] = rule + " has cloud-init configure NICs that are plugged in"
	}
	for _, unit := range []string{"nm-cloud-setup.service", "nm-cloud-setup.timer"} {
		wants, _ := h.Glob("/etc/systemd/system/*.wants/" + unit)
		if len(wants) > 0 {
			out["nm-cloud-setup"] = unit + " is enabled: " + wants[0]
		}
	}
	return out
}

// hotplugged says whether a configuration of cloud-init has the word, but for comments.
func hotplugged(data []byte) bool {
	found := false
	_ = Lines(data, func(line string) error {
		line, _, _ = strings.Cut(line, " #")
		found = found || strings.Contains(line, "hotplug")
		return nil
	})
	return found
}

// Kubelet says how we know that a kubelet runs here, or will; "" where nothing shows one.
func (h *Host) Kubelet() string {
	commands, _ := h.Glob("/proc/[0-9]*/comm")
	for _, f := range commands {
		data, _, err := h.Read(f)
		switch name := strings.TrimSpace(string(data)); {
		case err != nil:
		case name == "kubelet", name == "k3s", name == "rke2":
			return name + " runs"
		}
	}
	if f := h.oneOf("/var/lib/kubelet/config.yaml", "/etc/kubernetes/kubelet.conf", "/etc/rancher/k3s/config.yaml", "/etc/rancher/rke2/config.yaml"); f != "" {
		return "a kubelet is configured (" + f + ")"
	}
	return ""
}

// oneOf gives the first path that is there, or "".
func (h *Host) oneOf(paths ...string) string {
	if i := slices.IndexFunc(paths, h.Exists); i >= 0 {
		return paths[i]
	}
	return ""
}

// Unsynchronised says whether the kernel knows of nobody who keeps its clock (adjtimex(2), STA_UNSYNC). Where it may not be asked it is not.
func Unsynchronised() bool {
	var t unix.Timex
	_, err := unix.Adjtimex(&t)
	return err == nil && t.Status&unix.STA_UNSYNC != 0
}
