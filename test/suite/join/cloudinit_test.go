package join

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
)

// cloudInit lets the host join by user data, doing what cloud-init does with it: it runs the commands of bootcmd, writes the files, and runs
// the commands of runcmd, one after the other. A repository and the daemon's settings are the bed's.
func (n *node) cloudInit(text string) {
	n.c.t.Helper()
	var cloud struct {
		Update   bool                                          `json:"package_update"`
		Packages []string                                      `json:"packages"`
		Boot     [][]string                                    `json:"bootcmd"`
		Files    []struct{ Path, Permissions, Content string } `json:"write_files"`
		Run      [][]string                                    `json:"runcmd"`
	}
	if err := yaml.UnmarshalStrict([]byte(text), &cloud); err != nil {
		n.c.t.Fatalf("%v\n%s", err, text)
	}
	for _, command := range cloud.Boot {
		n.must(command...)
	}
	for _, f := range cloud.Files {
		if strings.HasPrefix(f.Path, "/etc/apt/") || strings.HasPrefix(f.Path, "/etc/multinicd/") {
			continue
		}
		mode, secret := fs.FileMode(0o644), f.Permissions != ""
		if secret {
			m, err := strconv.ParseUint(f.Permissions, 8, 32)
			if err != nil {
				n.c.t.Fatal(err)
			}
			mode = fs.FileMode(m)
			file, err := v1.ParseJoinFile([]byte(f.Content))
			if err != nil {
				n.c.t.Fatal(err)
			}
			n.tokens[file.Token] = true
		}
		if err := n.WriteFile(f.Path, []byte(f.Content), mode); err != nil {
			n.c.t.Fatal(err)
		}
		if got := n.must("stat", "-c", "%a %U", path.Dir(f.Path), f.Path); secret && got != "700 root\n600 root\n" {
			n.c.t.Errorf("the folder of %s, and itself, are\n%s", f.Path, got)
		}
	}
	for _, command := range cloud.Run {
		n.must(command...)
	}
}

// The example, filled in: it is in a file that nobody else can read, and the token is printed nowhere.
func TestAMachineJoinsByUserDataOfATemplate(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.newNode("by-template")
	data := filepath.Join(t.TempDir(), "user-data")
	n.said.WriteString(c.bridgeCommand("token", "create", "--node", n.name, "--server", c.bed.API().URL(), "--ttl", "1h",
		"--template", bed.Path(t, "examples/cloud-init/apt-token.yaml"), "--output-file", data))
	if info, err := os.Stat(data); err != nil || info.Mode() != 0o600 {
		t.Errorf("the user data is %v, %v", info, err)
	}
	n.cloudInit(string(readFile(t, data)))
	c.publish(n.name, "10.4.4.1/24")
	n.address("10.4.4.1/24")
	c.state(n.name, "Configured 1/1")
	n.token()
	if got := n.must("sh", "-c", "ls -d /run/multinicd-join* || true"); !strings.Contains(got, "No such file") {
		t.Errorf("the join file is left: %s", got)
	}

	// A template that cannot be filled in costs no token.
	got := c.bridgeCommandFails("token", "create", "--node", "by-template-2", "--template", bed.Path(t, "examples/cloud-init/apt-kubelet.yaml"))
	if list := c.bridgeOutput("token", "list"); !strings.Contains(got, "needs @JOIN_FILE@ once") || strings.Contains(list, "by-template-2") {
		t.Errorf("it says %s; the tokens are\n%s", got, list)
	}
}

// The same user data for all nodes, whenever the kubelet joins: before or behind cloud-init.
func TestANodeJoinsAsSoonAsItsKubeletHas(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.newNode("by-kubelet-later")
	n.cloudInit(string(readFile(t, bed.Path(t, "examples/cloud-init/apt-kubelet.yaml"))))
	if got := n.must("sh", "-c", "systemctl is-active multinicd-join.path multinicd-join.service || true"); got != "active\ninactive\n" {
		t.Errorf("before the kubelet has joined, the units are\n%s", got)
	}
	c.makeNode(n.name)
	c.publish(n.name, "10.5.5.1/24")
	n.kubelet()
	n.address("10.5.5.1/24")
	c.state(n.name, "Configured 1/1")
	n.token()
	units := func() string {
		return n.must("sh", "-c", "systemctl is-active multinicd-join.path multinicd-join.service || true; systemctl is-failed multinicd-join.path || true")
	}
	bed.Eventually(t, "the units", "active\nactive\nactive\n", units)
	if err := n.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.address("10.5.5.1/24")
	if got := units(); got != "inactive\ninactive\ninactive\n" {
		t.Errorf("after a boot the units are\n%s, want that nothing of them runs", got)
	}
}
