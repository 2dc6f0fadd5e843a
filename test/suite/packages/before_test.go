package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/artifact"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

// The commit whose packages were the first that others had, and their version.
const (
	before        = "f72722a"
	beforeVersion = "0.1.0"
)

// buildBefore makes the .deb of that commit, from the history that the tree has.
func buildBefore(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const script = `git -C "$1" archive --format=tar "$2" | tar -C "$3" -x`
	if out, err := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script, "bash", bed.Path(t, "."), before, dir).CombinedOutput(); err != nil {
		t.Fatalf("taking the tree of %s out of git (a clone with its whole history has it): %v\n%s", before, err, out)
	}
	if err := artifact.RunMake(t.Context(), dir, filepath.Join(dir, "out"), nil, "deb", "VERSION="+beforeVersion, "GOARCHES=amd64"); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "out", "multinicd_"+beforeVersion+"_amd64.deb")
}

// The packages of that commit have NICs configured. They are upgraded to this version, used, and taken back: no packet is lost at either step, the kernel
// tells of nothing, and each version goes on with what the other one has left.
func TestTheFirstPackagesAreUpgradedUsedAndTakenBack(t *testing.T) {
	t.Parallel()
	rows := prerequisite.Long("networkd", "NetworkManager")
	if len(rows) == 0 {
		return
	}
	deb, err := os.ReadFile(buildBefore(t))
	if err != nil {
		t.Fatal(err)
	}
	flavours := map[string]testhost.Flavour{"networkd": testhost.Networkd, "NetworkManager": testhost.NetworkManager}
	for _, name := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNodeWith(t, testhost.Options{Suite: "bookworm", Flavour: flavours[name]})
			if err := n.WriteFile("/tmp/before.deb", deb, 0o644); err != nil {
				t.Fatal(err)
			}
			n.sh(bare + "apt-get install --yes /tmp/before.deb")
			n.fromFile() // what the page shows of it is of this version
			n.wantAddresses("after the configuration")
			version := func(want string) {
				t.Helper()
				if out := n.sh("multinicd version"); !strings.HasPrefix(out, "multinicd "+want) {
					t.Fatalf("the version is %s, want %s", out, want)
				}
				n.waitStatus("2/2 NICs ready")
			}
			version(beforeVersion)

			n.wantQuiet("upgrade", func() {
				n.sh("apt-get install --yes --option=Dpkg::Options::=--force-confold $(find /srv/multinicd -name multinicd_" + built.this + "_amd64.deb)")
				version(built.this)
			})
			n.settled("upgrade")

			// Used: one NIC changes, is given back, and is wanted again.
			object := n.sh("cat /etc/multinicd/node.yaml")
			for _, c := range []struct{ object, first string }{
				{strings.ReplaceAll(object, nodeAddresses[0], "192.168.100.77"), "192.168.100.77"},
				{object, nodeAddresses[0]},
			} {
				if err := n.WriteFile("/etc/multinicd/node.yaml", []byte(c.object), 0o644); err != nil {
					t.Fatal(err)
				}
				n.wait("the first NIC's addresses", c.first+"/24", func() string { return n.sh("ip -br address show dev multinic1") })
				n.waitStatus("2/2 NICs ready")
			}
			n.wantAddresses("after it was used")

			n.wantQuiet("way back", func() {
				n.sh("apt-get install --yes --allow-downgrades --option=Dpkg::Options::=--force-confold /tmp/before.deb")
				version(beforeVersion)
			})
			n.settled("way back")
			n.sh("systemctl stop multinicd; multinicd cleanup --yes || multinicd cleanup")
			if left := n.sh("ip -br link | grep multinic || true"); left != "" {
				t.Errorf("the older version does not give back what the newer one configured:\n%s", left)
			}
		})
	}
}

// settled looks whether the NICs are as wanted, and whether a version that has written a file in a form of its own has done so once: its next start writes
// nothing.
func (n *node) settled(what string) {
	n.Helper()
	n.wantAddresses("after the " + what)
	files := func() string {
		return n.sh("find /etc/netplan /etc/NetworkManager/system-connections /etc/systemd/network -name '*multinic*' -type f -exec stat --format='%n %i %Y %a' {} + -exec cat {} +")
	}
	before := files()
	n.sh("systemctl restart multinicd")
	n.waitStatus("2/2 NICs ready")
	if got := files(); got != before {
		n.Errorf("a start after the %s changed the NICs' files from\n%s\nto\n%s", what, before, got)
	}
}
