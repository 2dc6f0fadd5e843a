package survey

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"multinicd/host"
	"multinicd/nic"
)

// Claims says for which links somebody but us has a configuration, by ifindex. ours tells our own files by their path. Files are
// all that is asked: netplan's YAML, networkd's units and its state, NetworkManager's profiles and its state, ifupdown's stanzas; and of those
// only what somebody reads on this host. A link has one claim at most: a person's if there is one, else the first in that order. The loopback link
// has none, and what the former agent left is none: see Former.
//
// It reads a file again only if its size, time or inode has changed, so it may be called at every event. A file that cannot be
// read as what it should be claims a link only if it names the link's MAC. One that cannot be read at all (EIO, EMFILE, EACCES, or
// somebody is writing it) is tried again each time; until then it claims what it did before, and every link if it was never read.
func (s *Survey) Claims(ctx context.Context, links []nic.Link, ours func(file string) bool) (map[int]*nic.Claim, error) {
	s.claims.Lock()
	defer s.claims.Unlock()
	seen := map[string]parsed{}
	var lists [][]definition
	for _, of := range sources {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		files, err := s.sourceFiles(of)
		if err == nil && len(files) == 0 || !of.read(s) {
			lists = append(lists, nil) // what netplan's are is asked by place
			continue
		}
		if err != nil {
			return nil, err
		}
		var list []definition
		for _, f := range files {
			p := s.parsed(f, of.parse)
			seen[f] = p
			list = append(list, p.definitions...)
		}
		lists = append(lists, list)
	}
	s.claims.files = seen // forgets what is gone
	former, err := s.formerFiles()
	if err != nil {
		return nil, err
	}
	networkd, manager := !s.missing(host.NetworkdLinks), !s.missing(managerDevices)
	out := map[int]*nic.Claim{}
	for _, l := range links {
		if l.Name == "lo" {
			continue
		}
		former := former.of(l)
		ours := func(file string) bool { return ours(file) || former.left(file) }
		c := s.claim(l, lists, ours)
		for _, ask := range []struct {
			runs  bool
			state func(nic.Link, [][]definition, func(string) bool) (*nic.Claim, error)
		}{{networkd, s.networkdState}, {manager, s.managerState}} {
			if !ask.runs || c != nil && !c.Machine {
				continue
			}
			more, err := ask.state(l, lists, ours)
			if err != nil {
				return nil, err
			}
			c = graver(c, more)
		}
		if c != nil {
			out[l.Index] = c
		}
	}
	return out, nil
}

// graver gives the claim that counts of two: a person's, else the first.
func graver(a, b *nic.Claim) *nic.Claim {
	if a == nil || b != nil && a.Machine && !b.Machine {
		return b
	}
	return a
}

// claim asks the files.
func (s *Survey) claim(l nic.Link, lists [][]definition, ours func(string) bool) (out *nic.Claim) {
	driver := ""
	if l.Device {
		if target, err := os.Readlink(s.host.Path("/sys/class/net/" + l.Name + "/device/driver")); err == nil {
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
				out = graver(out, d.claimBy(l, d.file+" "+how))
			}
			if d.firstWins {
				break
			}
		}
	}
	return out
}

// definition is one configuration found in a file, and what a link must be like to get it. For each
// list that is not nil, at least one entry must match the link.
type definition struct {
	owner, file, id string
	macs            []nic.MAC
	names           []string // patterns of path.Match; with '!' in front: none of these
	drivers         []string // patterns
	renderer        string   // of netplan, where the definition says so
	unmanaged       bool     // says that the link is to be left alone
	firstWins       bool     // files after this one do not count for the link
	uuid            string   // of a profile of NetworkManager
	author          string   // the program that wrote it, where the file says so
	anyLink         bool     // a profile that names no link: one that it is in force on is meant, and no other
	broken          []byte   // lower-case content of a file that could not be parsed; only a MAC in it counts
	unread          error    // why the file could not even be read: it may be for any link
}

// matches says how the link is meant, for a person, or "".
func (d definition) matches(l nic.Link, driver string) string {
	if d.unread != nil {
		return fmt.Sprintf("cannot be read, and may configure it (%v)", d.unread)
	}
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

// sourceFiles lists the files of a source: sorted by name whatever the folder, and of two of the same name the one in the
// folder named first, as netplan and networkd do it.
func (s *Survey) sourceFiles(of source) ([]string, error) {
	byName := map[string]string{}
	for _, pattern := range of.patterns {
		found, err := s.host.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			name := path.Base(f)
			if !of.shadows {
				name = f
			}
			if _, ok := byName[name]; !ok {
				byName[name] = f
			}
		}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if !slices.ContainsFunc(of.except, func(p string) bool { return globs(p, path.Base(name)) }) {
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

// parsed is what a file says, and the state of the file in which it said so; the zero stamp: it is to be read again.
type parsed struct {
	stamp
	definitions []definition
	unread      string // why it could not be read when that was tried last
}

func (s *Survey) parsed(file string, parse func(file string, data []byte) ([]definition, error)) parsed {
	at, err := s.stamp(file)
	old, known := s.claims.files[file]
	if err == nil && known && old.stamp == at {
		return old
	}
	var data []byte
	if err == nil {
		data, at, err = s.steady(file, at)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return parsed{}
	case err != nil:
		if old.unread != err.Error() {
			s.log.Warn("a configuration file cannot be read", "file", file, "err", err)
		}
		if !known || old.stamp == (stamp{}) && old.unread == "" { // it was not there
			old.definitions = []definition{{owner: "unknown", file: file, unread: err}}
		}
		return parsed{definitions: old.definitions, unread: err.Error()}
	}
	p := parsed{stamp: at}
	if p.definitions, err = parse(file, data); err != nil {
		p.definitions = []definition{{owner: "unknown", file: file, broken: bytes.ToLower(data)}}
	}
	return p
}

// steadyTries is how often a file is read that changes meanwhile.
const steadyTries = 3

// errUnsteady: half a file may be a good one that says less.
var errUnsteady = errors.New("somebody is writing it")

// steady reads a file that had a stamp at a moment ago, and gives the stamp that it had before and after. What is no regular file, as a link to
// /dev/null that hides another one, is empty.
func (s *Survey) steady(file string, at stamp) ([]byte, stamp, error) {
	for range steadyTries {
		var data []byte
		var err error
		if at.mode.IsRegular() {
			data, _, err = s.host.Read(file)
		}
		if err != nil {
			return nil, at, err
		}
		now, err := s.stamp(file)
		if err != nil {
			return nil, at, err
		}
		if now == at && (!at.mode.IsRegular() || int64(len(data)) == at.size) {
			return data, at, nil
		}
		at = now
	}
	return nil, at, fmt.Errorf("reading %s: %w", file, errUnsteady)
}

// stamp tells one version of a file from another.
type stamp struct {
	size, mtime int64 // in bytes, and in nanoseconds
	inode       uint64
	mode        fs.FileMode
}

func (s *Survey) stamp(file string) (stamp, error) {
	info, err := os.Stat(s.host.Path(file))
	if err != nil {
		return stamp{}, fmt.Errorf("reading %s: %w", file, host.WithoutPath(err))
	}
	out := stamp{size: info.Size(), mtime: info.ModTime().UnixNano(), mode: info.Mode()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		out.inode = sys.Ino
	}
	return out, nil
}

func globs(pattern, s string) bool {
	ok, err := path.Match(pattern, s)
	return err == nil && ok
}

// missing says that nothing has that path. Of what cannot be told it is not said.
func (s *Survey) missing(p string) bool {
	_, err := os.Lstat(s.host.Path(p))
	return errors.Is(err, fs.ErrNotExist)
}
