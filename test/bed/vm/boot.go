package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// bootTimeout ends a boot that hangs. The first one takes 45 s on an idle machine, with a package that cloud-init installs.
	bootTimeout = 12 * time.Minute
	// powerOffTimeout is more than systemd gives a service that does not stop (90 s by default).
	powerOffTimeout = 4 * time.Minute
	// answerTimeout is for qemu itself and for the guest agent of a machine that is up, which answer within a second.
	answerTimeout = 2 * time.Minute
)

// Boot powers the VM on, and waits until systemd has nothing left to start and cloud-init is done, on an idle machine 45 s at first and 30 s later. Units that failed are not
// an error; see FailedUnits.
func (v *VM) Boot(ctx context.Context) error {
	begin := time.Now()
	if err := v.PowerOn(ctx); err != nil {
		return err
	}
	if err := v.Booted(ctx); err != nil {
		return err
	}
	v.logf("%s booted in %.0f s, of which qemu took %.0f s of a processor", v.Name, time.Since(begin).Seconds(), v.current().processor().Seconds())
	return nil
}

// processor is the time that qemu has taken of this machine's processors; 0 if that cannot be told.
func (b *boot) processor() time.Duration {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.cmd.Process.Pid))
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	const tick = 10 * time.Millisecond // USER_HZ, proc(5)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * tick
}

// PowerOn starts the VM and returns while it boots: Run waits until commands can be run in it.
func (v *VM) PowerOn(ctx context.Context) error {
	if v.Running() {
		return fmt.Errorf("powering on %s: it is on", v.Name)
	}
	// It may have powered itself off.
	if err := v.Kill(); err != nil {
		return err
	}
	log, err := os.OpenFile(v.path("qemu.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("powering on %s: %w", v.Name, err)
	}
	defer log.Close()
	for _, n := range v.nics {
		n.port = v.world.NextPort()
	}
	// In the switch, where its TAPs are. They are gone when it is.
	b := &boot{cmd: exec.Command("nsenter", append([]string{"--net=" + v.world.NetNS(), "nice", "-n", strconv.Itoa(niceness), "qemu-system-x86_64"}, v.arguments()...)...), exited: make(chan struct{})}
	b.cmd.Stdout, b.cmd.Stderr = log, log
	if err := v.box.Start(v.group, b.cmd); err != nil {
		return err
	}
	b.prefer()
	go func() {
		_ = b.cmd.Wait() // what it says is in the log
		close(b.exited)
	}()
	v.mu.Lock()
	v.boot = b
	v.mu.Unlock()
	b.agent = &agent{path: v.path("agent.sock"), exited: b.exited}
	if err := v.begin(ctx, b); err != nil {
		said, _ := os.ReadFile(v.path("qemu.log"))
		return errors.Join(fmt.Errorf("powering on %s: %w\n%s", v.Name, err, said), v.Kill())
	}
	return nil
}

// niceness of qemu. It comes before others: a clock that ticks 250 times a second costs an emulated processor the more, the longer it waits for this machine's.
const niceness = -5

// prefer has that count. Where the kernel shares the processors among sessions first (autogroup, sched(7)), the niceness of a process counts within its session only, and qemu
// has one of its own.
func (b *boot) prefer() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", b.cmd.Process.Pid), []byte(strconv.Itoa(niceness)), 0) // a kernel without it needs none
}

// begin puts the ports on their segments, and lets the processor run.
func (v *VM) begin(ctx context.Context, b *boot) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var err error
	if b.monitor, err = dialMonitor(ctx, v.path("qmp.sock"), b.exited); err != nil {
		return err
	}
	for _, n := range v.nics {
		if err := v.world.Connect(n.port, n.segment); err != nil {
			return err
		}
	}
	return b.monitor.ask(ctx, "cont", nil)
}

// commandLine is the kernel's. It switches off what costs an emulated processor time and shows nothing here: scrambled addresses, memory that is wiped before use, records of system
// calls, a second clock that watches the first, a check of a new file system.
var commandLine = []string{
	"root=/dev/vda", "rw", "console=ttyS0,115200", "panic=-1", "mitigations=off", "nokaslr", "init_on_alloc=0", "randomize_kstack_offset=off", "hardened_usercopy=off",
	"audit=0", "tsc=reliable", "fsck.mode=skip",
}

// unused are words for the same command line. They keep away the drivers of devices that nobody uses, and units that work at night.
var unused = []string{
	"modprobe.blacklist=ata_piix,ata_generic,libata,psmouse,serio_raw,i2c_piix4,pcspkr,evdev,button,efi_pstore", "systemd.mask=getty@tty1.service",
	"systemd.mask=e2scrub_reap.service", "systemd.mask=e2scrub_all.timer", "systemd.mask=apt-daily.timer", "systemd.mask=apt-daily-upgrade.timer",
	"systemd.mask=dpkg-db-backup.timer", "systemd.mask=fstrim.timer",
}

// arguments are qemu's. A machine that restarts itself, or panics, goes off. One processor costs less than two that wait for each other, on a machine that is busy; the model has no
// virtualization and no AES, for which the guest would load modules and test them.
func (v *VM) arguments() []string {
	args := []string{
		"-name", v.Name, "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "Nehalem", "-machine", "pc", "-m", "1024", "-smp", "1",
		"-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-S",
		"-smbios", "type=1,manufacturer=OpenStack Foundation,product=OpenStack Nova,version=27.0.0,uuid=" + v.UUID + ",family=Virtual Machine",
		"-kernel", v.image.Kernel, "-initrd", v.image.Initrd,
		"-append", strings.Join(slices.Concat(commandLine, unused, v.asked.KernelWords), " "),
		// The host's own cache outlives a power cut, so that what the guest has synced is on the disk then, and the rest is lost.
		"-drive", "if=none,id=disk,file=" + v.path("disk.qcow2") + ",format=qcow2,cache=unsafe",
		"-device", fmt.Sprintf("virtio-blk-pci,drive=disk,addr=%#x", diskSlot),
		"-drive", "if=none,id=seed,file=" + v.path("seed.iso") + ",format=raw,readonly=on",
		"-device", fmt.Sprintf("virtio-blk-pci,drive=seed,addr=%#x", seedSlot),
		"-device", fmt.Sprintf("virtio-rng-pci,addr=%#x", randomSlot),
		"-chardev", "socket,id=console,path=" + v.path("console.sock") + ",server=on,wait=off,logfile=" + v.path("console") + ",logappend=on", "-serial", "chardev:console",
		"-device", fmt.Sprintf("virtio-serial-pci,addr=%#x", serialSlot),
		"-chardev", "socket,id=agent,path=" + v.path("agent.sock") + ",server=on,wait=off", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
		"-qmp", "unix:" + v.path("qmp.sock") + ",server=on,wait=off",
	}
	for bus := 1; bus <= v.asked.Bridges; bus++ {
		args = append(args, "-device", fmt.Sprintf("pci-bridge,id=%s,chassis_nr=%d,addr=%#x", busName(bus), bus, bridgeSlot+bus-1))
	}
	for _, n := range v.nics {
		args = append(args,
			"-netdev", "tap,id="+n.netdev()+",ifname="+n.port+",script=no,downscript=no",
			"-device", fmt.Sprintf("virtio-net-pci,id=%s,netdev=%s,mac=%s,bus=%s,addr=%#x,vectors=%d,romfile=", n.device(), n.netdev(), n.mac, busName(n.place.bus), n.place.slot,
				n.place.vectors()))
	}
	return args
}

// Booted waits until systemd is done starting, and cloud-init.
func (v *VM) Booted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	state, err := v.Run(ctx, "systemctl", "is-system-running", "--wait")
	switch strings.TrimSpace(state) {
	case "running":
	case "degraded":
		v.logf("%s has failed units: %s", v.Name, strings.Join(v.FailedUnits(ctx), " "))
	default:
		return fmt.Errorf("booting %s: state %q: %w; its console:\n%s", v.Name, strings.TrimSpace(state), err, v.ConsoleEnd())
	}
	return nil
}

// FailedUnits lists the units that systemd could not start; a failure to ask is listed too.
func (v *VM) FailedUnits(ctx context.Context) []string {
	out, err := v.Run(ctx, "sh", "-c", "systemctl list-units --failed --plain --no-legend --no-pager | cut -d ' ' -f 1")
	if err != nil {
		return []string{err.Error()}
	}
	return strings.Fields(out)
}

// PowerOff shuts the VM down in good order, in some seconds.
func (v *VM) PowerOff(ctx context.Context) error {
	b := v.current()
	if !v.Running() {
		return v.Kill()
	}
	ctx, cancel := context.WithTimeout(ctx, powerOffTimeout)
	defer cancel()
	if err := b.agent.shutdown(ctx); err != nil {
		return fmt.Errorf("powering off %s: %w", v.Name, err)
	}
	return v.WentOff(ctx)
}

// WentOff waits until the VM, which goes off by itself, is off.
func (v *VM) WentOff(ctx context.Context) error {
	b := v.current()
	if b == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, powerOffTimeout)
	defer cancel()
	select {
	case <-b.exited:
		return v.Kill()
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("waiting for %s to go off: %w; its console:\n%s", v.Name, ctx.Err(), v.ConsoleEnd()), v.Kill())
	}
}

// Reboot is PowerOff and Boot.
func (v *VM) Reboot(ctx context.Context) error {
	if err := v.PowerOff(ctx); err != nil {
		return err
	}
	return v.Boot(ctx)
}

// Kill is a power cut. The disk has what was synced.
func (v *VM) Kill() error {
	b := v.current()
	if b == nil {
		return nil
	}
	err := v.box.KillGroup(v.group)
	<-b.exited
	if b.monitor != nil {
		b.monitor.close()
	}
	b.agent.close()
	v.mu.Lock()
	v.boot = nil
	v.mu.Unlock()
	for _, n := range v.nics {
		n.port = ""
	}
	if err != nil {
		return fmt.Errorf("cutting the power of %s: %w", v.Name, err)
	}
	return nil
}

// Running tells whether the VM is on.
func (v *VM) Running() bool {
	b := v.current()
	if b == nil {
		return false
	}
	select {
	case <-b.exited:
		return false
	default:
		return true
	}
}

// Console is what the kernel and systemd have said on the serial console in all boots, and qemu itself.
func (v *VM) Console() string {
	var out strings.Builder
	for _, name := range []string{"console", "qemu.log"} {
		text, err := os.ReadFile(v.path(name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			text = []byte(err.Error())
		}
		out.Write(text)
	}
	return strings.ReplaceAll(out.String(), "\r", "")
}

// ConsoleEnd is as much of it as a reader of a failed test wants to see.
func (v *VM) ConsoleEnd() string {
	text := v.Console()
	return text[max(0, len(text)-6000):]
}

func (v *VM) current() *boot {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.boot
}
