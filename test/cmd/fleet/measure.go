package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/measure"
	"multinicd/test/bed/product"
	"multinicd/test/bed/sandbox"
)

// admin is an administrator's client.
func (f *fleet) admin() (client.WithWatch, error) { return product.Client(f.cluster.Config()) }

// know makes Nodes and objects until there are size of them, and waits until the bridge has given each an identity.
func (f *fleet) know(ctx context.Context, size int) (phase, error) {
	var p phase
	admin, err := f.admin()
	if err != nil {
		return p, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience(10*time.Minute, size), errors.New("the bridge takes too long"))
	defer cancel()
	before := len(f.nodes)
	waiting := map[string]bool{}
	for i := before; i < size; i++ {
		n := &node{number: i, name: nodeName(i), dir: filepath.Join(f.box.Dir, nodeName(i)), news: make(chan struct{}, 1)}
		if err := os.Mkdir(n.dir, 0o700); err != nil {
			return p, err
		}
		f.nodes = append(f.nodes, n)
		waiting[v1.ServiceAccountName(n.name)] = true // its RoleBinding is made last
	}
	watch, err := admin.Watch(ctx, &rbacv1.RoleBindingList{}, client.InNamespace(v1.SystemNamespace))
	if err != nil {
		return p, err
	}
	defer watch.Stop()
	m := f.meter()
	made := make(chan error, 1)
	go func() {
		made <- f.each(f.nodes[before:], func(n *node) error {
			if err := admin.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.name}}); err != nil {
				return err
			}
			return admin.Create(ctx, &v1.MultiNicNodeConfig{
				ObjectMeta: metav1.ObjectMeta{Name: n.name, Namespace: v1.SystemNamespace},
				Spec:       v1.MultiNicNodeConfigSpec{NodeName: n.name, Interfaces: []v1.Interface{{ID: new(int32(1)), MACAddress: "02:00:00:00:01:01"}}},
			})
		})
	}()
	for len(waiting) > 0 {
		select {
		case e, ok := <-watch.ResultChan():
			if !ok {
				return p, errors.New("the watch of RoleBindings ended")
			}
			if o, ok := e.Object.(client.Object); ok {
				delete(waiting, o.GetName())
			}
		case <-ctx.Done():
			return p, context.Cause(ctx)
		}
	}
	if err := <-made; err != nil {
		return p, err
	}
	return m.read(size - before)
}

// join lets nodes join, some at once, and waits until the bridge has cleared up behind them.
func (f *fleet) join(ctx, life context.Context, nodes []*node) (phase, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience(15*time.Minute, len(nodes)), errors.New("joining takes too long"))
	defer cancel()
	admin, err := f.admin()
	if err != nil {
		return phase{}, err
	}
	var mu sync.Mutex
	var took []time.Duration
	m := f.meter()
	err = f.each(nodes, func(n *node) error {
		d, err := n.join(ctx, life, f)
		mu.Lock()
		defer mu.Unlock()
		took = append(took, d)
		return err
	})
	if err != nil {
		return phase{}, err
	}
	f.joined += len(nodes)
	for _, n := range nodes {
		if err := n.seen(ctx, 1); err != nil {
			return phase{}, err
		}
	}
	for {
		var left v1.NodeTokenRequestList
		if err := admin.List(ctx, &left, client.InNamespace(v1.NodesNamespace), client.Limit(1)); err != nil {
			return phase{}, err
		}
		if len(left.Items) == 0 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	p, err := m.read(len(nodes))
	p.took(took)
	return p, err
}

// held measures while nothing happens but what always does.
func (f *fleet) held(ctx context.Context) (holding, error) {
	var h holding
	if err := measure.Rest(ctx, 20*time.Second); err != nil { // the last reports become status
		return h, err
	}
	var err error
	if f.heldFrom, err = f.cluster.AuditSize(); err != nil {
		return h, err
	}
	m := f.meter()
	begin := time.Now()
	if err := measure.Rest(ctx, f.hold); err != nil {
		return h, err
	}
	f.heldAt = [2]time.Time{begin, begin.Add(f.hold)}
	if h.phase, err = m.read(len(f.nodes)); err != nil {
		return h, err
	}
	for pid, to := range map[int]*float64{os.Getpid(): &h.ClientsMiB, f.cluster.APIServer.PID(): &h.APIServerMiB, f.cluster.Etcd.PID(): &h.EtcdMiB} {
		if *to, err = sandbox.Memory(pid, "VmRSS:"); err != nil {
			return h, err
		}
	}
	for _, pid := range f.bridge.PIDs() {
		var m memory
		for what, to := range map[string]*float64{"VmRSS:": &m.Now, "RssAnon:": &m.Own, "VmHWM:": &m.Most} {
			if *to, err = sandbox.Memory(pid, what); err != nil {
				return h, err
			}
		}
		h.Bridges = append(h.Bridges, m)
	}
	err = f.cluster.AuditFrom(f.heldFrom, func(r controlplane.Request) {
		began := r.Verb != "watch" || r.Stage == "ResponseStarted" // a watch is in the log as it ends, too
		if began && !r.Received.Before(begin) && r.Received.Before(begin.Add(f.hold)) {
			h.Requests++
			if strings.HasPrefix(r.User.Username, "system:serviceaccount:"+v1.NodesNamespace+":") {
				h.OfNodes++
			}
		}
	})
	for _, n := range f.nodes {
		n.mu.Lock()
		if n.fail != nil {
			h.Failed++
			f.logf("%s: %v", n.name, n.fail)
		}
		n.mu.Unlock()
	}
	return h, err
}

// change changes objects, one after the other, and measures until the node's watch tells it, from the API server's answer.
func (f *fleet) change(ctx context.Context) (phase, error) {
	admin, err := f.admin()
	if err != nil {
		return phase{}, err
	}
	var took []time.Duration
	m := f.meter()
	for i := range f.changes {
		n := f.nodes[rand.N(len(f.nodes))]
		o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: n.name, Namespace: v1.SystemNamespace}}
		body := fmt.Appendf(nil, `{"spec":{"specHash":"change-%d"}}`, i)
		if err := admin.Patch(ctx, o, client.RawPatch(types.MergePatchType, body)); err != nil {
			return phase{}, err
		}
		answered := time.Now()
		patient, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("it is not told"))
		err := n.seen(patient, o.Generation)
		cancel()
		if err != nil {
			return phase{}, err
		}
		took = append(took, time.Since(answered))
		if err := measure.Rest(ctx, 20*time.Millisecond); err != nil {
			return phase{}, err
		}
	}
	p, err := m.read(f.changes)
	p.took(took)
	return p, err
}

// alike waits until no node has rights of its own in the namespace of all nodes. It has until the shared ones have settled.
func (f *fleet) alike(ctx context.Context) error {
	admin, err := f.admin()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience(5*time.Minute, len(f.nodes)), errors.New("nodes keep rights of their own"))
	defer cancel()
	for {
		var bindings rbacv1.RoleBindingList
		if err := admin.List(ctx, &bindings, client.InNamespace(v1.NodesNamespace)); err != nil {
			return err
		}
		own := false
		for _, b := range bindings.Items {
			own = own || strings.HasPrefix(b.Name, v1.ServiceAccountName("fleet-"))
		}
		if !own {
			return nil
		}
		if err := measure.Rest(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// renewals renews the tokens of some nodes.
func (f *fleet) renewals(ctx context.Context) (phase, error) {
	some := f.nodes[:min(len(f.nodes), 500)]
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(f.cluster.CA)
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	m := f.meter()
	err := f.each(some, func(n *node) error {
		token, err := os.ReadFile(filepath.Join(n.dir, "token"))
		if err != nil {
			return err
		}
		body := fmt.Sprintf(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":3600,"boundObjectRef":{"apiVersion":"v1","kind":"Node","name":%q}}}`, n.name)
		url := f.cluster.URL + "/api/v1/namespaces/" + v1.NodesNamespace + "/serviceaccounts/" + v1.ServiceAccountName(n.name) + "/token"
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		req.Header.Set("Content-Type", "application/json")
		resp, err := h.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			return fmt.Errorf("renewing the token of %s: %s", n.name, resp.Status)
		}
		return nil
	})
	if err != nil {
		return phase{}, err
	}
	return m.read(len(some))
}

// each does something for every node, atOnce at a time, and stops at the first failure.
func (f *fleet) each(nodes []*node, do func(*node) error) error {
	var all sync.WaitGroup
	var next atomic.Int64
	var mu sync.Mutex
	var first error
	for range min(f.atOnce, len(nodes)) {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				mu.Lock()
				failed := first != nil
				mu.Unlock()
				if failed || i >= len(nodes) {
					return
				}
				if err := do(nodes[i]); err != nil {
					mu.Lock()
					first = errors.Join(first, err)
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return first
}

// patience is how long something may take that is done for each of so many nodes, by how long a thousand may take. Fewer get as long.
func patience(thousand time.Duration, nodes int) time.Duration {
	return thousand * time.Duration(max(nodes, 1000)) / 1000
}
