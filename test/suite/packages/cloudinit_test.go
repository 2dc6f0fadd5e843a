package packages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"multinicd/test/bed"
)

// userData is an example for cloud-init, as far as it installs.
type userData struct {
	Update   bool     `json:"package_update"`
	Packages []string `json:"packages"`
	Files    []struct {
		Path, Permissions, Content string
	} `json:"write_files"`
	Run [][]string `json:"runcmd"`
}

// cloudInit does on the host what cloud-init does first: it writes the files of an example, for the repositories that
// are on the host, with their key. edit changes what only a test has to.
func (n *node) cloudInit(name string, edit ...string) userData {
	n.Helper()
	text, err := os.ReadFile(bed.Path(n.T, "examples/cloud-init/"+name))
	if err != nil {
		n.Fatal(err)
	}
	var data userData
	if err := yaml.UnmarshalStrict([]byte(strings.NewReplacer(append(edit, server, folder)...).Replace(string(text))), &data); err != nil {
		n.Fatalf("%s: %v", name, err)
	}
	key, err := os.ReadFile(filepath.Join(built.dir, "repo/multinicd.asc"))
	if err != nil {
		n.Fatal(err)
	}
	keys := 0
	for _, f := range data.Files {
		if strings.HasPrefix(f.Content, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n") {
			f.Content = string(key)
			keys++
		}
		if err := n.WriteFile(f.Path, []byte(f.Content), 0o644); err != nil {
			n.Fatal(err)
		}
	}
	if keys != 1 {
		n.Errorf("%s has %d keys, want one", name, keys)
	}
	return data
}

// wantBootstrapped looks for what the example leaves: the settings are the example's, and the service runs, idle, until the kubelet has joined.
func (n *node) wantBootstrapped(data userData) {
	n.Helper()
	for _, command := range data.Run {
		n.sh(strings.Join(command, " "))
	}
	for _, f := range data.Files {
		if !strings.HasPrefix(f.Path, "/etc/multinicd/") {
			continue
		}
		if got, err := n.ReadFile(f.Path); err != nil || string(got) != f.Content {
			n.Errorf("%s is now (%v)\n%s", f.Path, err, got)
		}
	}
	n.wantIdle()
	if got := strings.Fields(n.sh("systemctl is-active multinicd-join.path; systemctl is-enabled multinicd multinicd-join.path")); !cmp.Equal(got, []string{"active", "enabled", "enabled"}) {
		n.Errorf("the units are %q", got)
	}
}

func TestUserDataInstallsByApt(t *testing.T) {
	t.Parallel()
	n := newNode(t, "trixie")
	n.sh(bare)
	data := n.cloudInit("apt-kubelet.yaml")
	if diff := cmp.Diff(n.sh("cat /srv/multinicd/multinicd.sources"), n.sh("cat /etc/apt/sources.list.d/multinicd.sources")); diff != "" {
		t.Errorf("the repository differs (-make repo +example):\n%s", diff)
	}
	// As cloud-init 22.4 and 25.1 do it (cloudinit/distros/debian.py).
	const apt = "apt-get --option=Dpkg::Options::=--force-confold --option=Dpkg::options::=--force-unsafe-io --assume-yes --quiet "
	n.sh(apt + "update\n" + apt + "install " + strings.Join(data.Packages, " "))
	n.wantBootstrapped(data)
}

func TestUserDataInstallsByDnf(t *testing.T) {
	t.Parallel()
	n := newNode(t, "bookworm")
	d := newDNF(n)
	d.run("install", d.standIn)
	data := n.cloudInit("dnf-kubelet.yaml", "gpgkey=file://", "gpgkey=file://"+d.tree) // which has its root in another place
	want := strings.ReplaceAll(n.sh("cat /srv/multinicd/multinicd.repo"), "gpgkey="+folder+"/multinicd.asc", "gpgkey=file://"+d.tree+"/etc/pki/rpm-gpg/RPM-GPG-KEY-multinicd")
	if diff := cmp.Diff(want, n.sh("cat /etc/yum.repos.d/multinicd.repo")); diff != "" {
		t.Errorf("the repository differs (-make repo +example):\n%s", diff)
	}
	d.run(append([]string{"install"}, data.Packages...)...)
	n.wantBootstrapped(data)
}
