package testhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	unit        = "multinicd.service"
	recoverUnit = "multinicd-recover.service"
)

// InstallDaemon puts multinicd where its package would and enables it: the binary and the unit are paths on
// this machine, config is the text of multinicd.toml, none if empty. It is not started: that is for StartDaemon,
// or the next boot.
func (h *Host) InstallDaemon(ctx context.Context, binary, unitFile, config string) error {
	program, err := os.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("installing multinicd: %w", err)
	}
	service, err := os.ReadFile(unitFile)
	if err != nil {
		return fmt.Errorf("installing multinicd: %w", err)
	}
	// A running program's file cannot be written, but removed.
	_ = h.Remove("/usr/bin/multinicd")
	if err := h.WriteFile("/usr/bin/multinicd", program, 0o755); err != nil {
		return err
	}
	if err := h.WriteFile("/usr/lib/systemd/system/"+unit, service, 0o644); err != nil {
		return err
	}
	if config != "" {
		if err := h.WriteFile("/etc/multinicd/multinicd.toml", []byte(config), 0o644); err != nil {
			return err
		}
	}
	if err := h.enable(unit, service); err != nil {
		return err
	}
	// The other unit of the package, where the first lies beside it.
	if beside, err := os.ReadFile(filepath.Join(filepath.Dir(unitFile), recoverUnit)); err == nil {
		if err := h.WriteFile("/usr/lib/systemd/system/"+recoverUnit, beside, 0o644); err != nil {
			return err
		}
		if err := h.enable(recoverUnit, beside); err != nil {
			return err
		}
	}
	if !h.Running() {
		return nil
	}
	_, err = h.Run(ctx, "systemctl", "daemon-reload")
	return err
}

// enable is what systemctl enable would do, on a host that may be off.
func (h *Host) enable(name string, unit []byte) error {
	for line := range strings.Lines(string(unit)) {
		targets, ok := strings.CutPrefix(strings.TrimSpace(line), "WantedBy=")
		if !ok {
			continue
		}
		for _, target := range strings.Fields(targets) {
			if err := h.symlink("/usr/lib/systemd/system/"+name, "/etc/systemd/system/"+target+".wants/"+name); err != nil {
				return err
			}
		}
	}
	return nil
}

// InstallPackage is InstallDaemon from a .deb on this machine, by the package's own scripts. The host must be on.
func (h *Host) InstallPackage(ctx context.Context, deb, config string) error {
	data, err := os.ReadFile(deb)
	if err != nil {
		return fmt.Errorf("installing multinicd: %w", err)
	}
	const file, policy = "/var/tmp/multinicd.deb", "/usr/sbin/policy-rc.d"
	if err := h.WriteFile(file, data, 0o644); err != nil {
		return err
	}
	// The scripts start the service, but for such a policy; the tests want to do that themselves.
	if err := h.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
		return err
	}
	if config != "" {
		if err := h.WriteFile("/etc/multinicd/multinicd.toml", []byte(config), 0o644); err != nil {
			return err
		}
	}
	if out, err := h.Run(ctx, "dpkg", "--force-confold", "--install", file); err != nil {
		return fmt.Errorf("installing %s: %w\n%s", deb, err, out)
	}
	return errors.Join(h.Remove(policy), h.Remove(file))
}

// StartDaemon starts multinicd and waits until it is ready, as its unit says it is.
func (h *Host) StartDaemon(ctx context.Context) error { return h.systemctl(ctx, "start") }

// StopDaemon stops multinicd in good order.
func (h *Host) StopDaemon(ctx context.Context) error { return h.systemctl(ctx, "stop") }

// RestartDaemon stops and starts it.
func (h *Host) RestartDaemon(ctx context.Context) error { return h.systemctl(ctx, "restart") }

// KillDaemon ends multinicd by SIGKILL. Whether and when it comes back is the unit's business.
func (h *Host) KillDaemon(ctx context.Context) error {
	return h.systemctl(ctx, "kill", "--kill-whom=all", "--signal=SIGKILL")
}

// DaemonPID is multinicd's process id on the host; 0 if it does not run.
func (h *Host) DaemonPID(ctx context.Context) (int, error) {
	out, err := h.Run(ctx, "systemctl", "show", "--property=MainPID", "--value", unit)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		return 0, fmt.Errorf("finding multinicd on %s: %w", h.Name, err)
	}
	return pid, nil
}

// DaemonProcesses are multinicd's as systemd runs it, by their ids on this machine; none where it does not run. The cgroup has them, so that whoever waits
// can look often: no process is started for it.
func (h *Host) DaemonProcesses() []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/sys/fs/cgroup/system.slice/%s/cgroup.procs", h.Leader(), unit))
	if err != nil {
		return nil // the cgroup is there as long as they are
	}
	var all []int
	for field := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// DaemonState is the state of multinicd's process as proc_pid_stat(5) has it ("S", "T"), as systemd runs it; "" where it does not run.
func (h *Host) DaemonState() string {
	for _, pid := range h.DaemonProcesses() {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has just ended
		}
		// The name is in parentheses, which may hold anything; the state is behind it.
		if _, state, ok := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), ") "); ok {
			return state[:1]
		}
	}
	return ""
}

// Journal is what multinicd and systemd about it said, in all boots; an error is in the text.
func (h *Host) Journal(ctx context.Context) string { return h.UnitJournal(ctx, unit) }

// UnitJournal is the same for any unit.
func (h *Host) UnitJournal(ctx context.Context, unit string) string {
	// What was logged a moment ago may not have been read by journald yet.
	out, err := h.Run(ctx, "sh", "-c", `journalctl --sync; exec journalctl --no-pager --quiet --output=short-precise --unit="$0"`, unit)
	if err != nil {
		out += "\n" + err.Error()
	}
	return out
}

func (h *Host) systemctl(ctx context.Context, verb string, options ...string) error {
	if _, err := h.Run(ctx, append([]string{"systemctl", verb, unit}, options...)...); err != nil {
		if verb == "kill" {
			return err
		}
		return fmt.Errorf("%w\n%s", err, h.Journal(context.WithoutCancel(ctx)))
	}
	return nil
}
