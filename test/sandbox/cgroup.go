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

// cgroupRoot is where the cgroup v2 hierarchy is mounted: /sys/fs/cgroup, or a folder in it where the machine
// still has v1 controllers.
func cgroupRoot() (string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("listing mounts: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if ok && len(fields) > 4 && strings.HasPrefix(after, "cgroup2 ") {
			return fields[4], nil
		}
	}
	return "", errors.New("finding cgroups: no cgroup v2 hierarchy is mounted")
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
