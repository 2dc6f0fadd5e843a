package openstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
)

// poller makes one walk after the other. It is for one goroutine.
type poller struct {
	Options
	clouds []*cloud
	// nodes and objects are read from here; it may be a cache: a wish says from which generation
	// of its object it was made.
	cluster client.Reader
	writer  *publish.Writer
	meters  *meters
	memory  Memory
}

func newPoller(o Options, m *meters, cluster client.Reader, direct client.Client) *poller {
	p := &poller{Options: o, cluster: cluster, meters: m}
	for _, name := range o.Clouds {
		p.clouds = append(p.clouds, &cloud{name: name, file: o.CloudsFile, agent: o.Agent, timeout: o.Timeout, page: o.PageSize, meters: m})
	}
	p.writer = &publish.Writer{
		Owner: publish.Owner{Name: v1.PublisherOpenStack, Removals: publish.RemovalsAll}, Client: direct,
		Directory: func(ctx context.Context) (*publish.Directory, error) {
			machines, err := p.machines(ctx)
			if err != nil {
				return nil, err
			}
			all := make([]publish.Machine, len(machines))
			for i, m := range machines {
				all[i] = publish.Machine{Name: m.Name, ProviderID: m.ProviderID, SystemUUID: m.SystemUUID}
			}
			return publish.NewDirectory(all), nil
		},
	}
	return p
}

// poll walks, judges and publishes. The results are those of the wishes, in the order of the nodes
// that have one. With dry nothing is written, and nothing remembered.
//
// The error says what could not be asked. Nothing was written then, except where the walk was only
// not whole: then there is a verdict beside the error.
func (p *poller) poll(ctx context.Context, dry bool) (Verdict, []publish.Result, error) {
	machines, err := p.machines(ctx)
	if err != nil {
		return Verdict{}, nil, err
	}
	seen, part := p.see(ctx, machines)
	if part != nil && len(seen.Projects) == 0 {
		return Verdict{}, nil, part
	}
	// after the walk, which takes long
	if machines, err = p.machines(ctx); err != nil {
		return Verdict{}, nil, err
	}
	w := World{Now: time.Now(), Machines: machines, Seen: seen}
	var list v1.MultiNicNodeConfigList
	if err := p.cluster.List(ctx, &list, client.InNamespace(v1.SystemNamespace)); err != nil {
		return Verdict{}, nil, fmt.Errorf("listing the objects: %w", err)
	}
	for i := range list.Items {
		w.Objects = append(w.Objects, &list.Items[i])
	}
	proofs, err := p.prove(ctx, Doubts(w, p.memory, p.Rules))
	if err != nil {
		part = errors.Join(part, err) // what is not proved stays
	}
	v := Judge(w, p.memory, proofs, p.Rules)
	if !dry {
		p.memory = v.Memory
	}
	var wishes []publish.Wish
	for _, n := range v.Nodes {
		if n.Wish != nil {
			wishes = append(wishes, *n.Wish)
		}
	}
	results, err := p.writer.Publish(ctx, wishes, dry)
	if err != nil {
		return Verdict{}, nil, errors.Join(part, err)
	}
	if !dry && part == nil { // a cloud that answers every other time would move the notes in each walk
		if err := p.writer.Note(ctx, v.notes(results, w.Objects)); err != nil {
			p.Log.Warn("not all notes were written", "err", err.Error())
		}
	}
	return v, results, part
}

// machines are the Nodes.
func (p *poller) machines(ctx context.Context) ([]Machine, error) {
	var list corev1.NodeList
	if err := p.cluster.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing the Nodes: %w", err)
	}
	out := make([]Machine, len(list.Items))
	for i := range list.Items {
		out[i] = machineOf(&list.Items[i])
	}
	return out, nil
}

// providedIP is set on a Node whose kubelet has --node-ip and an external cloud provider.
const providedIP = "alpha.kubernetes.io/provided-node-ip"

func machineOf(n *corev1.Node) Machine {
	m := Machine{Name: n.Name, ProviderID: n.Spec.ProviderID, SystemUUID: n.Status.NodeInfo.SystemUUID}
	add := func(text string) {
		if a, err := netip.ParseAddr(strings.TrimSpace(text)); err == nil && !a.IsUnspecified() {
			m.Addresses = append(m.Addresses, a.Unmap())
		}
	}
	for text := range strings.SplitSeq(n.Annotations[providedIP], ",") {
		add(text)
	}
	if len(m.Addresses) > 0 {
		return m
	}
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			add(a.Address)
		}
	}
	return m
}

// see walks through all clouds. The error says which of them failed; the others count.
func (p *poller) see(ctx context.Context, machines []Machine) (Seen, error) {
	out := Seen{Whole: true, Networks: map[string]Network{}, Subnets: map[string]Subnet{}, Projects: map[string]bool{}, Regions: map[string]bool{}}
	var errs []error
	var open []*cloud
	for _, c := range p.clouds {
		if err := c.open(ctx); err != nil {
			errs = append(errs, err)
			continue
		}
		open = append(open, c)
		out.Regions[c.at.Region] = true
	}
	p.meters.end(firstEnd(p.clouds))
	instances := Instances(machines, out.Regions)
	for _, c := range open {
		if err := p.walk(ctx, c, instances, &out); err != nil {
			errs = append(errs, fmt.Errorf("walking through the cloud %s: %w", c.name, err))
			c.close()
		}
	}
	out.Whole = len(errs) == 0
	return out, errors.Join(errs...)
}

func (p *poller) walk(ctx context.Context, c *cloud, instances []string, into *Seen) error {
	projects := p.Projects
	if len(projects) == 0 {
		projects = []string{c.project}
	}
	w := c.walker()
	var all []Port
	for _, project := range projects {
		ports, err := w.ports(ctx, project, instances)
		if err != nil {
			return err
		}
		all = append(all, ports...)
	}
	var networks, subnets []string
	for _, port := range all {
		networks = append(networks, port.NetworkID)
		for _, f := range port.FixedIPs {
			subnets = append(subnets, f.SubnetID)
		}
	}
	for _, ids := range []*[]string{&networks, &subnets} {
		slices.Sort(*ids)
		*ids = slices.Compact(*ids)
	}
	if err := w.networks(ctx, networks, into.Networks); err != nil {
		return err
	}
	if err := w.subnets(ctx, subnets, into.Subnets); err != nil {
		return err
	}
	for _, project := range projects {
		into.Projects[project] = true
	}
	into.Ports = append(into.Ports, all...)
	return nil
}

// prove asks for ports one by one, in each cloud, and afterwards for the primary port of the node.
// Without it an answer of 404 says nothing: a port that is hidden is not found either.
func (p *poller) prove(ctx context.Context, doubts []Doubt) (map[string]Proof, error) {
	out := map[string]Proof{}
	var errs []error
	for one := range slices.Values(doubts) {
		proof, err := p.proveOne(ctx, one)
		if err != nil {
			errs = append(errs, fmt.Errorf("asking for port %s of node %s: %w", one.PortID, one.Node, err))
			continue
		}
		out[one.PortID] = proof
	}
	return out, errors.Join(errs...)
}

func (p *poller) proveOne(ctx context.Context, d Doubt) (Proof, error) {
	for _, c := range p.clouds {
		if c.network == nil {
			return Proof{}, fmt.Errorf("the cloud %s is not there", c.name)
		}
		port, err := c.walker().port(ctx, d.PortID)
		if err != nil {
			return Proof{}, err
		}
		if port != nil {
			return Proof{Port: port}, nil
		}
	}
	for _, c := range p.clouds {
		for _, id := range d.Primary {
			port, err := c.walker().port(ctx, id)
			if err != nil {
				return Proof{}, err
			}
			if port != nil && strings.EqualFold(port.DeviceID, d.Instance) {
				return Proof{Primary: true}, nil
			}
		}
	}
	return Proof{}, nil
}

// Options of the publisher.
type Options struct {
	Log *slog.Logger
	// CloudsFile is a clouds.yaml; it is read again before each walk, with the files that it names.
	CloudsFile string
	// Clouds are the names of its entries that are asked, at least one.
	Clouds []string
	// Projects are the ids of those whose ports count; none: each credential's own.
	Projects []string
	Rules    Rules
	// Interval is the pause between two walks, give or take a fifth.
	Interval time.Duration
	// Timeout of one request to a cloud.
	Timeout time.Duration
	// PageSize is how many items a page has at most.
	PageSize int
	// Agent is the User-Agent.
	Agent string
	// HealthAddress serves /healthz and /readyz; MetricsAddress serves /metrics. Both are host:port;
	// "" or "0" serves nothing.
	HealthAddress, MetricsAddress string
}
