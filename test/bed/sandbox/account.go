package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Account counts the processor time of this process, of all that it starts, and of its sandboxes: what the rest of a busy machine's time is not. The
// process is in a cgroup of its own meanwhile, since a parent is told nothing of what ended below a child that had not waited for it.
type Account struct {
	dir, home string // cgroups: its own, and the one from which the process came
	before    float64
}

// NewAccount begins one, of which a process has one at a time. It needs root.
func NewAccount() (*Account, error) {
	root, err := cgroupRoot()
	if err != nil {
		return nil, err
	}
	old, err := filepath.Glob(filepath.Join(root, Prefix+"run-*"))
	for _, dir := range old {
		_ = os.Remove(dir) // of a killed run; one that is in use stays
	}
	if err != nil {
		return nil, fmt.Errorf("finding cgroups: %w", err)
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("finding the cgroup of this process: %w", err)
	}
	a := &Account{dir: filepath.Join(root, fmt.Sprintf("%srun-%d", Prefix, os.Getpid())), home: root}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			a.home = filepath.Join(root, path)
		}
	}
	if err := os.Mkdir(a.dir, 0o755); err != nil {
		return nil, fmt.Errorf("making a cgroup: %w", err)
	}
	if err := enter(a.dir); err != nil {
		return nil, errors.Join(err, os.Remove(a.dir))
	}
	a.before, err = sandboxes()
	return a, err
}

func enter(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return fmt.Errorf("entering a cgroup: %w", err)
	}
	return nil
}

// Spent is the time since the account was begun, in seconds.
func (a *Account) Spent() (float64, error) {
	own, err := spent(a.dir)
	if err != nil {
		return 0, err
	}
	boxes, err := sandboxes()
	return own + boxes - a.before, err
}

// Close puts the process back where it was.
func (a *Account) Close() error {
	if err := enter(a.home); err != nil {
		return err
	}
	if err := os.Remove(a.dir); err != nil {
		return fmt.Errorf("removing a cgroup: %w", err)
	}
	return nil
}

// sandboxes is the time of all sandboxes that this process has made.
func sandboxes() (float64, error) {
	live.mu.Lock()
	defer live.mu.Unlock()
	all := live.used
	for s := range live.open {
		one, err := spent(s.cgroup)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it is being closed
			return 0, err
		}
		all += one
	}
	return all, nil
}

// spent is usage_usec of a cgroup's cpu.stat, in seconds. It counts what has ended and what is below, too, and is there without any controller.
func spent(cgroup string) (float64, error) {
	text, err := os.ReadFile(filepath.Join(cgroup, "cpu.stat"))
	if err != nil {
		return 0, fmt.Errorf("reading processor time: %w", err)
	}
	var us float64
	if _, err := fmt.Sscanf(string(text), "usage_usec %f", &us); err != nil {
		return 0, fmt.Errorf("reading processor time of %s: %w", cgroup, err)
	}
	return us / 1e6, nil
}

// Others names the sandboxes that other processes hold, with their PIDs.
func Others() (others []string, err error) {
	entries, err := os.ReadDir(registry())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the sandbox registry: %w", err)
	}
	for _, entry := range entries {
		dir := filepath.Join(registry(), entry.Name())
		var o owner
		b, err := os.ReadFile(filepath.Join(dir, ownerFile))
		if err == nil && json.Unmarshal(b, &o) == nil && o.PID != os.Getpid() && owned(dir) {
			others = append(others, fmt.Sprintf("%s of process %d", entry.Name(), o.PID))
		}
	}
	return others, nil
}
