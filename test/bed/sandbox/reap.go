package sandbox

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	ownerFile     = "owner.json"
	processesFile = "processes"
)

// Reap removes every sandbox whose owner no longer runs and returns their ids. Errors do not keep it from the
// next one; they come joined.
func Reap(logf func(string, ...any)) ([]string, error) {
	entries, err := os.ReadDir(registry())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the sandbox registry: %w", err)
	}
	var reaped []string
	var errs []error
	for _, entry := range entries {
		dir := filepath.Join(registry(), entry.Name())
		if strings.HasPrefix(entry.Name(), "new-") {
			// Not yet registered, so nothing is inside; a minute is ample to register.
			if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > time.Minute {
				errs = append(errs, os.RemoveAll(dir))
			}
			continue
		}
		if owned(dir) {
			continue
		}
		logf("removing what a killed run left: sandbox %s", entry.Name())
		if err := destroy(entry.Name()); err != nil {
			errs = append(errs, err)
			continue
		}
		reaped = append(reaped, entry.Name())
	}
	return reaped, errors.Join(errs...)
}

// owned tells whether the process that made the sandbox at dir is alive.
func owned(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, ownerFile))
	if err != nil {
		return false
	}
	var o owner
	if err := json.Unmarshal(b, &o); err != nil {
		return false
	}
	start, err := startTime(o.PID)
	return err == nil && start == o.Start
}

// destroy removes all that belongs to the sandbox id. It is the only way out, for the owner as for a reaper,
// and may be run again after it failed.
func destroy(id string) error {
	dir := filepath.Join(registry(), id)
	var errs []error
	if root, err := cgroupRoot(); err == nil {
		errs = append(errs, removeCgroup(filepath.Join(root, Prefix+id)))
	}
	errs = append(errs, killRecorded(filepath.Join(dir, processesFile)))
	legacy, err := legacyCgroups(Prefix + id)
	errs = append(errs, err)
	for _, path := range legacy {
		errs = append(errs, removeLegacy(path))
	}
	errs = append(errs, unmountBelow(dir))
	namespaces, _ := filepath.Glob(filepath.Join(netnsDir, Prefix+id+"-*")) // fails on a bad pattern only
	for _, path := range namespaces {
		errs = append(errs, removeNetns(path))
	}
	machines, _ := filepath.Glob(filepath.Join(nspawnDir, "*", Prefix+id+"-*"))
	for _, path := range machines {
		errs = append(errs, os.RemoveAll(path))
	}
	if err := errors.Join(errs...); err != nil {
		// The folder stays: it is what the next attempt finds us by.
		return fmt.Errorf("removing sandbox %s: %w", id, err)
	}
	if err := removeAll(dir); err != nil {
		return fmt.Errorf("removing sandbox %s: %w", id, err)
	}
	return nil
}

// removeAll is os.RemoveAll, which begins again as long as files appear behind it: a process that entered a host from outside is in no cgroup of ours, and
// is on its way out still. The error says what appeared.
func removeAll(dir string) error {
	deadline := time.Now().Add(killTimeout)
	for {
		err := os.RemoveAll(dir)
		var at *fs.PathError
		if !errors.Is(err, syscall.ENOTEMPTY) || !errors.As(err, &at) {
			return err
		}
		entries, _ := os.ReadDir(at.Path) // gone by now: then the next turn ends it
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %v", err, entries)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Left lists what there is on this machine of sandbox id, one line each: the proof that nothing remains.
func Left(id string) ([]string, error) {
	var left []string
	for _, pattern := range []string{
		filepath.Join(registry(), id),
		filepath.Join(netnsDir, Prefix+id+"-*"),
		filepath.Join(nspawnDir, "*", Prefix+id+"-*"),
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("looking for %s: %w", pattern, err)
		}
		left = append(left, paths...)
	}
	if root, err := cgroupRoot(); err == nil {
		paths, _ := filepath.Glob(filepath.Join(root, Prefix+id+"*"))
		left = append(left, paths...)
	}
	legacy, err := legacyCgroups(Prefix + id)
	if err != nil {
		return nil, err
	}
	for _, path := range legacy {
		if _, err := os.Stat(path); err == nil {
			left = append(left, path)
		}
	}
	mounts, err := mountsBelow(filepath.Join(registry(), id))
	if err != nil {
		return nil, err
	}
	for _, mount := range mounts {
		left = append(left, "mount "+mount)
	}
	// Processes name the sandbox in their command line: by its folder or by the container's name.
	cmdlines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range cmdlines {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		cmdline := strings.ReplaceAll(string(b), "\x00", " ")
		if strings.Contains(cmdline, filepath.Join(registry(), id)) || strings.Contains(cmdline, Prefix+id) {
			left = append(left, "process "+cmdline)
		}
	}
	return left, nil
}

// startTime is field 22 of /proc/PID/stat, in clock ticks since boot.
func startTime(pid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", fmt.Errorf("reading the start time of process %d: %w", pid, err)
	}
	// The command's name, in parentheses, may hold anything; the fields after it start with number 3.
	rest := string(b)[strings.LastIndexByte(string(b), ')')+1:]
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return "", fmt.Errorf("reading the start time of process %d: %q", pid, b)
	}
	return fields[19], nil
}

// killRecorded ends the processes listed in the file, if they are still the same ones.
func killRecorded(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the recorded processes: %w", err)
	}
	defer f.Close()
	var errs []error
	for lines := bufio.NewScanner(f); lines.Scan(); {
		word, start, _ := strings.Cut(lines.Text(), " ")
		pid, err := strconv.Atoi(word)
		if err != nil {
			continue
		}
		if now, err := startTime(pid); err != nil || now != start {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("killing process %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// mountsBelow lists the mount points at and below dir, the deepest and latest first.
func mountsBelow(dir string) ([]string, error) {
	b, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil, fmt.Errorf("listing mounts: %w", err)
	}
	var below []string
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			if point := fields[4]; point == dir || strings.HasPrefix(point, dir+"/") {
				below = append([]string{point}, below...)
			}
		}
	}
	return below, nil
}

func unmountBelow(dir string) error {
	mounts, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, mount := range mounts {
		// Not mounted any more: another process reaps too.
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", mount, err))
		}
	}
	return errors.Join(errs...)
}

func removeNetns(path string) error {
	// Not mounted: the run was killed between making the file and mounting on it.
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmounting %s: %w", path, err)
	}
	// Removing the file also detaches the copies of this mount in other mount namespaces.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing network namespace %s: %w", path, err)
	}
	return nil
}
