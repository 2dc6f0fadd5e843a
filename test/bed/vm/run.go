package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"
)

// ExitError is a command that ran and failed.
type ExitError struct {
	Code   int // -1: ended by a signal
	Stderr string
}

func (e *ExitError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("exit status %d: %s", e.Code, e.Stderr))
}

// environment is that of each command, the same as on a host.
var environment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root", "TERM=dumb"}

// Run runs a command in the VM as root and returns what it prints. What it complains of is in the error, which wraps an *ExitError. A VM that boots runs it as soon as
// systemd has started the guest agent. A command that is cut off by ctx goes on.
func (v *VM) Run(ctx context.Context, argv ...string) (string, error) {
	return v.run(ctx, nil, argv...)
}

// Shell runs a script in the VM, to its first failure.
func (v *VM) Shell(ctx context.Context, script string) (string, error) {
	return v.Run(ctx, "sh", "-ec", script)
}

func (v *VM) run(ctx context.Context, input []byte, argv ...string) (string, error) {
	failed := func(err error) error {
		return fmt.Errorf("running %q on %s: %w", strings.Join(argv, " "), v.Name, err)
	}
	b := v.current()
	if b == nil {
		return "", failed(errors.New("it is off"))
	}
	command := map[string]any{"path": argv[0], "arg": append([]string{}, argv[1:]...), "env": environment, "capture-output": true}
	if input != nil {
		command["input-data"] = input
	}
	var started struct {
		PID int `json:"pid"`
	}
	if err := b.agent.ask(ctx, "guest-exec", command, &started); err != nil {
		return "", failed(err)
	}
	// A look costs the guest little, and the longer something takes the less it matters when its end is seen.
	for pause := 10 * time.Millisecond; ; pause = min(pause*5/4, 300*time.Millisecond) {
		var status struct {
			Exited   bool   `json:"exited"`
			ExitCode *int   `json:"exitcode"`
			Out      []byte `json:"out-data"`
			Err      []byte `json:"err-data"`
		}
		if err := b.agent.ask(ctx, "guest-exec-status", map[string]any{"pid": started.PID}, &status); err != nil {
			return "", failed(err)
		}
		if status.Exited {
			if status.ExitCode != nil && *status.ExitCode == 0 {
				return string(status.Out), nil
			}
			end := &ExitError{Code: -1, Stderr: strings.TrimSpace(string(status.Err))}
			if status.ExitCode != nil {
				end.Code = *status.ExitCode
			}
			return string(status.Out), failed(end)
		}
		select {
		case <-ctx.Done():
			return "", failed(context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// ReadFile reads a file of a VM that is on. A file that is not there is fs.ErrNotExist.
func (v *VM) ReadFile(ctx context.Context, name string) ([]byte, error) {
	const absent = 44
	out, err := v.Run(ctx, "sh", "-c", fmt.Sprintf(`test -e "$0" || exit %d; exec cat "$0"`, absent), name)
	var exit *ExitError
	if errors.As(err, &exit) && exit.Code == absent {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return []byte(out), err
}

// WriteFile writes a file of a VM that is on, with exactly that mode and the folders above it, 0755.
func (v *VM) WriteFile(ctx context.Context, name string, content []byte, mode fs.FileMode) error {
	const script = `umask 022; mkdir -p "$1"; umask 077; cat >"$0"; chmod "$2" "$0"`
	_, err := v.run(ctx, append([]byte{}, content...), "sh", "-ec", script, name, path.Dir(path.Clean("/"+name)), fmt.Sprintf("%o", mode.Perm()))
	return err
}
