package testhost

import (
	"errors"
	"fmt"
	"io/fs"
)

// netplanPrograms write files for networkd and udev: the generator, and since netplan 1.2 a program that netplan-configure.service runs at boot.
var netplanPrograms = []string{"/usr/libexec/netplan/generate", "/usr/libexec/netplan/configure"}

// netplanShim stands in for one of them, which is kept beside it. Since 0.106 netplan matches NICs by PermanentMACAddress=, which
// veth has none of (and no other link of such a kernel), so networkd would never find them. And its udev rules, which
// have the last word on a NIC's name, are only for links that have a driver.
const netplanShim = `#!/bin/bash
( exec -a "$0" %s.real "$@" ); rc=$?
sed -i 's/^PermanentMACAddress=/MACAddress=/' /run/systemd/network/10-netplan-*.network /run/systemd/network/10-netplan-*.link 2>/dev/null
sed -i 's/DRIVERS=="?[*]", //' /run/udev/rules.d/99-netplan-*.rules 2>/dev/null
exit $rc
`

// noDMI hides what this machine's firmware says of itself: hosts would all have its identity.
const (
	noDMIUnit = "sys-devices-virtual-dmi-id.mount"
	noDMI     = `[Unit]
DefaultDependencies=no
ConditionPathIsDirectory=/sys/devices/virtual/dmi/id
[Mount]
What=tmpfs
Where=/sys/devices/virtual/dmi/id
Type=tmpfs
`
)

// netTrigger has a host's boot ask the kernel for the events of NICs only. Those of all other devices, of which this machine has some
// hundred, reach each host that runs.
const netTrigger = `[Service]
ExecStart=
ExecStart=-udevadm trigger --type=devices --action=add --subsystem-match=net
`

type file struct {
	name, content string
	mode          fs.FileMode
}

// idle are systemd's generators that find nothing to do on a host of the bed: no partitions, no encrypted disks, no TPM, no terminals. systemd starts each
// at every boot and every daemon-reload, and so does a test that reloads a hundred times.
var idle = []string{
	"systemd-cryptsetup-generator", "systemd-debug-generator", "systemd-getty-generator", "systemd-gpt-auto-generator", "systemd-hibernate-resume-generator",
	"systemd-integritysetup-generator", "systemd-rc-local-generator", "systemd-run-generator", "systemd-ssh-generator", "systemd-system-update-generator",
	"systemd-sysv-generator", "systemd-tpm2-generator", "systemd-veritysetup-generator",
}

// idleUnits are units of Debian that find nothing to do on a host of the bed, or do it at an hour of their own: no modules, no ext4, no packages to look
// for, nobody who logs in.
var idleUnits = []string{
	"apt-daily-upgrade.timer", "apt-daily.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "kmod-static-nodes.service",
	"modprobe@.service", "proc-sys-fs-binfmt_misc.automount", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount",
	"sys-kernel-tracing.mount", "systemd-binfmt.service", "systemd-modules-load.service", "systemd-pcrphase-sysinit.service", "systemd-pcrphase.service",
	"systemd-pstore.service", "systemd-random-seed.service", "systemd-repart.service", "systemd-update-utmp-runlevel.service", "systemd-update-utmp.service",
}

// install writes what makes the host this one, onto its disk, before its first boot.
func (h *Host) install(o Options) error {
	files := []file{
		{"/etc/hostname", h.Name + "\n", 0o644},
		{"/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 " + h.Name + "\n", 0o644},
		// With one, systemd does not take this for a first boot and does not enable what its presets say.
		{"/etc/machine-id", h.machineID() + "\n", 0o444},
		{"/etc/resolv.conf", "", 0o644},
		// As on any host but at its very first boot: caches of libraries, of hardware names and of the journal are not built anew.
		{"/etc/.updated", "", 0o644},
		{"/var/.updated", "", 0o644},
		{"/etc/systemd/system/" + noDMIUnit, noDMI, 0o644},
		{"/etc/systemd/system/systemd-udev-trigger.service.d/net.conf", netTrigger, 0o644},
		// Every real machine has a kernel's modules, and ProtectKernelModules= of a unit then makes their folder one that not even root may list.
		{"/usr/lib/modules/6.1.0/modules.dep", "", 0o644},
	}
	links := map[string]string{"/etc/systemd/system/sysinit.target.wants/" + noDMIUnit: "../" + noDMIUnit}
	for _, name := range idle {
		links["/etc/systemd/system-generators/"+name] = "/dev/null"
	}
	for _, name := range idleUnits {
		links["/etc/systemd/system/"+name] = "/dev/null"
	}
	switch h.Flavour {
	case Networkd:
		// As systemctl enable would do it.
		links["/etc/systemd/system/NetworkManager.service"] = "/dev/null"
		links["/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"] = "/lib/systemd/system/systemd-networkd.service"
		links["/etc/systemd/system/dbus-org.freedesktop.network1.service"] = "/lib/systemd/system/systemd-networkd.service"
		links["/etc/systemd/system/sockets.target.wants/systemd-networkd.socket"] = "/lib/systemd/system/systemd-networkd.socket"
	case NetworkManager, Ifcfg, NetplanNetworkManager:
		files = append(files, file{"/etc/udev/rules.d/85-nm-unmanaged.rules", podsUnmanaged, 0o644})
	default:
		return fmt.Errorf("unknown flavour %d", h.Flavour)
	}
	if o.Cloud == nil {
		files = append(files, h.preparedFiles()...)
	} else {
		more, err := h.cloudFiles(*o.Cloud, o.Suite)
		if err != nil {
			return err
		}
		files = append(files, more...)
		links["/etc/systemd/system/multi-user.target.wants/"+cloudInitUnitName] = "/usr/lib/systemd/system/" + cloudInitUnitName
	}
	for name, target := range links {
		if err := h.symlink(target, name); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := h.WriteFile(f.name, []byte(f.content), f.mode); err != nil {
			return err
		}
	}
	return h.wrapNetplan()
}

// preparedFiles are those of a host that somebody has made ready for NICs of ours: the primary NIC
// has its address in a file, and no other NIC is anybody's.
func (h *Host) preparedFiles() []file {
	switch h.Flavour {
	case Networkd:
		return []file{{"/etc/netplan/01-primary.yaml", h.primaryYAML("networkd"), 0o600}}
	case NetworkManager:
		return []file{noAutoDefault, {"/etc/NetworkManager/system-connections/primary.nmconnection", h.primaryKeyfile(), 0o600}}
	case Ifcfg:
		return []file{
			noAutoDefault,
			{"/etc/NetworkManager/NetworkManager.conf", "[main]\nplugins=ifcfg-rh,keyfile\n", 0o644},
			{"/etc/sysconfig/network-scripts/ifcfg-primary", h.primaryIfcfg(), 0o644},
		}
	default:
		return []file{noAutoDefault, {"/etc/netplan/01-primary.yaml", h.primaryYAML("NetworkManager"), 0o600}}
	}
}

// podsUnmanaged takes the place of NetworkManager's rule that lets go of each veth, as the host's NICs are: it lets go of Pods' links alone.
const podsUnmanaged = `SUBSYSTEM=="net", KERNEL=="cali*", ENV{NM_UNMANAGED}="1"
`

// noAutoDefault keeps NetworkManager from making up a profile for each NIC that nobody else has one
// for.
var noAutoDefault = file{"/etc/NetworkManager/conf.d/10-no-auto-default.conf", "[main]\nno-auto-default=*\n", 0o644}

// wrapNetplan puts the shim in the place of each program of netplan that the host has.
func (h *Host) wrapNetplan() error {
	for _, program := range netplanPrograms {
		real, err := h.ReadFile(program)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := h.WriteFile(program+".real", real, 0o755); err != nil {
			return err
		}
		if err := h.WriteFile(program, fmt.Appendf(nil, netplanShim, program), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// primaryYAML is what cloud-init writes for a cloud's first NIC.
func (h *Host) primaryYAML(renderer string) string {
	return fmt.Sprintf(`network:
  version: 2
  renderer: %s
  ethernets:
    eth0:
      match: {macaddress: %q}
      set-name: eth0
      dhcp4: false
      dhcp6: false
      addresses: [%s]
      routes: [{to: default, via: %s}]
`, renderer, h.PrimaryMAC, h.Address, Gateway)
}

func (h *Host) primaryKeyfile() string {
	return fmt.Sprintf(`[connection]
id=primary
uuid=5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03
type=ethernet

[ethernet]
mac-address=%s

[ipv4]
method=manual
address1=%s,%s

[ipv6]
method=ignore
`, h.PrimaryMAC, h.Address, Gateway)
}

func (h *Host) primaryIfcfg() string {
	return fmt.Sprintf(`TYPE=Ethernet
NAME=primary
UUID=5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03
HWADDR=%s
BOOTPROTO=none
IPADDR=%s
PREFIX=%d
GATEWAY=%s
IPV6INIT=no
ONBOOT=yes
`, h.PrimaryMAC, h.Address.Addr(), h.Address.Bits(), Gateway)
}
