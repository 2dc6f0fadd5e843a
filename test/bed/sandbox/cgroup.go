package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// killTimeout is how long a cgroup may take to become empty after its processes were killed.
const killTimeout = 20 * time.Second

// Hierarchy is a mounted hierarchy of cgroups.
type Hierarchy struct {
	Path    string // where it is mounted
	Type    string // cgroup2, or cgroup for v1
	Options string // for mount -o: the v1 controllers
}

// mountinfo lists the mounts as the calling thread sees them. /proc/self is the process's first thread, which may be in a mount namespace of its own by
// then, and does not see what is mounted afterwards.
const mountinfo = "/proc/thread-self/mountinfo"

// Hierarchies lists those of this machine: one of v2, in /sys/fs/cgroup or in a folder there where the machine still has
// v1 controllers, which then have a hierarchy each.
func Hierarchies() ([]Hierarchy, error) {
	b, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil, fmt.Errorf("listing mounts: %w", err)
	}
	var all []Hierarchy
	for line := range strings.Lines(string(b)) {
		before, after, ok := strings.Cut(line, " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if ok && len(fields) > 4 && len(rest) > 2 && strings.HasPrefix(rest[0], "cgroup") {
			all = append(all, Hierarchy{Path: fields[4], Type: rest[0], Options: rest[2]})
		}
	}
	return all, nil
}

// cgroupRoot is where the cgroup v2 hierarchy is mounted.
func cgroupRoot() (string, error) {
	all, err := Hierarchies()
	if err != nil {
		return "", err
	}
	for _, h := range all {
		if h.Type == "cgroup2" {
			return h.Path, nil
		}
	}
	return "", errors.New("finding cgroups: no cgroup v2 hierarchy is mounted")
}

// legacyCgroups are the folders of that name in the v1 hierarchies, whether they are there or not. What runs in them is in the v2
// hierarchy too: containers only.
func legacyCgroups(name string) ([]string, error) {
	all, err := Hierarchies()
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, h := range all {
		if h.Type == "cgroup" {
			paths = append(paths, filepath.Join(h.Path, name))
		}
	}
	return paths, nil
}

// removeLegacy removes a cgroup of a v1 hierarchy, whose processes have been killed.
func removeLegacy(path string) error {
	for deadline := time.Now().Add(killTimeout); ; time.Sleep(5 * time.Millisecond) {
		err := removeTree(path)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
			return fmt.Errorf("removing cgroup %s: %w", path, err)
		}
	}
}

// removeCgroup kills every process in the cgroup at path and below, and removes it.
func removeCgroup(path string) error {
	deadline := time.Now().Add(killTimeout)
	for {
		err := os.WriteFile(filepath.Join(path, "cgroup.kill"), []byte("1"), 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("killing cgroup %s: %w", path, err)
		}
		err = removeTree(path)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
			return fmt.Errorf("removing cgroup %s: %w", path, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// removeTree removes a cgroup and its descendants: folders only, the deepest first, for the files in them
// cannot be removed.
func removeTree(path string) error {
	var dirs []string
	err := filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, syscall.ENOENT) {
			return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
	}
	return nil
}
