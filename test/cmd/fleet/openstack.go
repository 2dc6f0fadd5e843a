package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/artifact"
	"multinicd/test/bed/measure"
	"multinicd/test/bed/openstack"
	"multinicd/test/bed/product"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
)

// polled is what polls of some ports took, each.
type polled struct {
	Ports    int     `json:"ports"`
	Polls    int     `json:"polls"`
	Seconds  float64 `json:"seconds"`
	Requests float64 `json:"requests"` // of the publisher to Keystone and Neutron
	Refused  float64 `json:"refused"`  // of these, those that were answered 429
	Bytes    float64 `json:"bytes"`    // of answers
	CPU      float64 `json:"cpuSeconds"`
	Writes   float64 `json:"apiServerWrites"`
	Memory   float64 `json:"memoryMostMiB"` // of the publisher, since it started
}

// polls are the results of one run.
type polls struct {
	measure.Stamp
	Cores int      `json:"cores"`
	Each  int      `json:"portsOfAnInstance"`
	First []polled `json:"first"` // objects are made
	Quiet []polled `json:"quiet"` // nothing changes
	Full  []polled `json:"full"`  // nothing changes, and every third request is answered 429
}

const (
	openstackPage = "openstack"
	portsEach     = 10 // of an instance, its primary one among them
	quietPolls    = 3
)

// measureOpenStack is a run of its own, without a bridge: what polling a real Neutron costs.
func (f *fleet) measureOpenStack(ctx context.Context) error {
	res := polls{Cores: runtime.NumCPU(), Each: portsEach}
	f.bridge.Stop()
	if err := product.InstallOpenStack(ctx, f.cluster); err != nil {
		return err
	}
	b, err := f.newPortBench(ctx)
	if err != nil {
		return err
	}
	for _, ports := range []int{100, 1000, 10000} {
		if ports > f.size*portsEach {
			break
		}
		f.logf("%d ports", ports)
		if err := b.grow(ctx, ports/portsEach); err != nil {
			return err
		}
		if err := b.measure(ctx, ports, &res); err != nil {
			return fmt.Errorf("with %d ports: %w", ports, err)
		}
	}
	if res.Stamp, err = f.End(); err != nil {
		return err
	}
	return f.Write(ctx, res.Stamp, measure.Result{Page: openstackPage, Data: res, Text: res.text(), Figures: res.figures()})
}

// portBench is a project with networks of many ports.
type portBench struct {
	f      *fleet
	cloud  *openstack.Cloud
	admin  client.Client
	many   openstack.Many
	clouds string
	binary string
}

func (f *fleet) newPortBench(ctx context.Context) (*portBench, error) {
	b := &portBench{f: f, many: openstack.Many{Prefix: "7e570000", Each: portsEach, Management: "10.1.0.10", Data: "10.2.0.10"}}
	world, err := testhost.NewWorld(f.box, f.logf)
	if err != nil {
		return nil, err
	}
	if b.cloud, err = openstack.Start(ctx, f.box, world); err != nil {
		return nil, err
	}
	if b.admin, err = product.Client(f.cluster.Config()); err != nil {
		return nil, err
	}
	if b.binary, err = artifact.BuildCommand(ctx, f.logf, "./cmd/bridge"); err != nil {
		return nil, err
	}
	tenant, err := b.cloud.Tenant(ctx, "fleet", "reader", openstack.Rules())
	if err != nil {
		return nil, err
	}
	b.many.Project = tenant.Project
	for _, n := range []struct {
		cidr            string
		network, subnet *string
	}{
		{"10.1.0.0/16", &b.many.ManagementNetwork, &b.many.ManagementSubnet},
		{"10.2.0.0/16", &b.many.DataNetwork, &b.many.DataSubnet},
	} {
		if *n.network, err = b.cloud.Make(ctx, "network", openstack.Thing{"project_id": tenant.Project, "mtu": 1450}); err != nil {
			return nil, err
		}
		if *n.subnet, err = b.cloud.Make(ctx, "subnet", openstack.Thing{"network_id": *n.network, "project_id": tenant.Project, "ip_version": 4, "cidr": n.cidr, "enable_dhcp": false}); err != nil {
			return nil, err
		}
	}
	b.clouds = filepath.Join(f.box.Dir, "clouds.yaml")
	return b, os.WriteFile(b.clouds, []byte(b.cloud.CloudsYAML(tenant)), 0o600)
}

// grow puts instances and their ports into Neutron, until there are so many, and their Nodes into the cluster.
func (b *portBench) grow(ctx context.Context, instances int) error {
	m := b.many
	m.From, m.To = b.many.To, instances
	if err := b.cloud.Put(ctx, m); err != nil {
		return err
	}
	b.many.To = instances
	return together(m.From, m.To, func(n int) error { return b.node(ctx, n) })
}

func (b *portBench) node(ctx context.Context, n int) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("many-%05d", n)}, Spec: corev1.NodeSpec{ProviderID: "openstack:///" + b.many.Instance(n)}}
	if err := b.admin.Create(ctx, node); err != nil {
		return err
	}
	patch := fmt.Appendf(nil, `{"status":{"addresses":[{"type":"InternalIP","address":"10.1.%d.%d"}]}}`, (10+n)>>8, (10+n)&0xff)
	return b.admin.Status().Patch(ctx, node, client.RawPatch(types.MergePatchType, patch))
}

// measure runs a publisher of its own: its first poll, some in which nothing changes, and some of which every third request is refused.
func (b *portBench) measure(ctx context.Context, ports int, res *polls) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return err
	}
	p, err := product.StartOpenStack(ctx, b.f.box, b.f.cluster, b.binary, "--metrics-address", address, "--clouds-file", b.clouds, "--cloud", "fleet",
		"--network", b.many.DataNetwork, "--interval", "1s", "--timeout", "1m")
	if err != nil {
		return err
	}
	defer p.Stop()
	defer b.cloud.Lie(nil)
	before := counters{}
	for _, step := range []struct {
		to    *[]polled
		polls int
		lie   func(http.Handler) http.Handler
	}{{&res.First, 1, nil}, {&res.Quiet, quietPolls, nil}, {&res.Full, quietPolls, openstack.EveryThird("1")}} {
		b.cloud.Lie(step.lie)
		after, err := b.after(ctx, address, p.PID(), before.polls+float64(step.polls))
		if err != nil {
			return fmt.Errorf("%w\n%.2000s", err, p.Log())
		}
		n := after.polls - before.polls // one may have begun before
		each := func(a, b float64) float64 { return (a - b) / n }
		one := polled{Ports: ports, Polls: int(n), Seconds: each(after.seconds, before.seconds), Requests: each(after.requests, before.requests), Refused: each(after.refused, before.refused),
			Bytes: each(after.bytes, before.bytes), CPU: each(after.cpu, before.cpu), Writes: each(after.writes, before.writes)}
		if one.Memory, err = sandbox.Memory(p.PID(), "VmHWM:"); err != nil {
			return err
		}
		*step.to = append(*step.to, one)
		before = after
	}
	var list v1.MultiNicNodeConfigList
	if err := b.admin.List(ctx, &list, client.InNamespace(v1.SystemNamespace)); err != nil {
		return err
	}
	nics := 0
	for _, o := range list.Items {
		nics += len(o.Spec.Interfaces)
	}
	if want := ports - ports/portsEach; nics != want {
		return fmt.Errorf("the objects have %d NICs, want %d", nics, want)
	}
	return nil
}

// counters are what the publisher's metrics say, and its processor time.
type counters struct{ polls, seconds, requests, refused, bytes, writes, cpu float64 }

// after waits until the publisher has made so many whole polls.
func (b *portBench) after(ctx context.Context, address string, pid int, polls float64) (counters, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	for {
		c, err := read(ctx, address)
		if err == nil && c.polls >= polls {
			c.cpu, err = sandbox.Processor(pid)
			return c, err
		}
		select {
		case <-ctx.Done():
			return c, fmt.Errorf("there were %v polls of %v: %w", c.polls, polls, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func read(ctx context.Context, address string) (counters, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return counters{}, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return counters{}, err
	}
	defer answer.Body.Close()
	return parse(answer.Body)
}

func parse(page io.Reader) (counters, error) {
	var c counters
	for lines := bufio.NewScanner(page); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), "} ")
		if !ok {
			name, value, ok = strings.Cut(lines.Text(), " ")
		}
		number, err := strconv.ParseFloat(value, 64)
		if !ok || err != nil {
			continue
		}
		switch {
		case strings.HasPrefix(name, `multinic_openstack_polls_total{result="whole"`):
			c.polls = number
		case name == "multinic_openstack_poll_duration_seconds_sum":
			c.seconds = number
		case strings.HasPrefix(name, "multinic_openstack_requests_total{"):
			c.requests += number
			if strings.Contains(name, `"429"`) {
				c.refused += number
			}
		case name == "multinic_openstack_received_bytes_total":
			c.bytes = number
		case strings.HasPrefix(name, "rest_client_requests_total{") && (strings.Contains(name, `method="POST"`) || strings.Contains(name, `method="PATCH"`)):
			c.writes += number
		}
	}
	return c, nil
}

func (r polls) text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s. Instances with %d ports each, one of which is the primary port, on %d cores that everything shares.\n",
		r.Stamp, r.Each, r.Cores)
	line("| ports | poll | seconds | requests to the cloud | of them 429 | KiB of answers | publisher's CPU s | requests that write | publisher's memory at most, MiB |")
	line("|---|---|---|---|---|---|---|---|---|")
	for i := range r.Full {
		for _, p := range []struct {
			what string
			polled
		}{{"the first, which makes the objects", r.First[i]}, {"nothing changes", r.Quiet[i]}, {"nothing changes, every third request is 429 with Retry-After: 1", r.Full[i]}} {
			line("| %d | %s | %.2f | %.0f | %.0f | %.0f | %.2f | %.0f | %.0f |", p.Ports, p.what, p.Seconds, p.Requests, p.Refused, p.Bytes/1024, p.CPU, p.Writes, p.Memory)
		}
	}
	return b.String()
}

// figures are those that are kept from release to release.
func (r polls) figures() (out []measure.Figure) {
	for _, p := range r.Quiet {
		out = append(out, measure.Figure{Name: fmt.Sprintf("a poll of %d ports that changes nothing, publisher's CPU", p.Ports), Value: p.CPU, Unit: "s"},
			measure.Figure{Name: fmt.Sprintf("a poll of %d ports that changes nothing, requests", p.Ports), Value: p.Requests, Unit: "requests"})
	}
	return out
}
