package networkmanager

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"multinicd/internal/filestep"
	"multinicd/nic"
	"multinicd/plan"
)

// files gives the steps that put the files of a NIC in place, and lists the profiles among them.
// The profile comes last, and stale files go behind it.
func (b *Backend) files(a plan.Action) (steps []plan.Step, profiles []string, err error) {
	want := map[string][]byte{}
	if a.Kind == plan.Configure {
		want = b.Format.Files(a.NIC)
	}
	stale, err := b.stale(a, want)
	if err != nil {
		return nil, nil, err
	}
	names := slices.Sorted(maps.Keys(want))
	slices.SortStableFunc(names, func(x, y string) int { return rank(x) - rank(y) })
	if a.Kind == plan.Configure && a.Link != nil {
		for _, f := range a.Link.Former {
			if want[f] == nil && !slices.Contains(stale, f) {
				stale = append(stale, f)
			}
		}
	}
	for _, name := range slices.Concat(names, stale) {
		step, err := filestep.Replace(b.Files, plan.StepPersist, name, want[name], Mode(name))
		if err != nil {
			return nil, nil, err
		}
		steps = append(steps, step...)
		if p := profileOf(name); len(step) > 0 && (want[name] != nil || OurFile(name)) && p != "" && !slices.Contains(profiles, p) {
			profiles = append(profiles, p)
		}
	}
	slices.Sort(profiles)
	return steps, profiles, nil
}

func rank(file string) int {
	if profileOf(file) == file {
		return 1
	}
	return 0
}

// profileOf is the profile that a file of ours belongs to; "" for a file that NetworkManager does
// not read.
func profileOf(file string) string {
	dir, base := path.Split(file)
	switch dir {
	case KeyfileDir + "/":
		return file
	case ScriptsDir + "/":
		_, name, _ := strings.Cut(base, "-")
		return path.Join(ScriptsDir, "ifcfg-"+name)
	}
	return ""
}

// Remember has the backend read our files of other NICs once, until it is called again, or not.
func (b *Backend) Remember(yes bool) { b.memo.Remember(yes) }

// stale lists our files that name the NIC and are not wanted: those under another name or of
// another format, and all of them where the NIC is removed. A file of routes belongs to the NIC of
// its profile.
func (b *Backend) stale(a plan.Action, want map[string][]byte) (out []string, err error) {
	for _, pattern := range patterns {
		names, err := b.memo.Glob(b.Files, pattern)
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", pattern, err)
		}
		for _, name := range names {
			if !OurFile(name) || want[name] != nil {
				continue
			}
			of := name
			if p := profileOf(name); p != "" {
				of = p
			}
			if want[of] == nil {
				named, err := b.memo.Says(b.Files, of, func(data []byte) bool { return bytes.Contains(bytes.ToLower(data), []byte(a.NIC.MAC.String())) })
				if err != nil {
					return nil, fmt.Errorf("reading %s: %w", of, err)
				}
				if !named {
					continue
				}
			}
			out = append(out, name)
		}
	}
	return out, nil
}

// ReadBack gives what our files of this format say, for the case that the record was lost. The
// result is sorted by file, and does not know how the links were found. A file that cannot be read
// is left out, and named in the error beside the rest.
func (b *Backend) ReadBack() ([]plan.Owned, error) {
	var out []plan.Owned
	err := filestep.EachMarked(b.Files, b.Format.File(nic.NamePrefix+"*"), OurFile, func(name string, _ []byte) error {
		var unread error
		p, err := b.Format.Read(name, func(file string) []byte {
			data, _, failed := b.Files.Read(file)
			if failed != nil && !errors.Is(failed, fs.ErrNotExist) {
				unread = errors.Join(unread, fmt.Errorf("reading %s: %w", file, failed))
			}
			return data
		})
		if err == nil {
			out = append(out, plan.Owned{MAC: p.Config.MAC, Config: p.Config, Applied: true})
		}
		return errors.Join(unread, err)
	})
	return out, err
}
