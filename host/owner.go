package host

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"multinicd/nic"
)

// Claims says for which links somebody but us has a configuration, by ifindex. ours tells our own files by their path. Files are
// all that is asked: netplan's YAML, networkd's units and its state, NetworkManager's profiles and its state, ifupdown's stanzas. A link has one
// claim at most, the first in that order. The loopback link has none, and what the former agent left is none: see Former.
//
// It reads a file again only if its size, time or inode has changed, so it may be called at every event. A file that cannot be
// read as what it should be claims a link only if it names the link's MAC.
func (h *Host) Claims(ctx context.Context, links []nic.Link, ours func(file string) bool) (map[int]*nic.Claim, error) {
	h.claims.Lock()
	defer h.claims.Unlock()
	seen := map[string]parsed{}
	var lists [][]definition
	for _, s := range sources {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if s.needs != nil && !slices.ContainsFunc(s.needs, h.exists) {
			continue
		}
		files, err := h.sourceFiles(s)
		if err != nil {
			return nil, err
		}
		var list []definition
		for _, f := range files {
			p := h.parsed(f, s.parse)
			seen[f] = p
			list = append(list, p.definitions...)
		}
		lists = append(lists, list)
	}
	h.claims.files = seen // forgets what is gone
	former, err := h.formerFiles()
	if err != nil {
		return nil, err
	}
	out := map[int]*nic.Claim{}
	for _, l := range links {
		if l.Name == "lo" {
			continue
		}
		former := former.of(l)
		if c := h.claim(l, lists, func(file string) bool { return ours(file) || former.left(file) }); c != nil {
			out[l.Index] = c
		}
	}
	return out, nil
}

func (h *Host) claim(l nic.Link, lists [][]definition, ours func(string) bool) *nic.Claim {
	driver := ""
	if l.Device {
		if target, err := os.Readlink(h.path("/sys/class/net/" + l.Name + "/device/driver")); err == nil {
			driver = filepath.Base(target)
		}
	}
	for _, list := range lists {
		for _, d := range list {
			how := d.matches(l, driver)
			if how == "" {
				continue
			}
			if d.unmanaged || d.firstWins && ours(d.file) {
				break
			}
			if !ours(d.file) {
				return &nic.Claim{Owner: d.owner, File: d.file, ID: d.id, Evidence: fmt.Sprintf("%s %s", d.file, how)}
			}
		}
	}
	if c := h.networkdState(l, ours); c != nil {
		return c
	}
	return h.managerState(l, lists, ours)
}

// managerState asks what NetworkManager wrote of a link, since 1.10: the UUID of the profile that is in force on it.
func (h *Host) managerState(l nic.Link, lists [][]definition, ours func(string) bool) *nic.Claim {
	data, _, err := h.Read(fmt.Sprintf("%s/%d", managerDevices, l.Index))
	if err != nil {
		return nil
	}
	uuid := ""
	_ = ini(data, func(_, key, value string) error {
		if key == "connection-uuid" {
			uuid = value
		}
		return nil
	})
	for _, list := range lists {
		for _, d := range list {
			if uuid != "" && d.uuid == uuid && !ours(d.file) {
				return &nic.Claim{Owner: d.owner, File: d.file, ID: d.id, Evidence: fmt.Sprintf("NetworkManager has brought %s in force on it", d.file)}
			}
		}
	}
	return nil
}

// networkdState asks what networkd itself wrote about a link (sd_network_link_get_network_file(3) reads the same file).
func (h *Host) networkdState(l nic.Link, ours func(string) bool) *nic.Claim {
	state, file := h.networkdWord(l.Index)
	if file == "" || state == "unmanaged" || ours(file) {
		return nil
	}
	return &nic.Claim{Owner: "networkd", File: file, ID: strings.TrimSuffix(path.Base(file), ".network"),
		Evidence: fmt.Sprintf("systemd-networkd has configured it by %s (state %s)", file, state)}
}

// definition is one configuration found in a file, with what a link must be like to get it. Of each list that is not nil one
// entry must match.
type definition struct {
	owner, file, id string
	macs            []nic.MAC
	names           []string // patterns of path.Match; with '!' in front: none of these
	drivers         []string // patterns
	renderer        string   // of netplan, where the definition says so
	unmanaged       bool     // says that the link is to be left alone
	firstWins       bool     // files after this one do not count for the link
	uuid            string   // of a profile of NetworkManager
	anyLink         bool     // a profile that names no link: one that it is in force on is meant, and no other
	broken          []byte   // lower-case content of a file that could not be read; only a MAC in it counts
}

// matches says how the link is meant, for a person, or "".
func (d definition) matches(l nic.Link, driver string) string {
	if d.broken != nil {
		for _, m := range []nic.MAC{l.Permanent, l.MAC} {
			if !m.IsZero() && bytes.Contains(d.broken, []byte(m.String())) {
				return fmt.Sprintf("cannot be read, but names its MAC %s", m)
			}
		}
		return ""
	}
	if d.anyLink {
		return ""
	}
	var how []string
	if d.macs != nil {
		i := slices.IndexFunc(d.macs, func(m nic.MAC) bool { return m == l.MAC || m == l.Permanent })
		if i < 0 {
			return ""
		}
		how = append(how, "MAC "+d.macs[i].String())
	}
	if d.names != nil {
		name := matchName(d.names, l)
		if name == "" {
			return ""
		}
		how = append(how, "name "+name)
	}
	if d.drivers != nil {
		i := slices.IndexFunc(d.drivers, func(p string) bool { return globs(p, driver) })
		if i < 0 {
			return ""
		}
		how = append(how, "driver "+d.drivers[i])
	}
	if how == nil {
		how = []string{"any link"}
	}
	return fmt.Sprintf("configures it as %q (by %s)", d.id, strings.Join(how, ", "))
}

// matchName gives the pattern by which the link's name, or one of its alternative names, is meant.
func matchName(patterns []string, l nic.Link) string {
	positive, found := false, ""
	for _, p := range patterns {
		not, isNot := strings.CutPrefix(p, "!")
		matches := globs(not, l.Name) || slices.ContainsFunc(l.AltNames, func(n string) bool { return globs(not, n) })
		switch {
		case isNot && matches:
			return ""
		case !isNot:
			positive = true
			if matches && found == "" {
				found = p
			}
		}
	}
	if !positive {
		return strings.Join(patterns, " ")
	}
	return found
}

func globs(pattern, s string) bool {
	ok, err := path.Match(pattern, s)
	return err == nil && ok
}

// sourceFiles lists the files of a source: sorted by name whatever the folder, and of two of the same name the one in the
// folder named first, as netplan and networkd do it.
func (h *Host) sourceFiles(s source) ([]string, error) {
	byName := map[string]string{}
	for _, pattern := range s.patterns {
		found, err := h.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			name := path.Base(f)
			if !s.shadows {
				name = f
			}
			if _, ok := byName[name]; !ok {
				byName[name] = f
			}
		}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if !slices.ContainsFunc(s.except, func(p string) bool { return globs(p, path.Base(name)) }) {
			out = append(out, byName[name])
		}
	}
	return out, nil
}

// claimCache is what the files said when they were read last, by path.
type claimCache struct {
	sync.Mutex
	files map[string]parsed
}

// parsed is what a file says, and the state of the file in which it said so.
type parsed struct {
	stamp
	definitions []definition
}

func (h *Host) parsed(file string, parse func(file string, data []byte) ([]definition, error)) parsed {
	at, err := h.stamp(file)
	if err != nil {
		return parsed{}
	}
	p := parsed{stamp: at}
	if old, ok := h.claims.files[file]; ok && old.stamp == at {
		return old
	}
	data, _, err := h.Read(file)
	if err != nil {
		h.log.Warn("a configuration file cannot be read", "file", file, "err", err)
		return p
	}
	if p.definitions, err = parse(file, data); err != nil {
		p.definitions = []definition{{owner: "unknown", file: file, broken: bytes.ToLower(data)}}
	}
	return p
}

// stamp tells one version of a file from another.
type stamp struct {
	size, mtime int64 // in bytes, and in nanoseconds
	inode       uint64
}

func (h *Host) stamp(file string) (stamp, error) {
	info, err := os.Stat(h.path(file))
	if err != nil {
		return stamp{}, err
	}
	out := stamp{size: info.Size(), mtime: info.ModTime().UnixNano()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		out.inode = sys.Ino
	}
	return out, nil
}

func (h *Host) exists(p string) bool {
	_, err := os.Lstat(h.path(p))
	return err == nil
}
