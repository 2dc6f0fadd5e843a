package packages

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"multinicd/test/bed/page"
)

// standIn provides what only a mirror of RHEL would have; on the host it is Debian's.
const standIn = `Name: stand-in
Version: 1
Release: 1
Summary: Stands for packages of the distribution
License: Apache-2.0
BuildArch: noarch
Provides: systemd = 252
Provides: NetworkManager = 1:1.46.0
Provides: /bin/sh
%description
Nothing.
%files
`

// TestTheRPM installs by this machine's dnf into the running host, so that the scriptlets meet a systemd that runs. It is
// Debian's: a RHEL cannot be had here. What differs there (SELinux, the systemd of RHEL 8) is not proved.
func TestTheRPM(t *testing.T) {
	t.Parallel()
	n := newNode(t, "bookworm")
	d := newDNF(n)
	d.run("install", d.standIn)

	n.Logf("dnf install:\n%s", d.follow(page.Steps(t, "docs/install.md", "On RHEL and its relatives")[0], "systemctl start", "# ", "dnf install", "dnf install --exclude=multinicd-"+built.next))
	n.sh("systemctl cat multinicd.service >/dev/null")
	if got := n.property("UnitFileState") + " " + n.property("ActiveState"); got != "enabled inactive" {
		t.Errorf("after the installation the service is %q, want enabled by preset, and inactive", got)
	}
	if out := d.verify(); out != "" {
		t.Errorf("rpm --verify says\n%s", out)
	}
	n.sh("systemctl start multinicd")
	n.wantIdle()
	n.wantSandbox()
	n.configure()

	before, pid := n.ours(), n.property("MainPID")
	for _, s := range []struct {
		what, version string
		do            func() string
	}{
		{"upgrade", built.next, func() string { return d.follow(page.Steps(t, "docs/upgrade.md", "On RHEL and its relatives")[0]) }},
		{"downgrade", built.this, func() string { return d.run("downgrade", "multinicd") }},
	} {
		n.wantQuiet(s.what, func() {
			n.Logf("dnf %s:\n%s", s.what, s.do())
			n.waitStatus("2/2 NICs ready")
		})
		now := n.property("MainPID")
		if got := strings.TrimSpace(n.sh("multinicd version")); got != "multinicd "+s.version || now == pid {
			t.Errorf("after the %s there is %s, and process %s after %s", s.what, got, now, pid)
		}
		pid = now
		n.wantKept(s.what, before)
	}
	n.sh("test -f /etc/multinicd/multinicd.toml.rpmnew")

	n.wantQuiet("remove", func() {
		out := d.follow(page.Steps(t, "docs/uninstall.md", "On RHEL and its relatives")[0])
		n.Logf("dnf remove:\n%s", out)
		n.wantNamed(out)
	})
	n.wantAddresses("after the removal")
	n.sh(`! systemctl is-active multinicd
test ! -e /usr/bin/multinicd -a ! -L /etc/systemd/system/multi-user.target.wants/multinicd.service
test -f /etc/multinicd/multinicd.toml.rpmsave -a -d /var/lib/multinicd`)

	n.wantQuiet("reinstall", func() {
		d.run("install", "multinicd-"+built.this)
		n.sh("mv /etc/multinicd/multinicd.toml.rpmsave /etc/multinicd/multinicd.toml; systemctl start multinicd")
		n.waitStatus("2/2 NICs ready")
	})
	n.wantKept("reinstallation", before)
}

func TestDnfRefusesAPackageThatIsNotSigned(t *testing.T) {
	t.Parallel()
	n := newNode(t, "bookworm")
	d := newDNF(n)
	d.run("install", d.standIn)
	unsigned := filepath.Join(built.dir, files()[2])
	if out, err := d.try("install", "--setopt=localpkg_gpgcheck=1", unsigned); err == nil || !strings.Contains(out, "is not signed") {
		t.Errorf("an unsigned package was not refused for that (%v):\n%s", err, out)
	}
}

// dnf runs this machine's dnf on a host that has none.
type dnf struct {
	*node
	config  string
	standIn string // path of a package
	tree    string // where the host's root is mounted for dnf, and for nobody else
}

func newDNF(n *node) *dnf {
	n.Helper()
	dir := n.TempDir()
	d := &dnf{node: n, config: filepath.Join(dir, "dnf.conf"), tree: filepath.Join(dir, "host"), standIn: filepath.Join(dir, "RPMS/noarch/stand-in-1-1.noarch.rpm")}
	spec := filepath.Join(dir, "stand-in.spec")
	if err := os.WriteFile(spec, []byte(standIn), 0o644); err != nil {
		n.Fatal(err)
	}
	output(n.T, "rpmbuild", "-bb", "--quiet", "--define", "_topdir "+dir, spec)
	if err := os.Mkdir(d.tree, 0o755); err != nil {
		n.Fatal(err)
	}
	config := fmt.Sprintf("[main]\nreposdir=%s/etc/yum.repos.d\nvarsdir=%s/none\npluginpath=%[2]s/none\ncachedir=%[2]s/cache\nlogdir=%[2]s/log\npersistdir=%[2]s/state\n", d.tree, dir)
	if err := os.WriteFile(d.config, []byte(config), 0o644); err != nil {
		n.Fatal(err)
	}
	n.sh("mkdir -p /etc/yum.repos.d")
	return d
}

// follow runs a step of a page: dnf here, the rest on the host.
func (d *dnf) follow(s page.Step, edit ...string) string {
	d.Helper()
	var out, host string
	for line := range strings.Lines(strings.NewReplacer(edit...).Replace(s.Script)) {
		if args := strings.Fields(line); args[0] == "dnf" {
			out += d.node.follow(page.Step{Script: host}) + d.run(args[1:]...)
			host = ""
			continue
		}
		host += line
	}
	out += d.node.follow(page.Step{Script: host})
	d.match(s, out)
	return out
}

func (d *dnf) run(args ...string) string {
	d.Helper()
	out, err := d.try(args...)
	if err != nil {
		d.Fatalf("dnf %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (d *dnf) try(args ...string) (string, error) {
	return d.onTree(append([]string{"dnf", "--assumeyes", "--config=" + d.config, "--installroot=" + d.tree, "--releasever=9"}, args...)...)
}

// verify compares what is installed with the package.
func (d *dnf) verify() string {
	d.Helper()
	out, err := d.onTree("rpm", "--root", d.tree, "--verify", "multinicd")
	if err != nil {
		return out + err.Error()
	}
	return strings.TrimSpace(out)
}

// onTree runs a command of this machine that sees the host's root, with its /run, /proc and /sys, at d.tree, and is in the
// host's other namespaces: to scriptlets, which have d.tree for their root, it is as if they ran on the host.
func (d *dnf) onTree(argv ...string) (string, error) {
	type result struct {
		out string
		err error
	}
	done := make(chan result)
	go aside(func() {
		if err := mountTree(d.Leader(), d.tree); err != nil {
			done <- result{"", err}
			return
		}
		args := append([]string{"-t", strconv.Itoa(d.Leader()), "-u", "-i", "-n", "-p", "-C", "--"}, argv...)
		cmd := exec.CommandContext(d.Context(), "nsenter", args...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		out, err := cmd.CombinedOutput()
		done <- result{string(bytes.ReplaceAll(out, []byte("\r"), nil)), err}
	})
	r := <-done
	return r.out, r.err
}

// aside calls f on a thread that may enter other namespaces, since it ends with the calling goroutine. The process's first thread does not end: it would
// stay there, and /proc/self with it, which tells this process's mounts.
func aside(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f() // never unlocked: so the thread ends
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		aside(f) // on another thread, for this one is taken
	}()
	<-done
	runtime.UnlockOSThread()
}

// mountTree moves the calling thread into a mount namespace of its own and mounts there, at path, all that the process pid
// has mounted, and its /srv at /srv.
func mountTree(pid int, path string) error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("leaving the mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	home, err := os.Open("/proc/thread-self/ns/mnt")
	if err != nil {
		return err
	}
	defer home.Close()
	host, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		return err
	}
	defer host.Close()
	if err := unix.Setns(int(host.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("entering the host: %w", err)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("taking the host's mounts: %w", err)
	}
	tree := os.NewFile(uintptr(fd), "tree")
	defer tree.Close()
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("coming back: %w", err)
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mounting the host's root at %s: %w", path, err)
	}
	// Where the repositories are, dnf looks for them outside of its --installroot.
	if err := unix.Mount(filepath.Join(path, "srv"), "/srv", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting the host's repositories: %w", err)
	}
	return nil
}
