package testhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	bootTimeout = 90 * time.Second
	// onlineTimeout is for a host whose network a test has broken on purpose. Any other host has its address in less than a second, and is
	// waited for no longer.
	onlineTimeout = 45 * time.Second
	// powerOffTimeout is more than systemd gives a service that does not stop (90 s by default).
	powerOffTimeout = 120 * time.Second
	// powerOffSignal asks systemd as PID 1 to power off: SIGRTMIN+4, see systemd(1), SIGNALS.
	powerOffSignal = syscall.Signal(34 + 4)
)

// bootScript starts a host in its network namespace, with the folder of its root file system as $1, the
// machine's name as $2 and the host's name as $3.
//
// nspawn is not told the network namespace but runs in it, and in a mount namespace with that network
// namespace's /sys: with --network-namespace-path a writable /sys would be the outer one's, where udev and
// NetworkManager do not find the NICs, and udevd needs it writable. /sys/fs/cgroup has to be v2 and nothing
// else, which the machine's own need not be.
const bootScript = `
set -e
umount -R /sys
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 SYSTEMD_NSPAWN_LOCK=0
exec systemd-nspawn --quiet -b -D "$1" -M "$2" --hostname="$3" --capability=all --register=no --keep-unit \
	--console=pipe --resolv-conf=off --timezone=off --link-journal=no
`

// Boot powers the host on and waits until systemd has nothing left to start: 1 to 2 s. Units that failed are
// not an error; see FailedUnits. The host has a network namespace and NICs that it never saw before.
func (h *Host) Boot(ctx context.Context) error {
	begin := time.Now()
	if err := h.PowerOn(ctx); err != nil {
		return err
	}
	if err := h.Booted(ctx); err != nil {
		return err
	}
	h.world.Logf("%s booted in %.1f s", h.Name, time.Since(begin).Seconds())
	return nil
}

// PowerOn starts the host and returns when commands can be run in it, while it boots.
func (h *Host) PowerOn(ctx context.Context) error {
	if h.Running() {
		return fmt.Errorf("powering on %s: it is on", h.Name)
	}
	// It may have powered itself off.
	if err := h.Kill(); err != nil {
		return err
	}
	var b boot
	var err error
	if b.netnsName, b.netns, err = h.world.box.Netns(h.group); err != nil {
		return err
	}
	h.mu.Lock()
	h.boot = &b
	h.mu.Unlock()
	if err := h.plugAll(); err != nil {
		return errors.Join(err, h.Kill())
	}
	if err := h.spawn(&b); err != nil {
		return errors.Join(err, h.Kill())
	}
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	for {
		if b.leader = leader(b.cmd.Process.Pid); b.leader != 0 {
			return nil
		}
		select {
		case <-b.exited:
			return errors.Join(fmt.Errorf("powering on %s: it ended at once:\n%s", h.Name, h.Console()), h.Kill())
		default:
		}
		if err := pause(ctx, "PID 1 of "+h.Name); err != nil {
			return errors.Join(err, h.Kill())
		}
	}
}

// spawn starts systemd-nspawn.
func (h *Host) spawn(b *boot) error {
	console, err := os.OpenFile(h.consolePath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the console of %s: %w", h.Name, err)
	}
	defer console.Close()
	cmd := exec.Command("nsenter", "--net="+b.netns, "unshare", "--mount", "--propagation", "private",
		"sh", "-c", bootScript, "boot", h.root, b.netnsName, h.Name)
	cmd.Stdout, cmd.Stderr = console, console
	if err := h.world.box.Start(h.group, cmd); err != nil {
		return err
	}
	b.cmd, b.exited = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait() // what it says is on the console
		close(b.exited)
	}()
	return nil
}

// Booted waits until systemd is done starting.
func (h *Host) Booted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	// Before the bus is there systemd cannot be asked. To look for its socket takes no process, of which a boot would see dozens.
	for {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/run/dbus/system_bus_socket", h.Leader())); err == nil || !h.Running() || pause(ctx, "") != nil {
			break
		}
	}
	for {
		state, err := h.Run(ctx, "systemctl", "is-system-running", "--wait")
		switch strings.TrimSpace(state) {
		case "running":
			return h.online(ctx)
		case "degraded":
			h.world.Logf("%s has failed units: %s", h.Name, strings.Join(h.FailedUnits(ctx), " "))
			return h.online(ctx)
		}
		if !h.Running() {
			return fmt.Errorf("booting %s: it went off:\n%s", h.Name, h.Console())
		}
		for range 5 {
			if pause(ctx, "") != nil {
				jobs, _ := h.Run(context.WithoutCancel(ctx), "systemctl", "list-jobs", "--no-pager")
				return fmt.Errorf("booting %s: %w, state %q (%w), jobs:\n%s", h.Name, context.Cause(ctx), strings.TrimSpace(state), err, jobs)
			}
		}
	}
}

// online waits until the primary NIC has its address and its default route, which networkd gives it one after the other,
// some time after systemd takes it for started. A host that does not get so far, after a test broke its configuration,
// has booted all the same. The kernel is asked from this machine, since a process on the host would take of it what is waited for.
func (h *Host) online(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, onlineTimeout)
	defer cancel()
	kernel, err := h.Netlink()
	if err != nil {
		return err
	}
	defer kernel.Close()
	for {
		if h.hasPrimary(kernel) {
			return nil
		}
		if pause(ctx, "") != nil {
			h.world.Logf("%s has not both its address %s and its default route after %v", h.Name, h.Address, onlineTimeout)
			return nil
		}
	}
}

// hasPrimary tells whether the host has the primary NIC's address, and a default route by the gateway.
func (h *Host) hasPrimary(kernel *netlink.Handle) bool {
	addresses, err := kernel.AddrList(nil, netlink.FAMILY_V4)
	if err != nil || !slices.ContainsFunc(addresses, func(a netlink.Addr) bool { return a.IP.Equal(h.Address.Addr().AsSlice()) }) {
		return false
	}
	routes, err := kernel.RouteList(nil, netlink.FAMILY_V4)
	return err == nil && slices.ContainsFunc(routes, func(r netlink.Route) bool {
		if r.Dst != nil && !r.Dst.IP.IsUnspecified() {
			return false
		}
		return r.Gw.Equal(Gateway.AsSlice())
	})
}

// FailedUnits lists the units that systemd could not start; a failure to ask is listed too.
func (h *Host) FailedUnits(ctx context.Context) []string {
	out, err := h.Run(ctx, "systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager")
	if err != nil {
		return []string{err.Error()}
	}
	var units []string
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 0 {
			units = append(units, fields[0])
		}
	}
	return units
}

// PowerOff shuts the host down in good order, which takes 1 to 3 s.
func (h *Host) PowerOff(ctx context.Context) error {
	if !h.Running() {
		return h.Kill()
	}
	b := h.current()
	if err := syscall.Kill(b.leader, powerOffSignal); err != nil {
		return fmt.Errorf("powering off %s: %w", h.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, powerOffTimeout)
	defer cancel()
	select {
	case <-b.exited:
		return h.Kill()
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("powering off %s: %w:\n%s", h.Name, ctx.Err(), h.Console()), h.Kill())
	}
}

// Reboot is PowerOff and Boot: the disk is what it was, the NICs are new ones with their old MACs and the names
// that the kernel gave them at first.
func (h *Host) Reboot(ctx context.Context) error {
	if err := h.PowerOff(ctx); err != nil {
		return err
	}
	return h.Boot(ctx)
}

// Kill is a power cut: everything on the host is gone at once. The disk has what was written, synced or not.
func (h *Host) Kill() error {
	b := h.current()
	if b == nil {
		return nil
	}
	errs := []error{h.world.box.KillGroup(h.group)}
	if b.exited != nil {
		<-b.exited
	}
	errs = append(errs, h.unplugAll(), h.world.box.RemoveNetns(b.netns))
	h.mu.Lock()
	h.boot = nil
	h.mu.Unlock()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cutting the power of %s: %w", h.Name, err)
	}
	return nil
}

// Running tells whether the host is on.
func (h *Host) Running() bool {
	b := h.current()
	if b == nil || b.exited == nil {
		return false
	}
	select {
	case <-b.exited:
		return false
	default:
		return true
	}
}

// Console is what systemd-nspawn and the host's kernel log say, for an error: normally nothing.
func (h *Host) Console() string {
	b, err := os.ReadFile(h.consolePath())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (h *Host) consolePath() string { return filepath.Join(h.dir, "console") }

func (h *Host) current() *boot {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.boot
}

// leader finds the PID 1 of the container that the nspawn process runs; 0 if there is none yet. For a moment
// nspawn has another child, which sets the container up; PID 1 is the one that sees itself as 1.
func leader(nspawn int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", nspawn, nspawn))
	if err != nil {
		return 0
	}
	for _, child := range strings.Fields(string(b)) {
		status, err := os.ReadFile(filepath.Join("/proc", child, "status"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(status)) {
			fields := strings.Fields(line)
			if len(fields) > 2 && fields[0] == "NSpid:" && fields[len(fields)-1] == "1" {
				pid, err := strconv.Atoi(child)
				if err != nil {
					return 0
				}
				return pid
			}
		}
	}
	return 0
}
