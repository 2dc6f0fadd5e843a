package controlplane

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"multinicd/test/bed/sandbox"
)

// Program is one running program of the control plane. Its methods are for one goroutine at a time.
type Program struct {
	Name string
	// LogFile has what it says, over all its runs.
	LogFile string

	path string
	args []string
	gogc string
	box  *sandbox.Sandbox

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
}

// gogc lets the control plane collect garbage less often: a start of the API server takes 1.6 s of a processor in place of 1.9, for a
// third more memory (395 MB in place of 293; Kubernetes 1.37, 2026-11).
const gogc = "400"

func (p *Program) start() error {
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", p.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Dir = filepath.Dir(p.LogFile)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "GOGC="+p.gogc)
	if err := p.box.Start("controlplane", cmd); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in the log; that it ended is in the channel
		close(exited)
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.exited = cmd, exited
	return nil
}

// PID is the process id, of the last run.
func (p *Program) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Pause stops the program where it is: connections stay open and nothing answers. It waits until no thread runs any more. Resume goes on.
func (p *Program) Pause() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if stopped, err := p.stopped(); stopped || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("pausing %s: it still runs after 30 s", p.Name)
		}
	}
}

// stopped says whether all threads are.
func (p *Program) stopped() (bool, error) {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID()))
	if err != nil {
		return false, fmt.Errorf("listing the threads of %s: %w", p.Name, err)
	}
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue // it has ended
		}
		// proc_pid_stat(5): the state is behind the name, in parentheses, which may hold anything.
		if _, state, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')'):]), " "); !strings.HasPrefix(state, "T") {
			return false, nil
		}
	}
	return true, nil
}

// Resume lets a paused program go on.
func (p *Program) Resume() error { return p.signal(syscall.SIGCONT) }

// Kill ends the program without warning and waits until it is gone.
func (p *Program) Kill() error { return p.end(syscall.SIGKILL) }

// Terminate asks the program to end and waits until it has, for 30 s.
func (p *Program) Terminate() error { return p.end(syscall.SIGTERM) }

func (p *Program) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("sending %v to %s: %w", sig, p.Name, err)
	}
	return nil
}

func (p *Program) end(sig syscall.Signal) error {
	if !p.running() {
		return nil
	}
	if err := p.signal(sig); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(30 * time.Second):
		return fmt.Errorf("ending %s: it still runs 30 s after %v", p.Name, sig)
	}
}

func (p *Program) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// tail is the end of the log, for an error.
func (p *Program) tail() string {
	b, err := os.ReadFile(p.LogFile)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	if len(lines) > 15 {
		lines = lines[len(lines)-15:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}
