package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/outbox"
	"multinicd/internal/kube"
	"multinicd/test/bed/product"
	"multinicd/test/cmd/fleet/herd"
)

// node is a node of the fleet: the product's client, as multinicd runs it.
type node struct {
	number int
	name   string
	dir    string // of its credential
	client *kube.Client
	box    *outbox.Box // the daemon's own loop for reports and Lease
	holder string      // of its Lease

	troubles *herd.Troubles

	mu   sync.Mutex
	told int64         // the newest generation that its watch has told
	news chan struct{} // capacity 1: told has changed
	fail error
}

func nodeName(i int) string { return fmt.Sprintf("fleet-%05d", i) }

// join gets the node its token, and gives the time that took. It begins to live by the daemon's own loops: it watches, renews its Lease,
// reports, and keeps its token.
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
	n.holder, n.troubles = v1.LeaseHolder(n.name, joined.Request), &f.troubles
	n.box = outbox.New(reporter{n, &f.renewed}, func(outbox.Sent) error { return nil }, silent)
	f.running.Go(func() { _ = n.client.Watch(life, n.observe) })
	f.running.Go(func() { _ = n.box.Run(life) })
	f.running.Go(func() {
		_ = n.client.Keep(life, kube.Keeping{Store: product.Folder(n.dir), Kubelet: kubeconfig})
	})
	return took, nil
}

// observe reports what the node sees as done at once.
func (n *node) observe(o kube.Observation) {
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
		n.box.Put(v1.Report{Node: n.name, UID: o.Object.UID, Generation: o.Object.Generation, Phase: v1.PhaseDone, Executor: v1.ExecutorDaemon, Version: "fleet",
			Interfaces: configured(o.Object.Spec.Interfaces)})
	}
}

// leaseEvery is the mean time between two renewals of a node's Lease, which the daemon's own loop makes.
const leaseEvery = 2 * time.Minute

// reporter is a node's way to the cluster for that loop, and notes what fails.
type reporter struct {
	*node
	renewed *atomic.Int64
}

func (r reporter) Report(ctx context.Context, data []byte) error {
	err := r.client.PutReport(ctx, data)
	r.failed(err)
	return err
}

func (r reporter) Beat(ctx context.Context) error {
	err := r.client.RenewLease(ctx, r.holder)
	r.failed(err)
	if err == nil {
		r.renewed.Add(1)
	}
	return err
}

// failed notes a failure; nil is none, and neither is the end of the run.
func (n *node) failed(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	n.troubles.Add(n.number, string(kube.ClassOf(err)))
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
