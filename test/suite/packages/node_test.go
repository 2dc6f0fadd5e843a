package packages

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/page"
	"multinicd/test/bed/testhost"
)

// Addresses and MACs are those of examples/worker-node-01.yaml, which the packages install.
var (
	nodeMACs      = []string{"02:00:00:00:01:01", "02:00:00:00:01:02"}
	nodeAddresses = []string{"192.168.100.10", "192.168.200.10"}
	neighbours    = []string{"192.168.100.1/24", "192.168.200.1/24"}
)

// node is a host with two NICs, on which a package is installed.
type node struct {
	*testing.T
	*testhost.Host
	bed        *bed.Bed
	configured string // multinicd.toml as the administrator has made it
}

// newNode boots it, with somebody to talk to on each segment, and with the repositories.
func newNode(t *testing.T, suite string) *node {
	t.Helper()
	return newNodeWith(t, testhost.Options{Suite: suite})
}

func newNodeWith(t *testing.T, o testhost.Options) *node {
	t.Helper()
	build(t)
	b := bed.New(t)
	for i, segment := range []string{"data1", "data2"} {
		if err := b.World.AddAddress(segment, prefix(t, neighbours[i])); err != nil {
			t.Fatal(err)
		}
	}
	o.Name, o.NICs = "worker-node-01", bed.NICs(nodeMACs...)
	n := &node{T: t, Host: b.HostWith(o), bed: b}
	n.serve(filepath.Join(built.dir, "repo"))
	return n
}

// serve copies a folder of repositories to where docs/install.md fetches them from.
func (n *node) serve(repo string) {
	n.Helper()
	pack := exec.CommandContext(n.Context(), "tar", "-C", repo, "-c", ".")
	unpack := n.Command(n.Context(), "sh", "-c", "rm -rf /srv/multinicd && mkdir -p /srv/multinicd && tar -C /srv/multinicd -x")
	stream, err := pack.StdoutPipe()
	if err != nil {
		n.Fatal(err)
	}
	unpack.Stdin = stream
	if err := pack.Start(); err != nil {
		n.Fatal(err)
	}
	if out, err := unpack.CombinedOutput(); err != nil || pack.Wait() != nil {
		n.Fatalf("copying the repositories: %v\n%s", err, out)
	}
}

// sh runs a script on the host, to its first failure, and gives all that it prints.
func (n *node) sh(script string) string {
	n.Helper()
	out, err := n.Shell(n.Context(), "export DEBIAN_FRONTEND=noninteractive; exec 2>&1\n"+script)
	if err != nil {
		n.Fatalf("%v\n%s", err, out)
	}
	return out
}

// property is one of the service, as systemctl show tells it.
func (n *node) property(name string) string {
	n.Helper()
	return strings.TrimSpace(n.sh("systemctl show --value --property=" + name + " multinicd.service"))
}

// wait waits until a text has a part.
func (n *node) wait(what, part string, get func() string) {
	n.Helper()
	want := "it has " + part
	bed.Eventually(n.T, what, want, func() string {
		if got := get(); !strings.Contains(got, part) {
			return got
		}
		return want
	})
}

// waitStatus waits until systemctl status says that in its line.
func (n *node) waitStatus(line string) {
	n.Helper()
	n.wait("the status of the service", line, func() string { return n.property("StatusText") })
}

// fromFile does what docs/install.md says, and waits for the NICs. It gives the steps that show them.
func (n *node) fromFile() (show []page.Step) {
	n.Helper()
	steps := page.Steps(n.T, "docs/install.md", "Configure from a file")
	n.follow(steps[0], "node.yaml\"\nEND", "node.yaml\"\n[links]\nvirtual_kinds = [\"veth\"]\nEND")
	n.waitStatus("2/2 NICs ready")
	text, err := n.ReadFile("/etc/multinicd/multinicd.toml")
	if err != nil {
		n.Fatal(err)
	}
	n.configured = string(text)
	return steps[1:]
}

// configure is fromFile, and a look at what the page shows of it.
func (n *node) configure() {
	n.Helper()
	show := n.fromFile()
	n.Logf("multinicd status:\n%s", n.follow(show[0]))
	n.sh("journalctl --sync")
	n.Logf("journalctl NIC=multinic1:\n%s", n.follow(show[1]))
	n.wantAddresses("after the configuration")
}

// wantIdle looks at a service that nobody has configured.
func (n *node) wantIdle() {
	n.Helper()
	n.waitStatus("idle: ")
	if got := n.property("ActiveState") + " " + n.property("UnitFileState") + " " + n.property("NRestarts"); got != "active enabled 0" {
		n.Errorf("the service without a configuration is %q, want active, enabled and 0 restarts", got)
	}
	n.Logf("idle: %s", n.property("StatusText"))
}

// wantSandbox looks at the process, and asks the systemd of that release what it makes of the unit.
func (n *node) wantSandbox() {
	n.Helper()
	status := n.sh("cat /proc/" + n.property("MainPID") + "/status")
	for _, want := range []string{
		`CapBnd:\s0000000000003000\n`, // CAP_NET_ADMIN and CAP_NET_RAW
		`CapEff:\s0000000000003000\n`,
		`NoNewPrivs:\s1\n`,
		`Seccomp:\s2\n`,
	} {
		if !regexp.MustCompile(want).MatchString(status) {
			n.Errorf("the process does not have %s:\n%s", want, status)
		}
	}
	out := n.sh("systemd-analyze security --no-pager multinicd.service")
	m := regexp.MustCompile(`Overall exposure level for multinicd\.service: ([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		n.Fatalf("systemd-analyze says no overall exposure:\n%s", out)
	}
	n.Logf("exposure %s", m[1])
	if exposure, err := strconv.ParseFloat(m[1], 64); err != nil || exposure > 2.3 {
		n.Errorf("exposure %s, want at most 2.3:\n%s", m[1], out)
	}
}

func (n *node) wantAddresses(when string) {
	n.Helper()
	out := n.sh("ip -br address")
	for i, address := range nodeAddresses {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^multinic%d\S* +UP +%s/24`, i+1, regexp.QuoteMeta(address))).MatchString(out) {
			n.Errorf("%s multinic%d does not have %s:\n%s", when, i+1, address, out)
		}
	}
}

// wantQuiet carries something out while every NIC is pinged and the kernel is listened to. No echo may be lost, and the kernel may
// say nothing of a NIC.
func (n *node) wantQuiet(what string, f func()) {
	n.Helper()
	n.waitDAD()
	monitor, err := n.MonitorKernel()
	if err != nil {
		n.Fatal(err)
	}
	defer monitor.Stop()
	targets := []netip.Addr{n.Address.Addr()}
	if n.configured != "" {
		for _, address := range nodeAddresses {
			targets = append(targets, netip.MustParseAddr(address))
		}
	}
	pings, err := n.bed.World.Ping(targets...)
	if err != nil {
		n.Fatal(err)
	}
	f()
	sent, lost, err := pings.Stop()
	if err != nil {
		n.Error(err)
	}
	for _, target := range targets {
		n.Logf("%s: ping of %s: %d sent, %d lost", what, target, sent[target], lost[target])
		if sent[target] < 5 || lost[target] > 0 {
			n.Errorf("%s: ping of %s lost %d of %d", what, target, lost[target], sent[target])
		}
	}
	events, err := monitor.Events()
	if err != nil {
		n.Fatal(err)
	}
	for _, e := range events {
		n.Errorf("%s: the kernel says %v, want nothing", what, e)
	}
}

// waitDAD waits until the kernel has said all about IPv6 addresses of its own that it says of a NIC that is just up.
func (n *node) waitDAD() {
	n.Helper()
	n.sh("while ip -6 address show tentative | grep -q .; do sleep 0.1; done")
}

// ours is all that configures the NICs at boot, with the inodes and times of the files: rewritten is not the same.
func (n *node) ours() string {
	n.Helper()
	return n.sh("cd /etc/netplan; stat --format='%n %i %Y %a' 90-multinic*; cat 90-multinic*")
}
