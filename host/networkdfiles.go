package host

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// NetworkdState is a file that exists while systemd-networkd runs. Its folder says nothing:
// tmpfiles.d makes the folder also on hosts without networkd.
const NetworkdState = "/run/systemd/netif/state"

// NetworkdLinks is the folder in which networkd has a file for each link, named by the ifindex.
const NetworkdLinks = "/run/systemd/netif/links"

// NetworkdRuns says whether systemd-networkd runs.
func (h *Host) NetworkdRuns() bool { return h.Exists(NetworkdState) }

// LinkState is what networkd says about a link: the ADMIN_STATE of its file, as
// sd_network_link_get_setup_state(3) gives it (systemd src/network/networkd-link.c).
type LinkState string

// The states that a link passes through, and those in which networkd is done with the link.
const (
	LinkPending     LinkState = "pending"     // udev has not told networkd of the link yet
	LinkInitialized LinkState = "initialized" // networkd has not looked for a .network file yet
	LinkConfiguring LinkState = "configuring"
	LinkConfigured  LinkState = "configured"
	LinkUnmanaged   LinkState = "unmanaged" // no .network file is for the link
	LinkFailed      LinkState = "failed"
	LinkLinger      LinkState = "linger" // the link is gone
)

// Busy says whether networkd will still do something on the link by itself.
func (s LinkState) Busy() bool {
	return s == LinkPending || s == LinkInitialized || s == LinkConfiguring
}

// NetworkdLink reads what networkd wrote about the link with an ifindex: state is its ADMIN_STATE,
// and file is the .network file by which networkd configures it. sd_network_link_get_setup_state(3)
// reads the same. Both are "" where networkd wrote nothing, which is no error.
func (h *Host) NetworkdLink(index int) (state LinkState, file string, err error) {
	data, _, err := h.Read(fmt.Sprintf("%s/%d", NetworkdLinks, index))
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	} else if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "NETWORK_FILE":
			file = value
		case "ADMIN_STATE":
			state = LinkState(value)
		}
	}
	return state, file, nil
}

// Setting is a key of networkd.conf(5), and what the files say about it.
type Setting struct {
	Key   string
	Value string // "" where no file that counts has the key
	File  string // the last file that has the key and counts
	// Unread is a file that has the key but does not count, because networkd's own user cannot read
	// it. "" means that there is none.
	Unread string
	// InForce: networkd was started after the file was written. `networkctl reload` is not enough:
	// it does not read networkd.conf again (systemd 252 and 257, measured November 2026).
	InForce bool
}

// networkdConf are the folders in which networkd looks, the weakest first. Of drop-ins with the
// same name only the one in the last folder counts.
var networkdConf = []string{"/usr/lib/systemd", "/run/systemd", "/etc/systemd"}

// NetworkdSettings looks up keys of the section [Network] of networkd.conf. The settings come in
// the order of keys.
func (h *Host) NetworkdSettings(keys ...string) []Setting {
	dropins := map[string]string{}
	var files []string
	for _, dir := range networkdConf {
		if main := dir + "/networkd.conf"; h.Exists(main) {
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
	started := h.Started("systemd-networkd.service")
	for i, key := range keys {
		out[i] = Setting{Key: key}
		for _, f := range files {
			data, _, err := h.Read(f)
			if err != nil {
				continue
			}
			_ = Ini(data, func(section, k, value string) error {
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
		if info, err := os.Stat(h.Path(out[i].File)); err == nil && out[i].File != "" {
			out[i].InForce = !started.IsZero() && started.After(info.ModTime())
		}
	}
	return out
}

// networkdUser is the user that networkd runs as. networkd passes over what that user may not read,
// with a line in its log (systemd 252 and 257).
const networkdUser = "systemd-network"

// NetworkdReads says whether networkd may read a file. It goes by the permission bits of the file
// and of all folders above it.
func (h *Host) NetworkdReads(file string) bool {
	uid, gid := h.user(networkdUser)
	for p, need := file, fs.FileMode(0o4); p != "/" && p != "."; p, need = path.Dir(p), 0o1 {
		info, err := os.Stat(h.Path(p))
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

// user gives the ids of a user of this host (passwd(5)); -1, -1 if there is no such user.
func (h *Host) user(name string) (uid, gid int) {
	uid, gid = -1, -1
	data, _, err := h.Read("/etc/passwd")
	if err != nil {
		return uid, gid
	}
	_ = Lines(data, func(line string) error {
		if f := strings.Split(line, ":"); len(f) > 3 && f[0] == name {
			uid, _ = strconv.Atoi(f[2])
			gid, _ = strconv.Atoi(f[3])
		}
		return nil
	})
	return uid, gid
}

// Off says whether the setting is set and means no.
func (s Setting) Off() bool { return s.Value != "" && !Truth(s.Value) }

// Started is when systemd last started a unit; zero if the unit does not run. systemd makes this
// link at each start (v236).
func (h *Host) Started(unit string) time.Time {
	info, err := os.Lstat(h.Path("/run/systemd/units/invocation:" + unit))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
