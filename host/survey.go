package host

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Setting is a key of networkd.conf(5) as the files have it.
type Setting struct {
	Key   string
	Value string // "" where no file that counts has the key
	File  string // the last one that has it
	// Unread is a file that has the key and does not count, since networkd's own user cannot read it; "": there is none.
	Unread string
	// InForce: networkd was started after the file was written. Reading its files again (networkctl reload) does not count: it leaves out
	// networkd.conf (systemd 252 and 257, measured November 2026).
	InForce bool
}

// networkdConf are where networkd looks, the weakest first; of the drop-ins those of one name hide each other, from the last folder on.
var networkdConf = []string{"/usr/lib/systemd", "/run/systemd", "/etc/systemd"}

// NetworkdSettings looks up keys of the section [Network] of networkd.conf, in the order given.
func (h *Host) NetworkdSettings(keys ...string) []Setting {
	dropins := map[string]string{}
	var files []string
	for _, dir := range networkdConf {
		if main := dir + "/networkd.conf"; h.exists(main) {
			files = []string{main} // only the strongest counts
		}
		found, _ := h.Glob(dir + "/networkd.conf.d/*.conf") // the pattern is good
		for _, f := range found {
			dropins[path.Base(f)] = f
		}
	}
	for _, name := range slices.Sorted(maps.Keys(dropins)) {
		files = append(files, dropins[name])
	}
	out := make([]Setting, len(keys))
	started := h.started("systemd-networkd.service")
	for i, key := range keys {
		out[i] = Setting{Key: key}
		for _, f := range files {
			data, _, err := h.Read(f)
			if err != nil {
				continue
			}
			_ = ini(data, func(section, k, value string) error {
				switch {
				case section != "Network" || k != key:
				case h.NetworkdReads(f):
					out[i].Value, out[i].File = value, f
				default:
					out[i].Unread = f
				}
				return nil
			})
		}
		if info, err := os.Stat(h.path(out[i].File)); err == nil && out[i].File != "" {
			out[i].InForce = !started.IsZero() && started.After(info.ModTime())
		}
	}
	return out
}

// networkdUser is whom networkd runs as; it leaves out, with a line in its log, what that one may not read (systemd 252 and 257).
const networkdUser = "systemd-network"

// NetworkdReads says whether the permission bits of a file, and of the folders that it is in, let networkd read it.
func (h *Host) NetworkdReads(file string) bool {
	uid, gid := h.user(networkdUser)
	for p, need := file, fs.FileMode(0o4); p != "/" && p != "."; p, need = path.Dir(p), 0o1 {
		info, err := os.Stat(h.path(p))
		if err != nil {
			return false
		}
		bits := info.Mode().Perm()
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == uid {
			bits >>= 6
		} else if ok && int(st.Gid) == gid {
			bits >>= 3
		}
		if bits&need == 0 {
			return false
		}
	}
	return true
}

// user gives the ids of a user of this host (passwd(5)); -1, -1 where there is none.
func (h *Host) user(name string) (uid, gid int) {
	uid, gid = -1, -1
	data, _, err := h.Read("/etc/passwd")
	if err != nil {
		return uid, gid
	}
	_ = lines(data, func(line string) error {
		if f := strings.Split(line, ":"); len(f) > 3 && f[0] == name {
			uid, _ = strconv.Atoi(f[2])
			gid, _ = strconv.Atoi(f[3])
		}
		return nil
	})
	return uid, gid
}

// Off says whether a setting is a no.
func (s Setting) Off() bool { return s.Value != "" && !truth(s.Value) }

// started is when systemd started a unit last; zero where it does not run. systemd makes the link at each start (v236).
func (h *Host) started(unit string) time.Time {
	info, err := os.Lstat(h.path("/run/systemd/units/invocation:" + unit))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// NetworkdRuns says whether systemd-networkd is at work.
func (h *Host) NetworkdRuns() bool { return h.exists(networkdState) }

// Sysctl reads a number of /proc/sys, 0 where there is none: "net/ipv4/conf/all/rp_filter".
func (h *Host) Sysctl(name string) int {
	data, _, err := h.Read("/proc/sys/" + name)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return n
}

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
	_ = lines(data, func(line string) error {
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
	if i := slices.IndexFunc(paths, h.exists); i >= 0 {
		return paths[i]
	}
	return ""
}

// Permissions gives mode and owner of a file or folder; ok false: it is not there.
func (h *Host) Permissions(name string) (mode fs.FileMode, uid int, ok bool) {
	info, err := os.Lstat(h.path(name))
	if err != nil {
		return 0, 0, false
	}
	sys, _ := info.Sys().(*syscall.Stat_t)
	return info.Mode(), int(sys.Uid), true
}

// Unsynchronised says whether the kernel knows of nobody who keeps its clock (adjtimex(2), STA_UNSYNC). Where it may not be asked it is not.
func Unsynchronised() bool {
	var t unix.Timex
	_, err := unix.Adjtimex(&t)
	return err == nil && t.Status&unix.STA_UNSYNC != 0
}
