package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/kube"
	"multinicd/test/bed/product"
)

// node is a node of the fleet: the product's client, as multinicd runs it.
type node struct {
	name   string
	dir    string // of its credential
	client *kube.Client

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
	if err := f.cluster.WriteKubeconfig(kubeconfig, "", "system:node:"+n.name, "system:nodes"); err != nil {
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
	if err := n.client.RenewLease(ctx, v1.LeaseHolder(n.name, joined.Request)); err != nil {
		return 0, err
	}
	f.running.Go(func() { _ = n.client.Watch(life, func(o kube.Observation) { n.observe(life, o) }) })
	f.running.Go(func() { n.renew(life, v1.LeaseHolder(n.name, joined.Request)) })
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
			Interfaces: []v1.InterfaceStatus{{ID: 1, Name: "multinic1", MACAddress: "02:00:00:00:01:01", Status: v1.StateConfigured, Reason: v1.ReasonConfigured}}}
		text, err := report.Encode()
		if err == nil {
			err = n.client.PutReport(ctx, text)
		}
		n.failed(err)
	}
}

// renew renews the Lease every 2 min, give or take a fifth.
func (n *node) renew(ctx context.Context, holder string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration((0.8 + 0.4*rand.Float64()) * float64(2*time.Minute))):
			n.failed(n.client.RenewLease(ctx, holder))
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
