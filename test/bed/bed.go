// Package bed gives a test what it needs of the real test bed in a line each: a network, hosts, a control plane.
//
// In goes the test; out come things that run, and that are gone when it ends, however it ends. A failed test
// prints what its hosts have to say.
//
// It must not add anything of its own: testhost and controlplane do the work, and are for programs that are no
// tests.
//
// Start reading at New, Bed.Host and Bed.Cluster. Eventually is how a test waits.
package bed

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"multinicd/test/bed/artifact"
	"multinicd/test/bed/attacker"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/proxy"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
	"multinicd/test/bed/vm"
)

// Bed is one test's network with its hosts.
type Bed struct {
	World *testhost.World

	t       testing.TB
	box     *sandbox.Sandbox
	hosts   []*testhost.Host
	vms     []*vm.VM
	cluster *controlplane.Cluster
	api     *proxy.API
	pods    bool // Pods reach the API server
}

// New makes an empty network. The test is skipped, or with CI set fails, where the machine cannot.
func New(t testing.TB) *Bed {
	t.Helper()
	prerequisite.Require(t)
	reapOnce(t)
	// Not the test's context: that ends before its cleanups run, which still want to ask the hosts.
	box, err := sandbox.New(context.WithoutCancel(t.Context()), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	b := &Bed{t: t, box: box}
	t.Cleanup(func() {
		if t.Failed() {
			b.dump()
		}
		if err := box.Close(); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	if b.World, err = testhost.NewWorld(box, t.Logf); err != nil {
		t.Fatal(err)
	}
	return b
}

// Sandbox is the id of what all of it lives in.
func (b *Bed) Sandbox() string { return b.box.ID }

// Host boots a Debian 12 host with a primary NIC and one NIC per MAC: the first on segment data1, the second on
// data2 and so on.
func (b *Bed) Host(flavour testhost.Flavour, macs ...string) *testhost.Host {
	b.t.Helper()
	return b.HostWith(testhost.Options{Flavour: flavour, NICs: NICs(macs...)})
}

// NICs has one NIC per MAC, the first on segment data1, the second on data2 and so on.
func NICs(macs ...string) []testhost.NIC {
	var nics []testhost.NIC
	for i, mac := range macs {
		nics = append(nics, testhost.NIC{MAC: mac, Segment: "data" + strconv.Itoa(i+1)})
	}
	return nics
}

// HostWith boots a host made to measure.
func (b *Bed) HostWith(o testhost.Options) *testhost.Host {
	b.t.Helper()
	h := b.NewHost(o)
	if err := h.Boot(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return h
}

// DHCP puts a DHCP server on a segment.
func (b *Bed) DHCP(segment string, o testhost.DHCP) *testhost.DHCPServer {
	b.t.Helper()
	s, err := b.World.ServeDHCP(b.t.Context(), segment, o)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// Attacker puts a neighbour who means harm on a segment.
func (b *Bed) Attacker(segment string) *attacker.Attacker {
	b.t.Helper()
	a, err := attacker.New(b.World, segment)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := a.Close(); err != nil {
			b.t.Errorf("the attacker on segment %s: %v", segment, err)
		}
	})
	return a
}

// NewHost makes a host that is off.
func (b *Bed) NewHost(o testhost.Options) *testhost.Host {
	b.t.Helper()
	h, err := b.World.NewHost(b.t.Context(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.hosts = append(b.hosts, h)
	return h
}

// VM makes a virtual machine that is off. A NIC of a VM has no name: its kernel gives it one.
func (b *Bed) VM(o vm.Options) *vm.VM {
	b.t.Helper()
	prerequisite.RequireMachines(b.t)
	v, err := vm.New(b.t.Context(), b.World, b.box, o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.vms = append(b.vms, v)
	return v
}

// Cluster is the control plane that the hosts reach at API().URL(). Where the package's TestMain is Main it is
// one for all tests of the package, else the test's own.
func (b *Bed) Cluster() *controlplane.Cluster {
	b.t.Helper()
	if b.cluster != nil {
		return b.cluster
	}
	if shared.on {
		c, err := shared.cluster(b.t)
		if err != nil {
			b.t.Fatal(err)
		}
		b.serve(c)
		return c
	}
	return b.OwnCluster(controlplane.Options{})
}

// OwnCluster is a control plane for this test alone, to be broken. It takes the place of Cluster, which must not
// have been called.
func (b *Bed) OwnCluster(o controlplane.Options) *controlplane.Cluster {
	b.t.Helper()
	c, err := start(b.t, b.box, o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.serve(c)
	return c
}

// API is the hosts' way to the control plane, where it can be cut per host. It starts the control plane.
func (b *Bed) API() *proxy.API {
	b.t.Helper()
	b.Cluster()
	return b.api
}

// APIBehind is another way to the control plane, at an address to which only default routes lead. A test calls it once.
func (b *Bed) APIBehind() *proxy.API {
	b.t.Helper()
	p, err := b.World.ServeAPIBehind(b.Cluster().Address)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *Bed) serve(c *controlplane.Cluster) {
	b.t.Helper()
	api, err := b.World.ServeAPI(c.Address)
	if err != nil {
		b.t.Fatal(err)
	}
	if api.Identity.Certificate, api.Identity.Roots, err = c.Identity(); err != nil {
		b.t.Fatal(err)
	}
	b.cluster, b.api = c, api
}

// dump says how the hosts are, for the reader of a failed test.
func (b *Bed) dump() {
	ctx := context.WithoutCancel(b.t.Context())
	for _, h := range b.hosts {
		if !h.Running() {
			b.t.Logf("%s is off; its console:\n%s", h.Name, h.Console())
			continue
		}
		b.say(ctx, h.Name, h.Run)
	}
	for _, v := range b.vms {
		b.t.Logf("%s at the end, on its console:\n%s", v.Name, v.ConsoleEnd())
		if v.Running() {
			b.say(ctx, v.Name, v.Run)
		}
	}
}

// sayTimeout is for a machine that does not answer any more.
const sayTimeout = 30 * time.Second

// say has a machine tell how it is.
func (b *Bed) say(ctx context.Context, name string, run func(context.Context, ...string) (string, error)) {
	ctx, cancel := context.WithTimeout(ctx, sayTimeout)
	defer cancel()
	state, err := run(ctx, "sh", "-c", "systemctl --failed --no-legend --no-pager; ip -br link; ip -br address; ip route; ip rule; ls -l /etc/netplan; journalctl --no-pager --quiet --unit=multinicd --lines=60")
	if err != nil {
		state += "\n" + err.Error()
	}
	b.t.Logf("%s at the end:\n%s", name, state)
}

// Build builds a command of the repository ("./cmd/multinicd"), with build tags if any, and returns its path. Again
// it costs next to nothing.
func Build(t testing.TB, pkg string, tags ...string) string {
	t.Helper()
	path, err := artifact.BuildCommand(context.WithoutCancel(t.Context()), t.Logf, pkg, tags...)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Path is the path of a file of the repository ("systemd/multinicd.service").
func Path(t testing.TB, name string) string {
	t.Helper()
	root, err := artifact.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, name)
}

var reaped sync.Once

// reapOnce clears up after runs that were killed, before the first test.
func reapOnce(t testing.TB) {
	reaped.Do(func() {
		if _, err := sandbox.Reap(t.Logf); err != nil {
			t.Logf("clearing up after killed runs: %v", err)
		}
	})
}

func start(t testing.TB, box *sandbox.Sandbox, o controlplane.Options) (*controlplane.Cluster, error) {
	o.Logf = t.Logf
	o.Addresses = append(o.Addresses, net.IP(testhost.Gateway.AsSlice()), net.IP(testhost.Behind.AsSlice()))
	return controlplane.Start(context.WithoutCancel(t.Context()), box, o)
}
