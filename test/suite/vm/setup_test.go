// Package vm proves on virtual machines what a host of the test bed cannot show: a stock cloud image, with cloud-init and what a cloud gives it, becomes a
// configured node without a hand on it; with the kernel of that image, permanent MACs, netplan as it is, and NICs that come and go by PCI.
//
// In go the packages and a control plane; out come machines that cloud-init has installed them on, which have joined, and are looked at over some boots.
//
// It must not help a machine: all that it is told stands in its user data.
//
// Start reading at TestAMachineWithItsPortsAtTheFirstBoot.
package vm

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"multinicd/test/bed"
	"multinicd/test/bed/artifact"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/testhost"
	"multinicd/test/bed/vm"
)

func TestMain(m *testing.M) {
	bed.InEachPart("TestAMachineWithItsPortsAtTheFirstBoot", "TestAMachineThatGetsItsPortsLater")
	os.Exit(bed.Main(m, installed.Close, removePackages))
}

// packages are built once.
var packages struct {
	once sync.Once
	dir  string
	err  error
}

// repositoryURL is where a machine gets packages from.
var repositoryURL = "http://" + testhost.Gateway.String()

// repository is a folder with signed repositories of the package of this tree.
func repository(t *testing.T) string {
	t.Helper()
	packages.once.Do(func() {
		if packages.dir, packages.err = os.MkdirTemp("", "multinicd-vm-"); packages.err != nil {
			return
		}
		out, err := exec.CommandContext(t.Context(), bed.Path(t, "packaging/prerequisites.sh"), "deb", "repo").CombinedOutput()
		if err != nil {
			packages.err = fmt.Errorf("installing what packages are built with: %w\n%s", err, out)
			return
		}
		for _, args := range [][]string{{"deb", "GOARCHES=amd64"}, {"repo", "REPO_URL=" + repositoryURL}} {
			if packages.err == nil {
				packages.err = artifact.RunMake(t.Context(), bed.Path(t, "."), packages.dir, nil, args...)
			}
		}
	})
	if packages.err != nil {
		t.Fatal(packages.err)
	}
	return filepath.Join(packages.dir, "repo")
}

func removePackages() error {
	if packages.dir == "" {
		return nil
	}
	return os.RemoveAll(packages.dir)
}

// segments are the networks of the NICs, each with DHCP and a router.
var segments = map[string]string{"data1": "192.168.100.0/24", "data2": "192.168.200.0/24", "data3": "192.168.110.0/24"}

// The MACs of the NICs, as OpenStack makes them.
const (
	mac1 = "fa:16:3e:00:01:01"
	mac2 = "fa:16:3e:00:01:02"
	mac3 = "fa:16:3e:00:01:03"
)

// ports are the first two NICs.
var ports = []testhost.NIC{{MAC: mac1, Segment: "data1"}, {MAC: mac2, Segment: "data2"}}

// machine is a VM that is to become a node of the cluster by its user data.
type machine struct {
	*installed.Machine
	t *testing.T
	c *installed.Cluster
}

// newMachine makes one that is off, with its object still to come. What there is of user data stands behind that by which it becomes a node.
func newMachine(t *testing.T, o vm.Options) *machine {
	t.Helper()
	b := bed.New(t)
	c := installed.NewCluster(t, b)
	for segment, network := range segments {
		b.DHCP(segment, testhost.DHCP{Network: netip.MustParsePrefix(network)})
	}
	serve(t, b, repository(t))
	// Every default route leads to the API server, and no subnet does.
	o.UserData = userData(t, c, repository(t), o.Name, b.APIBehind().URL()) + o.UserData
	return &machine{Machine: installed.OnVM(t, b.VM(o)), t: t, c: c}
}

// serve has the repositories at repositoryURL, until the test ends.
func serve(t *testing.T, b *bed.Bed, dir string) {
	t.Helper()
	var listener net.Listener
	err := b.World.Inside(func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(testhost.Gateway.String(), "80"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(dir)), ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), <-done); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// cloudConfig is as much of cloud-init's user data as is used here.
type cloudConfig struct {
	Boot          [][]string  `json:"bootcmd,omitempty"`
	PackageUpdate bool        `json:"package_update,omitempty"`
	Packages      []string    `json:"packages,omitempty"`
	WriteFiles    []cloudFile `json:"write_files"`
	Run           [][]string  `json:"runcmd,omitempty"`
	Updates       any         `json:"updates,omitempty"`
}

type cloudFile struct {
	Path        string `json:"path"`
	Permissions string `json:"permissions"`
	Content     string `json:"content"`
}

// userData has cloud-init install the package from its repository, and join with what `multinic-bridge token create` prints for that.
func userData(t *testing.T, c *installed.Cluster, repository, name, server string) string {
	t.Helper()
	snippet, said, err := c.RunBridge("token", "create", "--node", name, "--server", server)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	var cloud cloudConfig
	if err := yaml.UnmarshalStrict([]byte(snippet), &cloud); err != nil {
		t.Fatalf("%v\n%s", err, snippet)
	}
	return cloud.installs(t, repository, fmt.Sprintf("node = %q\n", name))
}

// installs has cloud-init install the package from its repository too, with this configuration, and gives the text of it all.
func (c cloudConfig) installs(t *testing.T, repository, toml string) string {
	t.Helper()
	file := func(name string) string {
		text, err := os.ReadFile(filepath.Join(repository, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	c.PackageUpdate, c.Packages = true, []string{"multinicd"}
	c.WriteFiles = append(c.WriteFiles,
		cloudFile{"/etc/apt/keyrings/multinicd.asc", "0644", file("multinicd.asc")},
		cloudFile{"/etc/apt/sources.list.d/multinicd.sources", "0644", file("multinicd.sources")},
		cloudFile{"/etc/multinicd/multinicd.toml", "0644", toml},
	)
	text, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return "#cloud-config\n" + string(text)
}

// want writes the node's object, for this very instance, or for another one.
func (m *machine) want(instance string, entries ...string) {
	m.t.Helper()
	m.c.Want(strings.Replace(installed.Object(m.Name, entries...), "  interfaces:", "  instanceId: "+instance+"\n  interfaces:", 1))
}

// state waits for the object's state and, of its NICs, the reasons.
func (m *machine) state(want string) {
	m.t.Helper()
	bed.Eventually(m.t, m.Name, want, func() string {
		reasons, err := m.c.Print(m.t.Context(), installed.Path(m.Name), "{.status.interfaceStatuses[*].reason}")
		if err != nil {
			return err.Error()
		}
		return m.c.State(m.Name) + " " + reasons
	})
}

// links waits until the links of MACs are as wanted, in pairs.
func (m *machine) links(when string, pairs ...string) {
	m.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		bed.Eventually(m.t, when+": link "+pairs[i], pairs[i+1], func() string { return m.Link(pairs[i]) })
	}
}

// oneDefault waits until the only default route of IPv4 is that of the primary NIC.
func (m *machine) oneDefault(when string) {
	m.t.Helper()
	bed.Eventually(m.t, when+": default routes", m.Primary, func() string {
		return strings.Join(strings.Fields(m.Sh("ip -4 route show default table all | grep -o 'dev [^ ]*' | cut -d ' ' -f 2")), " ")
	})
}

// boots has the machine boot, and looks at what nobody wants to see after it.
func (m *machine) boots(how func() error) {
	m.t.Helper()
	if err := how(); err != nil {
		m.t.Fatal(err)
	}
	if failed := m.FailedUnits(m.t.Context()); len(failed) > 0 {
		m.t.Errorf("units have failed: %s\n%s", strings.Join(failed, " "), m.Sh("journalctl --no-pager --quiet --lines=40 --unit="+strings.Join(failed, " --unit=")))
	}
}
