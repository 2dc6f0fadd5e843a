// Package rootfs makes the root file systems of hosts, from Debian's packages.
//
// In goes a suite of Debian; out comes a folder in the cache, to be read only.
//
// It must not know hosts: what makes one host another than the next one lies over the root file system, and is written
// by testhost.
//
// Start reading at Make.
package rootfs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"multinicd/test/bed/artifact"
)

// DefaultSuite is Debian 12, with systemd 252, NetworkManager 1.42 and netplan 0.106.
const DefaultSuite = "bookworm"

// Testing is what Debian 14 is made of: systemd 262, NetworkManager 1.58 and netplan 1.2 in November 2026. It has no
// -updates and no -security of its own.
const Testing = "forky"

// packages of a host beside what Debian calls essential.
var packages = []string{"systemd", "systemd-sysv", "udev", "dbus", "network-manager", "netplan.io", "iproute2", "procps", "kmod", "iputils-ping", "ca-certificates"}

// makeVersion is raised when Make makes something else from the same packages.
const makeVersion = "1"

// Make returns the folder of a root file system of that suite, to be read only. It is made once, in about
// 90 s, by mmdebstrap from the mirrors that this machine's own apt uses.
func Make(ctx context.Context, logf artifact.Logf, suite string) (string, error) {
	name := "rootfs-" + suite + "-" + artifact.Key(append([]string{makeVersion}, packages...)...)
	dir, err := artifact.Make(ctx, logf, name, func(ctx context.Context, dir string) error {
		return Debian(ctx, logf, suite, filepath.Join(dir, "root"), packages)
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "root"), nil
}

// Debian installs a suite with these packages, and what Debian calls essential, into the folder root, which must not
// be there. It has no man pages and no translations. More are options of mmdebstrap.
func Debian(ctx context.Context, logf artifact.Logf, suite, root string, packages []string, more ...string) error {
	sources, err := aptSources("/")
	if err != nil {
		return err
	}
	lines, err := sources.lines(suite)
	if err != nil {
		return err
	}
	logf("installing Debian %s with %s", suite, strings.Join(packages, ", "))
	args := []string{
		// Neither what it mounts nor what it starts may outlive it, or us.
		"--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
		"mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
		`--aptopt=APT::Install-Recommends "false"`,
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright",
		"--include=" + strings.Join(packages, ","),
	}
	if suite == Testing {
		// Its index is good for a week, and a mirror's copy may be older.
		args = append(args, `--aptopt=Acquire::Check-Valid-Until "false"`)
	}
	args = append(append(append(args, more...), suite, root), lines...)
	cmd := exec.CommandContext(ctx, "unshare", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running mmdebstrap: %w:\n%s", err, out)
	}
	return nil
}
