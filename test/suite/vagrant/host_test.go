package vagrant

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/artifact"
	"multinicd/test/bed/rootfs"
	"multinicd/test/bed/testhost"
	"multinicd/test/bed/vm"
)

// tools are what somebody has installed who uses Vagrant with libvirt, with what a host needs to boot, beside what Debian calls essential.
var tools = []string{
	"systemd", "systemd-sysv", "udev", "dbus", "netplan.io", "iproute2", "procps", "kmod", "ca-certificates",
	"vagrant", "vagrant-libvirt", "libvirt-daemon-system", "qemu-system-x86", "qemu-utils", "dnsmasq-base", "iptables", "openssh-client",
}

// toolsVersion is raised when toolsFS makes something else from the same packages.
const toolsVersion = "1"

// toolsFS is a root file system with Vagrant, made once, in two minutes.
func toolsFS(ctx context.Context, logf artifact.Logf) (string, error) {
	name := "vagrant-" + rootfs.DefaultSuite + "-" + artifact.Key(append([]string{toolsVersion}, tools...)...)
	dir, err := artifact.Make(ctx, logf, name, func(ctx context.Context, dir string) error {
		return rootfs.Debian(ctx, logf, rootfs.DefaultSuite, filepath.Join(dir, "root"), tools)
	})
	return filepath.Join(dir, "root"), err
}

// libvirt runs machines as root and without the protection that the kernel of a test may not have; the host ends with the test.
const libvirt = `user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
remember_owner = 0
`

// boxVagrantfile is what a box for a machine without KVM and without a boot loader brings. The user's Vagrantfile counts after it.
const boxVagrantfile = `Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |libvirt|
    libvirt.driver = "qemu"
    libvirt.cpu_mode = "custom"
    libvirt.cpu_model = "qemu64"
    libvirt.machine_type = "pc"
    libvirt.kernel = "/root/box/vmlinuz"
    libvirt.initrd = "/root/box/initrd"
    libvirt.cmd_line = "root=/dev/vda rw console=ttyS0 mitigations=off"
    libvirt.graphics_type = "none"
    libvirt.video_type = "none"
    libvirt.management_network_mode = "none"
  end
end
`

// userData makes the user that all boxes have, whose key Vagrant knows.
const userData = `#cloud-config
users:
- name: vagrant
  shell: /bin/bash
  sudo: "ALL=(ALL) NOPASSWD: ALL"
  ssh_authorized_keys:
  - `

// laptop is a host of the bed on which somebody uses Vagrant: libvirt, the box, and this tree, as far as Vagrant reads it.
type laptop struct {
	*testing.T
	*testhost.Host
}

// box is the name of the box on a laptop.
const box = "multinicd-test"

func newLaptop(t *testing.T) *laptop {
	t.Helper()
	b := bed.New(t)
	over, err := toolsFS(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	h := b.NewHost(testhost.Options{Name: "laptop", Over: over})
	if err := h.WriteFile("/etc/libvirt/qemu.conf", []byte(libvirt), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := &laptop{T: t, Host: h}
	l.tree()
	l.addBox()
	return l
}

// addBox makes a box of an image of Debian 12.
func (l *laptop) addBox() {
	l.Helper()
	image, err := vm.Image(l.Context(), l.Logf, rootfs.DefaultSuite, testhost.Networkd)
	if err != nil {
		l.Fatal(err)
	}
	for name, path := range map[string]string{"box.img": image.Disk, "vmlinuz": image.Kernel, "initrd": image.Initrd} {
		l.stream(path, "/root/box/"+name)
	}
	for name, text := range map[string]string{
		"/root/box/Vagrantfile":   boxVagrantfile,
		"/root/box/metadata.json": `{"provider": "libvirt", "format": "qcow2", "virtual_size": 3}` + "\n",
		"/root/box/user-data":     userData,
		"/root/box/meta-data":     "instance-id: box\n",
	} {
		if err := l.WriteFile(name, []byte(text), 0o644); err != nil {
			l.Fatal(err)
		}
	}
	// cloud-init makes the box's user, of the files that debugfs puts into the image.
	l.do(`cd /root/box
cat "$(dpkg -L vagrant | grep 'keys/vagrant.pub$')" >>user-data
qemu-img convert -f qcow2 -O raw box.img box.raw
printf 'mkdir /var/lib/cloud\nmkdir /var/lib/cloud/seed\nmkdir /var/lib/cloud/seed/nocloud\ncd /var/lib/cloud/seed/nocloud\nwrite user-data user-data\nwrite meta-data meta-data\n' >seed
debugfs -w -f seed box.raw
qemu-img convert -f raw -O qcow2 box.raw box.img
rm box.raw
tar -c metadata.json Vagrantfile box.img >multinicd.box
rm box.img
vagrant box add --name ` + box + ` --provider libvirt multinicd.box
rm multinicd.box`)
}

// stream copies a file of this machine to the host.
func (l *laptop) stream(path, name string) {
	l.Helper()
	f, err := os.Open(path)
	if err != nil {
		l.Fatal(err)
	}
	defer f.Close()
	cmd := l.Command(l.Context(), "sh", "-c", `mkdir -p "$(dirname "$0")"; cat >"$0"`, name)
	cmd.Stdin = f
	if out, err := cmd.CombinedOutput(); err != nil {
		l.Fatalf("copying %s: %v\n%s", path, err, out)
	}
}

// tree copies what Vagrant reads of this repository.
func (l *laptop) tree() {
	l.Helper()
	for _, folder := range []string{"vagrant", "examples"} {
		files, err := filepath.Glob(bed.Path(l.T, folder+"/*"))
		if err != nil {
			l.Fatal(err)
		}
		for _, path := range files {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				l.stream(path, filepath.Join(home, folder, filepath.Base(path)))
			}
		}
	}
	l.stream(bed.Path(l.T, "VERSION"), home+"/VERSION")
	if err := l.WriteFile("/usr/local/bin/make", []byte(fakeMake), 0o755); err != nil {
		l.Fatal(err)
	}
}

// home is where this tree is on a laptop.
const home = "/root/multinicd"

// fakeMake stands for make, since there is no Go on the laptop: it gives the package that was built on this machine. With another target it fails.
const fakeMake = `#!/bin/sh
[ "$*" = "--no-print-directory -C ` + home + ` deb GOARCHES=amd64" ] || { echo "make $*?"; exit 1; }
mkdir -p ` + home + `/dist
cp -v /root/package.deb "` + home + `/dist/multinicd_$(cat ` + home + `/VERSION)_amd64.deb"
`

// do runs a script on the host, to its first failure, and gives all that it prints.
func (l *laptop) do(script string) string {
	l.Helper()
	out, err := l.sh(nil, script)
	if err != nil {
		l.Fatalf("%v\n%s\n%s", err, script, out)
	}
	return out
}

func (l *laptop) sh(env []string, script string) (string, error) {
	argv := slices.Concat([]string{"env", "-C", home + "/vagrant", "VAGRANT_NO_COLOR=1", "VAGRANT_DEFAULT_PROVIDER=libvirt", "MULTINICD_BOX_DEBIAN12=" + box}, env, []string{"sh", "-ec", script})
	out, err := l.Command(l.Context(), argv...).CombinedOutput()
	return strings.ReplaceAll(string(out), "\r", ""), err
}

func (l *laptop) put(path string) string {
	l.Helper()
	name := "/root/" + filepath.Base(path)
	l.stream(path, name)
	return name
}
