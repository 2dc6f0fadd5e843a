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

// ifcfgVersion is raised when Ifcfg makes something else.
const ifcfgVersion = "1"

// buildPackages are what NetworkManager is built with.
var buildPackages = []string{
	"dpkg-dev", "meson", "ninja-build", "gcc", "g++", "libc6-dev", "pkg-config", "gettext", "python3", "xsltproc", "perl", "ca-certificates",
	"libglib2.0-dev", "libudev-dev", "libsystemd-dev", "libndp-dev", "libgnutls28-dev", "uuid-dev", "libdbus-1-dev", "libreadline-dev",
}

// mesonOptions leave out what a host of a test has no use for, and put files where Debian has them.
var mesonOptions = []string{
	"--prefix=/usr", "--sysconfdir=/etc", "--localstatedir=/var", "--libexecdir=lib/NetworkManager", "--buildtype=plain",
	"-Dsystemdsystemunitdir=/usr/lib/systemd/system", "-Dudev_dir=/usr/lib/udev", "-Ddbus_conf_dir=/usr/share/dbus-1/system.d",
	"-Difcfg_rh=true", "-Difupdown=false", "-Dconfig_plugins_default=ifcfg-rh,keyfile",
	"-Dsession_tracking=systemd", "-Dsession_tracking_consolekit=false", "-Dsuspend_resume=systemd", "-Dpolkit=false", "-Dselinux=false",
	"-Dlibaudit=no", "-Dsystemd_journal=true", "-Dwifi=false", "-Diwd=false", "-Dwext=false", "-Dppp=false", "-Dmodem_manager=false",
	"-Dofono=false", "-Dconcheck=false", "-Dteamdctl=false", "-Dovs=false", "-Dbluez5_dun=false", "-Dnmcli=true", "-Dreadline=libreadline",
	"-Dnmtui=false", "-Dnm_cloud_setup=false", "-Dlibpsl=false", "-Dcrypto=gnutls", "-Debpf=false", "-Dintrospection=false", "-Dvapi=false",
	"-Ddocs=false", "-Dtests=no", "-Dfirewalld_zone=false", "-Dqt=false", "-Ddhclient=no", "-Ddhcpcd=no", "-Ddhcpcanon=no",
	"-Dconfig_dhcp_default=internal", "-Dresolvconf=no", "-Dnetconfig=no",
}

// buildIfcfg runs in the build root, as mmdebstrap's customize hook, with its folder as $1.
const buildIfcfg = `
set -e
chroot "$1" sh -e -c '
	ln -sfn /proc/self/fd /dev/fd
	cd /root
	apt-get -qq source network-manager
	cd network-manager-*/
	libdir=lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
	meson setup build --libdir=$libdir %[1]s
	nice ninja -C build
	DESTDIR=/root/installed ninja -C build install >/dev/null
	cd /root/installed
	find . -type f \( -name "*.so*" -o -name NetworkManager -o -name "nm*" \) -exec strip {} \; 2>/dev/null
	rm -rf usr/include usr/share/locale usr/share/man usr/$libdir/pkgconfig
'
cp -a "$1"/root/installed %[2]s
`

// Ifcfg returns a folder to be laid over the root file system of DefaultSuite: the same NetworkManager as Debian's, with
// the settings plugin ifcfg-rh as RHEL 8 and 9 have it, which Debian leaves out. It is built once, in 3 to 10 min, from Debian's source package.
func Ifcfg(ctx context.Context, logf artifact.Logf) (string, error) {
	name := "nm-ifcfg-" + DefaultSuite + "-" + artifact.Key(append([]string{ifcfgVersion, buildIfcfg}, append(buildPackages, mesonOptions...)...)...)
	dir, err := artifact.Make(ctx, logf, name, func(ctx context.Context, dir string) error {
		sources, err := aptSources("/")
		if err != nil {
			return err
		}
		lines, err := sources.lines(DefaultSuite)
		if err != nil {
			return err
		}
		for _, l := range lines {
			lines = append(lines, strings.Replace(l, "deb ", "deb-src ", 1))
		}
		root := filepath.Join(dir, "build")
		logf("building NetworkManager with the ifcfg-rh plugin from Debian's source")
		args := []string{
			"--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
			"mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
			`--aptopt=APT::Install-Recommends "false"`,
			"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/doc/*",
			"--include=" + strings.Join(buildPackages, ","),
			"--customize-hook=" + fmt.Sprintf(buildIfcfg, strings.Join(mesonOptions, " "), filepath.Join(dir, "root")),
			DefaultSuite, root,
		}
		cmd := exec.CommandContext(ctx, "unshare", append(args, lines...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		cmd.Env = append(os.Environ(), "TMPDIR=/tmp", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building NetworkManager: %w:\n%s", err, out)
		}
		if err := os.RemoveAll(root); err != nil {
			return fmt.Errorf("removing the build root: %w", err)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "root"), nil
}
