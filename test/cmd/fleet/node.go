package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/kube"
	"multinicd/test/bed/product"
)

// node is a node of the fleet: the product's client, as multinicd runs it.
type node struct {
	number int
	name   string
	dir    string // of its credential
	client *kube.Client
	holder string // of its Lease

	mu   sync.Mutex
	told int64         // the newest generation that its watch has told
	news chan struct{} // capacity 1: told has changed
	fail error
}

func nodeName(i int) string { return fmt.Sprintf("fleet-%05d", i) }

// join gets the node its token, and gives the time that took. It begins to live as the daemon does: it watches, renews its Lease and
// reports.
func (n *node) join(ctx, life context.Context, f *fleet) (time.Duration, error) {
	kubeconfig := filepath.Join(n.dir, "kubelet.conf")
	server := ""
	if f.ofNodes != nil {
		server = f.ofNodes.URL
	}
	if err := f.cluster.WriteKubeconfig(kubeconfig, server, "system:node:"+n.name, "system:nodes"); err != nil {
		return 0, err
	}
	begin := time.Now()
	o := kube.Options{Node: n.name, Version: "fleet", Log: silent}
	joined, err := kube.Join(ctx, o, kube.Joining{Kubeconfig: kubeconfig, Credential: n.dir, Store: product.Folder(n.dir)})
	if err != nil {
		return 0, err
	}
	took := time.Since(begin)
	o.CredentialDir = n.dir
	if n.client, err = kube.New(o); err != nil {
		return 0, err
	}
	n.holder = v1.LeaseHolder(n.name, joined.Request)
	if err := n.client.RenewLease(ctx, n.holder); err != nil {
		return 0, err
	}
	f.running.Go(func() { _ = n.client.Watch(life, func(o kube.Observation) { n.observe(life, o) }) })
	f.running.Go(func() { n.renew(life, &f.renewed) })
	return took, nil
}

// observe reports what the node sees as done at once.
func (n *node) observe(ctx context.Context, o kube.Observation) {
	switch {
	case o.Err != nil:
		n.failed(o.Err)
	case o.Object == nil || o.Object.Generation <= n.told: // only this goroutine writes it
	default:
		n.mu.Lock()
		n.told = o.Object.Generation
		n.mu.Unlock()
		select {
		case n.news <- struct{}{}:
		default:
		}
		report := v1.Report{Node: n.name, UID: o.Object.UID, Generation: o.Object.Generation, Phase: v1.PhaseDone, Executor: v1.ExecutorDaemon, Version: "fleet",
			Interfaces: configured(o.Object.Spec.Interfaces)}
		text, err := report.Encode()
		if err != nil {
			n.failed(err)
			return
		}
		for { // as the daemon does, until it is there
			err := n.client.PutReport(ctx, text)
			n.failed(err)
			if err == nil || rest(ctx, time.Second) != nil {
				return
			}
		}
	}
}

// leaseEvery is the mean time between two renewals of a node's Lease.
const leaseEvery = 2 * time.Minute

// renew renews the Lease every 2 min, give or take a fifth.
func (n *node) renew(ctx context.Context, count *atomic.Int64) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration((0.8 + 0.4*rand.Float64()) * float64(leaseEvery))):
			n.failed(n.client.RenewLease(ctx, n.holder))
			count.Add(1)
		}
	}
}

// failed notes the first failure; nil is none.
func (n *node) failed(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail == nil {
		n.fail = err
	}
}

// seen waits until the node's watch has told a generation.
func (n *node) seen(ctx context.Context, generation int64) error {
	for {
		n.mu.Lock()
		told := n.told
		n.mu.Unlock()
		if told >= generation {
			return nil
		}
		select {
		case <-n.news:
		case <-ctx.Done():
			return fmt.Errorf("waiting for generation %d at %s: %w", generation, n.name, context.Cause(ctx))
		}
	}
}

// configured is what a daemon reports of NICs that are as wanted.
func configured(nics []v1.Interface) (out []v1.InterfaceStatus) {
	now := metav1.Now()
	for _, n := range nics {
		is := v1.InterfaceStatus{ID: *n.ID, Name: fmt.Sprintf("multinic%d", *n.ID), MACAddress: n.MACAddress, Status: v1.StateConfigured, Reason: v1.ReasonConfigured,
			Message: "Interface configured successfully", LastConfigured: &now}
		if _, length, ok := strings.Cut(n.CIDR, "/"); ok {
			is.Address = n.Address + "/" + length
		}
		if n.MTU != nil {
			is.MTU = *n.MTU
		}
		out = append(out, is)
	}
	return out
}

// nicsOf are so many NICs of a node, of which the first has another MTU.
func nicsOf(node, count, mtu int) []v1.Interface {
	var out []v1.Interface
	for i := range count {
		nic := v1.Interface{
			ID: new(int32(i)), PortID: fmt.Sprintf("6a6ee0dd-4c7d-4b7e-9d3e-%06x%06x", node, i), Name: fmt.Sprintf("multinic%d", i), MTU: new(int32(1400)),
			MACAddress: fmt.Sprintf("fa:16:%02x:%02x:%02x:%02x", node>>16, node>>8&0xff, node&0xff, i), Address: fmt.Sprintf("10.%d.%d.10", 100+i, node&0xff), CIDR: fmt.Sprintf("10.%d.%d.0/24", 100+i, node&0xff),
		}
		if i == 0 {
			nic.MTU = new(int32(mtu))
		}
		out = append(out, nic)
	}
	return out
}
