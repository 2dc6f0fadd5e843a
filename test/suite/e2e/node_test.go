package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"multinicd/internal/daemon/status"
	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/monitor"
	"multinicd/test/bed/testhost"
)

const (
	mac1 = installed.MAC1
	mac2 = installed.MAC2
)

// node is a host with multinicd on it.
type node struct {
	*installed.Node
	t   *testing.T
	bed *bed.Bed
}

// settings is what every multinicd.toml of a test says.
func settings(node, source string) string { return installed.Settings(node, source, "off") }

// newNode boots a host with the two NICs of examples/worker-node-01.yaml and installs multinicd, which is not started.
func newNode(t *testing.T, b *bed.Bed, o testhost.Options, config string) *node {
	t.Helper()
	return &node{Node: installed.New(t, b, o, config), t: t, bed: b}
}

// must runs a command on the host.
func (n *node) must(argv ...string) string {
	n.t.Helper()
	out, err := n.Run(n.t.Context(), argv...)
	if err != nil {
		n.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

// file puts text into the host.
func (n *node) file(name, text string) string {
	n.t.Helper()
	if err := n.WriteFile(name, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
	return name
}

// link is the link with a MAC as text; "absent" where there is none.
func (n *node) link(mac string) string { return n.Link(mac) }

// wantLink waits until the link with a MAC is as wanted.
func (n *node) wantLink(mac, want string) {
	n.t.Helper()
	n.eventually("link "+mac, want, func() string { return n.link(mac) })
}

func (n *node) eventually(what, want string, get func() string) {
	n.t.Helper()
	bed.Eventually(n.t, n.Name+": "+what, want, get)
}

// status asks the daemon, as an administrator does.
func (n *node) status() (status.Node, error) {
	var s status.Node
	out, err := n.Run(n.t.Context(), "multinicd", "status", "-o", "json")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// nics is the status in short: "multinic1 Configured Configured, multinic2 Failed ProtectedLink".
func (n *node) nics() string {
	s, err := n.status()
	if err != nil {
		return err.Error()
	}
	return n.Said(s)
}

func example(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(bed.Path(t, "examples/worker-node-01.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What the example makes of the two NICs.
const (
	example1 = "multinic1 up mtu 1500 192.168.100.10/24"
	example2 = "multinic2 up mtu 1500 192.168.200.10/24"
)

// sameAgainDoesNothing runs a command that has nothing to do, and holds it to that with monitors of kernel, bus and files.
func (n *node) sameAgainDoesNothing(argv ...string) {
	n.t.Helper()
	ctx := n.t.Context()
	n.still("the daemon, which may be at a repair, and addresses that are being checked", func() string { return n.tentative() + "\n" + n.Passes() },
		func(got, before string) bool { return got == before && strings.HasPrefix(got, "\n") }, "nothing more")
	kernel, err := n.MonitorKernel()
	if err != nil {
		n.t.Fatal(err)
	}
	defer kernel.Stop()
	bus, err := n.MonitorBus(ctx)
	if err != nil {
		n.t.Fatal(err)
	}
	defer bus.Stop()
	const list = "find " + folders + " -type f -exec stat -c '%n %i %Y %Z %s' {} + 2>/dev/null | sort"
	before := n.must("sh", "-c", list)
	n.must(argv...)
	if after := n.must("sh", "-c", list); after != before {
		n.t.Errorf("files were written:\n%s\nwere\n%s", after, before)
	}
	events, err := kernel.Events()
	if err != nil || len(events) > 0 {
		n.t.Errorf("%d events in the kernel: %v %v", len(events), events, err)
	}
	calls, err := bus.Calls(ctx)
	if err != nil {
		n.t.Error(err)
	}
	// Those that end for want of work: systemd's services ask to be told (AddMatch), give their name back, and go. multinicd has no name to give back.
	ending := map[string]bool{}
	for _, c := range calls {
		if c.Destination == "org.freedesktop.DBus" && c.Member == "ReleaseName" {
			ending[c.Sender] = true
		}
	}
	for _, c := range calls {
		if c.Process == monitor.Unknown && !ending[c.Sender] || strings.Contains(c.String(), "multinicd") {
			n.t.Errorf("called on the bus: %s", c)
		}
	}
}
