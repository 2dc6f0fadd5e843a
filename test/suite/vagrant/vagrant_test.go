// Package vagrant proves that vagrant/ does what its README.md says: `vagrant up` gives a machine whose NICs multinicd has configured, and
// `vagrant provision` brings a change of the code onto it.
//
// In goes a box: one that is made of an image of the bed, on a host of the bed that has Vagrant and libvirt, without KVM. Or, where
// MULTINICD_VAGRANT names a machine of the Vagrantfile, this machine's own Vagrant, with the box that is used there; that machine is left running.
// Out come the pages' promises, kept or not, and tests of the product that have run on the machine.
//
// It must not install Vagrant, libvirt or a network of theirs on this machine.
//
// Start reading at TestAMachineOfVagrant.
package vagrant

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/artifact"
	"multinicd/test/bed/page"
	"multinicd/test/bed/prerequisite"
)

func TestMain(m *testing.M) { os.Exit(bed.Main(m)) }

// user is somebody who uses Vagrant.
type user interface {
	// sh runs a script in the folder vagrant/, with more in its environment, and gives all that it prints.
	sh(env []string, script string) (string, error)
	// put makes a file of this machine one that Vagrant can read there, and gives its path.
	put(path string) string
}

const readme = "vagrant/README.md"

func TestAMachineOfVagrant(t *testing.T) {
	if name := os.Getenv("MULTINICD_VAGRANT"); name != "" {
		o := machine{T: t, user: own{bed.Path(t, "vagrant")}, name: name}
		o.must(nil, "vagrant up "+name)
		o.wantNICs()
		o.wantDriftRepaired()
		o.runTests()
		o.cloudInit()
		return
	}
	for _, name := range prerequisite.Long("debian12") {
		first, next := packages(t)
		l := newLaptop(t)
		m := machine{T: t, user: l, name: name}
		l.stream(first, "/root/package.deb")
		m.follow("The first machine")
		m.wantNICs()
		m.wantDriftRepaired()
		m.runTests()
		m.cloudInit()

		l.stream(next, "/root/package.deb")
		m.follow("After a change of the code")
		m.wantVersion(nextVersion(t))
		m.must([]string{"MULTINICD_DEB=" + l.put(first)}, "vagrant provision") // a package that is there already, and an older one
		m.wantVersion(version(t))
		m.wantNICs()

		m.follow("The names")
		m.wantNICs()
		m.follow("The end")
		if out := l.do("virsh -q list --all --name; virsh -q net-list --all --name | grep multinicd || true; ls /var/lib/libvirt/images | grep -v _vagrant_box_image_ || true"); strings.TrimSpace(out) != "" {
			t.Errorf("after vagrant destroy there is\n%s", out)
		}
	}
}

func version(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(bed.Path(t, "VERSION"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// nextVersion stands for changed code.
func nextVersion(t *testing.T) string {
	t.Helper()
	return version(t) + "+changed"
}

// packages are the paths of one of this tree, and of one of the next version.
func packages(t *testing.T) (first, next string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), bed.Path(t, "packaging/prerequisites.sh"), "deb").CombinedOutput(); err != nil {
		t.Fatalf("installing what packages are built with: %v\n%s", err, out)
	}
	dir := t.TempDir()
	for _, v := range []string{version(t), nextVersion(t)} {
		if err := artifact.RunMake(t.Context(), bed.Path(t, "."), dir, nil, "deb", "GOARCHES=amd64", "VERSION="+v); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "multinicd_"+version(t)+"_amd64.deb"), filepath.Join(dir, "multinicd_"+nextVersion(t)+"_amd64.deb")
}

// own is this machine's own Vagrant.
type own struct{ folder string }

func (o own) sh(env []string, script string) (string, error) {
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir, cmd.Env = o.folder, append(append(os.Environ(), "VAGRANT_NO_COLOR=1"), env...)
	out, err := cmd.CombinedOutput()
	return strings.ReplaceAll(string(out), "\r", ""), err
}

func (o own) put(path string) string { return path }

// machine is one of the Vagrantfile.
type machine struct {
	*testing.T
	user
	name string
}

// progress is what Vagrant paints over with the next line.
var progress = regexp.MustCompile("\x1b\\[K[^\x1b\n]*%|\\(Reading database \\.\\.\\. (\\d+%)?")

func (m machine) must(env []string, script string) string {
	m.Helper()
	out, err := m.sh(env, script)
	out = progress.ReplaceAllString(out, "")
	if err != nil {
		m.Fatalf("%s: %v\n%s", script, err, out)
	}
	m.Logf("$ %s\n%s", strings.TrimSpace(script), out)
	return out
}

// follow does what a section of the page says, and wants what it says is printed.
func (m machine) follow(heading string) {
	m.Helper()
	for _, s := range page.Steps(m.T, readme, heading) {
		out := m.must(nil, s.Script)
		for _, line := range s.Lacking(out) {
			m.Errorf("%s says that\n%s prints a line\n%s", readme, s.Script, line)
		}
	}
}

// ssh runs a script on the machine as root.
func (m machine) ssh(script string) string {
	m.Helper()
	file := filepath.Join(m.TempDir(), "script")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		m.Fatal(err)
	}
	m.upload(file)
	return m.must(nil, "vagrant ssh "+m.name+" --no-tty -c 'sudo sh -e /tmp/script'")
}

// upload copies a file to /tmp of the machine.
func (m machine) upload(path string) {
	m.Helper()
	m.must(nil, "vagrant upload "+m.put(path)+" /tmp/"+filepath.Base(path)+" "+m.name)
}
