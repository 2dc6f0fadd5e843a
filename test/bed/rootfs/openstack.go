package rootfs

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"multinicd/test/bed/artifact"
)

// openstackPackages are Keystone, Neutron, and what they need. Not keystone, neutron-api and neutron-rpc-server: those make users, databases
// and units of their own. neutron-common brings the openstack command.
var openstackPackages = []string{
	"systemd", "systemd-sysv", "udev", "dbus", "netplan.io", "iproute2", "procps", "kmod", "iputils-ping", "ca-certificates",
	"python3-keystone", "neutron-common", "uwsgi-core", "uwsgi-plugin-python3", "mariadb-server", "python3-pymysql",
}

// openstackFiles are a tree that is laid over the packages, and the script that then configures them, once.
//
//go:embed all:openstack
var openstackFiles embed.FS

// openstackHook runs as mmdebstrap's customize hook, with the root's folder as $1. What the script starts ends with it.
const openstackHook = `set -e; cp -rT %[1]s/root "$1"; install -m 755 %[1]s/configure.sh "$1/root/"; unshare --net --pid --fork --kill-child chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 /root/configure.sh`

// OpenStack returns the root file system of a host of DefaultSuite with Keystone and Neutron, whose databases and services are ready to
// start; to be read only. It is made once, in about 2 min, and has some 1 GB.
func OpenStack(ctx context.Context, logf artifact.Logf) (string, error) {
	parts := append([]string{openstackHook}, openstackPackages...)
	err := fs.WalkDir(openstackFiles, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := openstackFiles.ReadFile(path)
		parts = append(parts, path, string(text))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("reading the files of OpenStack: %w", err)
	}
	dir, err := artifact.Make(ctx, logf, "openstack-"+DefaultSuite+"-"+artifact.Key(parts...), func(ctx context.Context, dir string) error {
		files := filepath.Join(dir, "files")
		if err := os.CopyFS(files, openstackFiles); err != nil {
			return fmt.Errorf("writing the files of OpenStack: %w", err)
		}
		err := Debian(ctx, logf, DefaultSuite, filepath.Join(dir, "root"), openstackPackages, "--customize-hook="+fmt.Sprintf(openstackHook, filepath.Join(files, "openstack")))
		if err != nil {
			return err
		}
		return os.RemoveAll(files)
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "root"), nil
}
