// Package sandbox holds everything that a test starts on this machine, so that all of it can be thrown away
// again, also by the next run if this one was killed.
//
// A Sandbox is one folder, one cgroup and a prefix for network namespaces. Every process is started inside the
// cgroup, every mount is made below the folder, every network namespace carries the prefix.
//
// It must not need to know what it holds: closing kills the cgroup, unmounts what lies below the folder, and
// removes namespaces and folder. That is also how Reap clears up after a process that died.
//
// Start reading at New and destroy.
package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Prefix begins the name of every cgroup, network namespace and container of the test bed.
const Prefix = "mnbed-"

const (
	// Not /run/netns: the first `ip netns add` of anybody on this machine mounts that folder over itself, and what lies beneath can no longer be
	// taken away.
	netnsDir = "/run/mnbed-netns"
	// nspawn keeps folders per machine in here, in one folder per purpose.
	nspawnDir = "/run/systemd/nspawn"
)

// Sandbox is safe for use by several goroutines.
type Sandbox struct {
	// ID is unique among the sandboxes of this machine: 6 hex digits.
	ID string
	// Dir is the sandbox's own folder, 0700, below the temporary folder.
	Dir string

	cgroup string // empty without root
	logf   func(string, ...any)

	mu      sync.Mutex
	onClose []func()

	closing sync.Once
	closed  chan struct{} // closed once everything is gone
	err     error         // readable after closed
}

// owner is what a sandbox's folder says about the process that made it.
type owner struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // start time from /proc: a PID alone is used again
}

// New makes a sandbox. It is closed when ctx ends, on SIGINT and SIGTERM (which then end the process, as they
// would have), or by Close. Without root it can hold processes only.
func New(ctx context.Context, logf func(string, ...any)) (*Sandbox, error) {
	var b [3]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, fmt.Errorf("choosing a sandbox's id: %w", err)
	}
	s := &Sandbox{ID: hex.EncodeToString(b[:]), logf: logf, closed: make(chan struct{})}
	s.Dir = filepath.Join(registry(), s.ID)
	// The registration comes first: whatever happens from here on, a later run finds it.
	if err := s.register(); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		root, err := cgroupRoot()
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.cgroup = filepath.Join(root, Prefix+s.ID)
		if err := os.Mkdir(s.cgroup, 0o755); err != nil {
			return nil, errors.Join(fmt.Errorf("making a cgroup: %w", err), s.Close())
		}
	}
	live.add(s)
	stop := context.AfterFunc(ctx, func() {
		if err := s.Close(); err != nil {
			s.logf("closing sandbox %s: %v", s.ID, err)
		}
	})
	go func() { <-s.closed; stop() }()
	return s, nil
}

// Close removes everything that is in the sandbox. Further calls wait for the first and return its error.
func (s *Sandbox) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		onClose := s.onClose
		s.mu.Unlock()
		for _, f := range slices.Backward(onClose) {
			f()
		}
		used, _ := spent(s.cgroup) // none without root, or where its making failed
		s.err = destroy(s.ID)
		live.remove(s, used)
		close(s.closed)
	})
	<-s.closed
	return s.err
}

// OnClose has f called before the sandbox is removed, the latest first: for what this process itself holds open
// in there.
func (s *Sandbox) OnClose(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onClose = append(s.onClose, f)
}

// Netns makes an empty network namespace and returns its full name and path. Its loopback is down.
func (s *Sandbox) Netns(name string) (fullName, path string, err error) {
	fullName = Prefix + s.ID + "-" + name
	path = filepath.Join(netnsDir, fullName)
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return "", "", fmt.Errorf("making %s: %w", netnsDir, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return "", "", fmt.Errorf("making network namespace %s: %w", name, err)
	}
	f.Close()
	// By a process of its own: a thread of ours that entered a new namespace could not be got rid of for sure.
	if out, err := exec.Command("unshare", "--net="+path, "true").CombinedOutput(); err != nil {
		return "", "", errors.Join(fmt.Errorf("making network namespace %s: %w: %s", name, err, out), os.Remove(path))
	}
	return fullName, path, nil
}

// RemoveNetns takes away what Netns made.
func (s *Sandbox) RemoveNetns(path string) error { return removeNetns(path) }

// Start starts cmd inside the sandbox, in the sub-cgroup group, which is made if need be. The name is plain
// words, with '/' between them. It sets cmd.SysProcAttr, in a session of its own, so that Ctrl-C at a terminal does not reach it first.
func (s *Sandbox) Start(group string, cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	if s.cgroup == "" {
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("starting %s: %w", cmd.Path, err)
		}
		return s.record(cmd.Process.Pid)
	}
	path := filepath.Join(s.cgroup, group)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("making cgroup %s: %w", group, err)
	}
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening cgroup %s: %w", group, err)
	}
	defer dir.Close()
	cmd.SysProcAttr.UseCgroupFD = true
	cmd.SysProcAttr.CgroupFD = int(dir.Fd())
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	return nil
}

// KillGroup ends all processes of a sub-cgroup at once, as a power cut does, and removes it. A group that does
// not exist is no error.
func (s *Sandbox) KillGroup(group string) error {
	return removeCgroup(filepath.Join(s.cgroup, group))
}

// GroupDir is the folder of a sub-cgroup in the cgroup file system.
func (s *Sandbox) GroupDir(group string) string { return filepath.Join(s.cgroup, group) }

// registry is where sandboxes are found by a later run.
func registry() string { return filepath.Join(os.TempDir(), "multinicd-bed") }

// register makes the sandbox's folder with the name of its owner in it, in one step.
func (s *Sandbox) register() error {
	if err := os.MkdirAll(registry(), 0o700); err != nil {
		return fmt.Errorf("making the sandbox registry: %w", err)
	}
	start, err := startTime(os.Getpid())
	if err != nil {
		return err
	}
	b, err := json.Marshal(owner{PID: os.Getpid(), Start: start})
	if err != nil {
		return fmt.Errorf("registering a sandbox: %w", err)
	}
	fresh, err := os.MkdirTemp(registry(), "new-")
	if err != nil {
		return fmt.Errorf("registering a sandbox: %w", err)
	}
	if err := os.WriteFile(filepath.Join(fresh, ownerFile), b, 0o600); err != nil {
		return fmt.Errorf("registering a sandbox: %w", err)
	}
	if err := os.Rename(fresh, s.Dir); err != nil {
		return fmt.Errorf("registering a sandbox: %w", err)
	}
	return nil
}

// record notes a process where there is no cgroup to hold it.
func (s *Sandbox) record(pid int) error {
	start, err := startTime(pid)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(s.Dir, processesFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("recording process %d: %w", pid, err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%d %s\n", pid, start); err != nil {
		return fmt.Errorf("recording process %d: %w", pid, err)
	}
	return nil
}

// registrations are the open sandboxes of this process, for the signal handler.
type registrations struct {
	mu        sync.Mutex
	open      map[*Sandbox]bool
	listening bool
	goOn      bool    // after SIGINT
	used      float64 // processor seconds of those that are closed
}

// GoOnAfterInterrupt has this process go on once SIGINT has closed the sandboxes: it notices the signal too, and ends by itself.
func GoOnAfterInterrupt() {
	live.mu.Lock()
	defer live.mu.Unlock()
	live.goOn = true
}

var live = registrations{open: map[*Sandbox]bool{}}

func (r *registrations) add(s *Sandbox) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[s] = true
	if r.listening {
		return
	}
	r.listening = true
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		sig := syscall.SIGTERM
		if <-signals == os.Interrupt {
			sig = syscall.SIGINT
		}
		r.mu.Lock()
		goOn := r.goOn && sig == syscall.SIGINT
		open := make([]*Sandbox, 0, len(r.open))
		for s := range r.open {
			open = append(open, s)
		}
		r.mu.Unlock()
		for _, s := range open {
			if err := s.Close(); err != nil {
				fmt.Fprintf(os.Stderr, "closing sandbox %s: %v\n", s.ID, err)
			}
		}
		if goOn {
			return
		}
		signal.Reset(sig)
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			os.Exit(1)
		}
		time.Sleep(time.Second)
		os.Exit(1)
	}()
}

func (r *registrations) remove(s *Sandbox, used float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, s)
	r.used += used
}
