package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"multinicd/internal/daemon"
	"multinicd/test/bed"
	"multinicd/test/testhost"
)

const (
	mac1 = "02:00:00:00:01:01"
	mac2 = "02:00:00:00:01:02"
)

// node is a host with multinicd on it.
type node struct {
	*testhost.Host
	t   *testing.T
	bed *bed.Bed
}

// settings is what every multinicd.toml of a test says: veths stand for NICs here, and nothing else may differ from a node in service.
func settings(node, source string) string {
	return fmt.Sprintf("node = %q\n%s\n[links]\nvirtual_kinds = [\"veth\"]\n[backend]\ndad = \"off\"\n", node, source)
}

// newNode boots a host with the two NICs of examples/worker-node-01.yaml and installs multinicd, which is not started.
func newNode(t *testing.T, b *bed.Bed, o testhost.Options, config string) *node {
	t.Helper()
	if o.NICs == nil {
		o.NICs = bed.NICs(mac1, mac2)
	}
	n := &node{Host: b.HostWith(o), t: t, bed: b}
	n.install(config)
	return n
}

// install puts multinicd on the host: as built from this tree, or, where MULTINICD_TEST_DEB names a package, from that.
func (n *node) install(config string) {
	n.t.Helper()
	var err error
	if deb := os.Getenv("MULTINICD_TEST_DEB"); deb != "" {
		err = n.InstallPackage(n.t.Context(), deb, config)
	} else {
		err = n.InstallDaemon(n.t.Context(), bed.Build(n.t, "./cmd/multinicd"), bed.Path(n.t, "systemd/multinicd.service"), config)
	}
	if err != nil {
		n.t.Fatal(err)
	}
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

// link is what `ip -json address` shows of one.
type link struct {
	Name      string   `json:"ifname"`
	MTU       int      `json:"mtu"`
	MAC       string   `json:"address"`
	Flags     []string `json:"flags"`
	Addresses []struct {
		Local  string `json:"local"`
		Length int    `json:"prefixlen"`
		Scope  string `json:"scope"`
	} `json:"addr_info"`
}

// String is name, up or down, MTU and global addresses.
func (l link) String() string {
	state := "down"
	if slices.Contains(l.Flags, "UP") {
		state = "up"
	}
	out := fmt.Sprintf("%s %s mtu %d", l.Name, state, l.MTU)
	for _, a := range l.Addresses {
		if a.Scope == "global" {
			out += fmt.Sprintf(" %s/%d", a.Local, a.Length)
		}
	}
	return out
}

// link reads the link with a MAC as text; "absent" where there is none.
func (n *node) link(mac string) string {
	n.t.Helper()
	out, err := n.Run(n.t.Context(), "ip", "-json", "address")
	if err != nil {
		return err.Error()
	}
	var links []link
	if err := json.Unmarshal([]byte(out), &links); err != nil {
		return err.Error()
	}
	for _, l := range links {
		if l.MAC == mac {
			return l.String()
		}
	}
	return "absent"
}

// wantLink waits until the link with a MAC is as wanted.
func (n *node) wantLink(mac, want string) {
	n.t.Helper()
	n.eventually("link "+mac, want, func() string { return n.link(mac) })
}

// eventually waits for a text to become what is wanted. The wait is long, since the machine is shared; what is waited for is not slow.
func (n *node) eventually(what, want string, get func() string) {
	n.t.Helper()
	eventually(n.t, n.Name+": "+what, want, get)
}

func eventually(t *testing.T, what, want string, get func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var got string
	for {
		if got = get(); got == want {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: got %q, want %q", what, got, want)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// status asks the daemon.
func (n *node) status() (daemon.Status, error) {
	var s daemon.Status
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
	return shortly(s)
}

func shortly(s daemon.Status) string {
	var out []string
	for _, i := range s.NICs {
		out = append(out, fmt.Sprintf("%s %s %s", i.Name, i.Status, i.Reason))
	}
	return strings.Join(out, ", ")
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
	n.quiet()
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
	const list = "find /etc/netplan /run/systemd/network -type f -exec stat -c '%n %i %Y %Z %s' {} + | sort"
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
	for _, c := range calls {
		if c.Process == testhost.Unknown || strings.Contains(c.String(), "multinicd") {
			n.t.Errorf("called on the bus: %s", c)
		}
	}
}
