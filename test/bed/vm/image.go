package vm

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"multinicd/test/bed/artifact"
	"multinicd/test/bed/rootfs"
	"multinicd/test/bed/testhost"
)

// diskSize is that of a VM's disk, of which the image takes a seventh.
const diskSize = 3 << 30

// imageVersion is raised when Image makes something else from the same packages.
const imageVersion = "1"

// packages are those of the cloud team's list that count here, beside what Debian calls essential. The guest agent is ours: Run goes by it.
var packages = []string{
	"systemd", "systemd-sysv", "systemd-resolved", "systemd-timesyncd", "udev", "dbus", "iproute2", "procps", "kmod", "iputils-ping", "ethtool",
	"ca-certificates", "sudo", "openssh-server", "linux-image-cloud-amd64", "initramfs-tools", "zstd", "cloud-init", "cloud-guest-utils", "qemu-guest-agent",
}

// prepare is a hook of mmdebstrap.
//
//go:embed image.sh
var prepare string

// ImageFiles is an image to boot from, without a boot loader. All are paths, to be read only.
type ImageFiles struct {
	Disk           string // qcow2, with an ext4 file system and no partitions
	Kernel, Initrd string
}

// Image returns an image like the one that Debian's cloud team makes of a suite: with cloud-init, and with netplan and networkd or, in the way of the RHEL family, with
// NetworkManager and without netplan. The first call makes it, in one to two minutes, from the mirrors that this machine's own apt uses.
func Image(ctx context.Context, logf artifact.Logf, suite string, flavour testhost.Flavour) (ImageFiles, error) {
	var manager string
	switch flavour {
	case testhost.Networkd:
		manager = "netplan.io"
	case testhost.NetworkManager:
		manager = "network-manager"
	default:
		return ImageFiles{}, fmt.Errorf("making an image of a VM: there is none with %s", flavour)
	}
	all := append(slices.Clone(packages), manager)
	name := "vm-" + suite + "-" + flavour.String() + "-" + artifact.Key(append([]string{imageVersion, prepare}, all...)...)
	dir, err := artifact.Make(ctx, logf, name, func(ctx context.Context, dir string) error {
		hook, root := filepath.Join(dir, "image.sh"), filepath.Join(dir, "root")
		if err := os.WriteFile(hook, []byte(prepare), 0o755); err != nil {
			return err
		}
		if err := rootfs.Debian(ctx, logf, suite, root, all, `--customize-hook=`+hook+` "$1" `+flavour.String()); err != nil {
			return err
		}
		return pack(ctx, root, dir)
	})
	if err != nil {
		return ImageFiles{}, err
	}
	return ImageFiles{Disk: filepath.Join(dir, "disk.qcow2"), Kernel: filepath.Join(dir, "vmlinuz"), Initrd: filepath.Join(dir, "initrd")}, nil
}

// pack makes the files of an image from the root file system, and leaves nothing else in dir.
func pack(ctx context.Context, root, dir string) error {
	raw := filepath.Join(dir, "disk.raw")
	if err := os.WriteFile(raw, nil, 0o644); err != nil {
		return err
	}
	if err := os.Truncate(raw, diskSize); err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"sh", "-ec", `cp "$0"/boot/vmlinuz-* "$1/vmlinuz"; cp "$0"/boot/initrd.img-* "$1/initrd"`, root, dir},
		{"mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", root, raw},
		{"qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, filepath.Join(dir, "disk.qcow2")},
	} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("running %s: %w: %s", argv[0], err, strings.TrimSpace(string(out)))
		}
	}
	for _, name := range []string{root, raw, filepath.Join(dir, "image.sh")} {
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	return nil
}
