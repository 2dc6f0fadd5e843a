package testhost

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// Run runs a command on the host as root and returns what it prints. What it complains of is in the error,
// which wraps an *exec.ExitError.
func (h *Host) Run(ctx context.Context, argv ...string) (string, error) {
	cmd := h.Command(ctx, argv...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("running %q on %s: %w: %s", strings.Join(argv, " "), h.Name, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Shell runs a script on the host, to its first failure.
func (h *Host) Shell(ctx context.Context, script string) (string, error) {
	return h.Run(ctx, "sh", "-ec", script)
}

// Command prepares a command on the host, which must be on. A command that is cut off by ctx may go on there
// until the host goes off.
func (h *Host) Command(ctx context.Context, argv ...string) *exec.Cmd {
	leader := 0 // no such process: nsenter says so
	if b := h.current(); b != nil {
		leader = b.leader
	}
	args := []string{"-t", strconv.Itoa(leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--", "env", "-i",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root", "TERM=dumb"}
	cmd := exec.CommandContext(ctx, "nsenter", append(args, argv...)...)
	cmd.WaitDelay = 5 * time.Second // what goes on there has the pipes
	return cmd
}

// NetNS is the path of the host's network namespace, good until it goes off.
func (h *Host) NetNS() string { return h.current().netns }

// Netlink asks the host's kernel, until the host goes off. The caller closes it.
func (h *Host) Netlink() (*netlink.Handle, error) { return netlinkAt(h.NetNS()) }

// Leader is the process id of the host's PID 1 on this machine.
func (h *Host) Leader() int { return h.current().leader }

// SystemBus is the address of the host's system bus, for a process on this machine.
func (h *Host) SystemBus() string {
	return fmt.Sprintf("unix:path=/proc/%d/root/run/dbus/system_bus_socket", h.Leader())
}
