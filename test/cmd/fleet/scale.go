package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/measure"
	"multinicd/test/bed/product"
)

// weight is what one node weighs among many, in bytes.
type weight struct {
	Nodes int `json:"nodes"`
	NICs  int `json:"nics"`
	// In etcd, the values as they are stored.
	Object   float64 `json:"object"`   // with its status
	Report   float64 `json:"report"`   // the ConfigMap
	Lease    float64 `json:"lease"`    //
	Identity float64 `json:"identity"` // ServiceAccounts, Roles and RoleBindings
	Events   float64 `json:"events"`   // which are gone after an hour
	// On the wire: a change of all NICs, until the status says Configured. Renewals of Leases meanwhile are taken off.
	Change traffic `json:"change"`
}

// all is what stays in etcd.
func (w weight) all() float64 { return w.Object + w.Report + w.Lease + w.Identity }

// traffic is bytes of a node's connections to the API server and of the bridge's, with TLS, for one node.
type traffic struct {
	NodeSends   float64 `json:"nodeSends"`
	NodeGets    float64 `json:"nodeGets"`
	BridgeSends float64 `json:"bridgeSends"`
	BridgeGets  float64 `json:"bridgeGets"`
}

func (t traffic) all() float64 { return t.NodeSends + t.NodeGets + t.BridgeSends + t.BridgeGets }

// minus takes n times another off, of what the nodes have.
func (t traffic) minus(n float64, o traffic) traffic {
	return traffic{t.NodeSends - n*o.NodeSends, t.NodeGets - n*o.NodeGets, t.BridgeSends, t.BridgeGets}
}

// joining is what one node has on the wire until it is known and has joined, and with one renewal of its Lease.
type joining struct {
	Nodes   int     `json:"nodes"` // that were new
	Join    traffic `json:"join"`
	Renewal traffic `json:"leaseRenewal"`
}

// wall is how many nodes one MultiNicBizConfig holds, with their statuses.
type wall struct {
	NICs    int    `json:"nics"`
	Fits    int    `json:"nodes"`
	Bytes   int    `json:"bytes"` // of that object, as JSON
	Refused string `json:"refused"`
}

type scale struct {
	measure.Stamp
	Walls   []wall    `json:"walls"`
	Joins   []joining `json:"joins"`
	Weights []weight  `json:"weights"`
}

const (
	scalePage = "scale"
	aTenth    = 10
)

var scaleNICs = []int{1, 5, 64}

// measureScale is a run of its own: bytes, which are the same on a busy machine. It writes its page after each number of nodes.
func (f *fleet) measureScale(ctx, life context.Context) (err error) {
	var res scale
	f.logf("how many nodes one MultiNicBizConfig holds")
	for _, nics := range scaleNICs {
		w, err := f.wall(ctx, nics)
		if err != nil {
			return err
		}
		res.Walls = append(res.Walls, w)
	}
	empty, err := f.cluster.Stored(ctx)
	if err != nil {
		return err
	}
	for size := few; size <= f.size; size *= aTenth {
		f.logf("%d nodes become known and join", size)
		before := f.mark()
		old := len(f.nodes)
		if _, err := f.know(ctx, size); err != nil {
			return err
		}
		if _, err := f.join(ctx, life, f.nodes[old:]); err != nil {
			return err
		}
		j := joining{Nodes: size - old, Join: f.since(before, size-old)}
		before = f.mark()
		if err := f.each(f.nodes[old:], func(n *node) error { return n.client.RenewLease(ctx, n.holder) }); err != nil {
			return err
		}
		j.Renewal = f.since(before, size-old)
		res.Joins = append(res.Joins, j)
		for i, nics := range scaleNICs {
			f.logf("%d nodes get %d NICs", size, nics)
			w, err := f.weigh(ctx, empty, nics, 1400+i, j.Renewal)
			if err != nil {
				return fmt.Errorf("%d nodes with %d NICs: %w", size, nics, err)
			}
			res.Weights = append(res.Weights, w)
		}
		if res.Stamp, err = f.End(); err != nil {
			return err
		}
		if err := errors.Join(f.Write(ctx, res.Stamp, res.page()), f.beyond(ctx, res.Stamp)); err != nil {
			return err
		}
	}
	return nil
}

// mark is a moment of the two ways to the API server.
type mark struct {
	traffic
	renewals int64
}

func (f *fleet) mark() mark {
	return mark{traffic{float64(f.ofNodes.Up.Load()), float64(f.ofNodes.Down.Load()), float64(f.ofBridge.Up.Load()), float64(f.ofBridge.Down.Load())}, f.renewed.Load()}
}

// since gives what each of n nodes has had.
func (f *fleet) since(before mark, n int) traffic {
	now, k := f.mark(), float64(n)
	return traffic{(now.NodeSends - before.NodeSends) / k, (now.NodeGets - before.NodeGets) / k, (now.BridgeSends - before.BridgeSends) / k, (now.BridgeGets - before.BridgeGets) / k}
}

// weigh gives all nodes so many NICs, waits until each is Configured, and looks at etcd and at the ways.
func (f *fleet) weigh(ctx context.Context, empty map[string]controlplane.Stored, nics, mtu int, renewal traffic) (weight, error) {
	w := weight{Nodes: len(f.nodes), NICs: nics}
	ctx, cancel := context.WithTimeoutCause(ctx, patience(15*time.Minute, len(f.nodes)), errors.New("the nodes take too long"))
	defer cancel()
	admin, err := f.admin()
	if err != nil {
		return w, err
	}
	objects := func() (watch.Interface, error) {
		return admin.Watch(ctx, &v1.MultiNicNodeConfigList{}, client.InNamespace(v1.SystemNamespace))
	}
	news, err := objects()
	if err != nil {
		return w, err
	}
	defer func() { news.Stop() }()
	hash := fmt.Sprintf("%06d%06d", len(f.nodes), nics) // of this change alone
	before := f.mark()
	patched := make(chan error, 1)
	go func() {
		patched <- f.each(f.nodes, func(n *node) error {
			spec := v1.MultiNicNodeConfigSpec{NodeName: n.name, ProviderID: "0c497169-a104-4448-afde-f27b79fca904", SpecHash: hash, Interfaces: nicsOf(n.number, nics, mtu)}
			body, err := json.Marshal(map[string]any{"spec": spec})
			if err != nil {
				return err
			}
			return admin.Patch(ctx, &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: n.name, Namespace: v1.SystemNamespace}}, client.RawPatch(types.MergePatchType, body))
		})
	}()
	for done := map[string]bool{}; len(done) < len(f.nodes); {
		select {
		case e, ok := <-news.ResultChan():
			if !ok { // the API server ends a watch that is not read fast enough; a new one begins with all objects
				again, err := objects()
				if err != nil {
					return w, err
				}
				news = again
				continue
			}
			if o, ok := e.Object.(*v1.MultiNicNodeConfig); ok && o.Spec.SpecHash == hash && o.Status.ObservedSpecHash == hash && len(o.Status.InterfaceStatuses) == nics && o.Status.State == v1.StateConfigured {
				done[o.Name] = true
			}
		case err := <-patched:
			if err != nil {
				return w, err
			}
			patched = nil
		case <-ctx.Done():
			return w, context.Cause(ctx)
		}
	}
	w.Change = f.since(before, len(f.nodes)).minus(float64(f.renewed.Load()-before.renewals)/float64(len(f.nodes)), renewal)
	stored, err := f.cluster.Stored(ctx)
	for kind, to := range map[string]*float64{"multinicnodeconfigs": &w.Object, "configmaps": &w.Report, "leases": &w.Lease, "events": &w.Events,
		"serviceaccounts": &w.Identity, "roles": &w.Identity, "rolebindings": &w.Identity} {
		*to += float64(stored[kind].Bytes-empty[kind].Bytes) / float64(len(f.nodes))
	}
	return w, err
}

// wall looks for the largest MultiNicBizConfig that the API server takes.
func (f *fleet) wall(ctx context.Context, nics int) (wall, error) {
	w := wall{NICs: nics}
	admin, err := f.admin()
	if err != nil {
		return w, err
	}
	cfg := f.cluster.Config()
	cfg.Impersonate.UserName, cfg.Impersonate.Groups = "system:serviceaccount:"+v1.SystemNamespace+":"+v1.PublisherLegacy, []string{"system:masters"}
	bridge, err := product.Client(cfg) // who alone may write statuses
	if err != nil {
		return w, err
	}
	try := func(nodes int) (error, error) {
		o := bizConfig(nodes, nics)
		text, err := json.Marshal(o)
		if err != nil {
			return nil, err
		}
		status := o.Status
		refused := admin.Create(ctx, o)
		if refused == nil {
			o.Status = status
			refused = bridge.Status().Update(ctx, o)
			if err := admin.Delete(ctx, o); err != nil {
				return nil, err
			}
		}
		if refused == nil {
			w.Fits, w.Bytes = nodes, len(text)
		} else {
			w.Refused, _, _ = strings.Cut(refused.Error(), "\n")
		}
		return refused, ctx.Err()
	}
	low, high := 0, 1
	for {
		refused, err := try(high)
		if err != nil {
			return w, err
		}
		if refused != nil {
			break
		}
		low, high = high, 2*high
	}
	if low == 0 {
		return w, fmt.Errorf("the API server takes no MultiNicBizConfig at all: %s", w.Refused)
	}
	for high-low > max(1, low/200) {
		middle := (low + high) / 2
		refused, err := try(middle)
		if err != nil {
			return w, err
		}
		if refused != nil {
			high = middle
		} else {
			low = middle
		}
	}
	return w, nil
}

// bizConfig is the older object as the field has it, after all nodes were configured.
func bizConfig(nodes, nics int) *v1.MultiNicBizConfig {
	o := &v1.MultiNicBizConfig{ObjectMeta: metav1.ObjectMeta{Name: "wall", Namespace: v1.SystemNamespace},
		Spec: v1.MultiNicBizConfigSpec{ProviderID: "0c497169-a104-4448-afde-f27b79fca904", SpecHash: "a1b2c3d4e5f6789a"}}
	at := metav1.Date(2025, 1, 21, 10, 32, 15, 0, time.UTC)
	for n := range nodes {
		id := fmt.Sprintf("9a6ee0dd-4c7d-4b7e-9d3e-%012x", n)
		entry := v1.BizNodeConfig{AttachedNodeID: id, AttachedNodeName: nodeName(n)}
		for _, nic := range nicsOf(n, nics, 1400) {
			entry.Interfaces = append(entry.Interfaces, v1.BizInterface{PortID: nic.PortID, MACAddress: nic.MACAddress, Address: nic.Address, CIDR: nic.CIDR, MTU: nic.MTU})
		}
		o.Spec.NodeConfigs = append(o.Spec.NodeConfigs, entry)
		o.Status.NodeStatuses = append(o.Status.NodeStatuses, v1.BizNodeStatus{AttachedNodeID: id, AttachedNodeName: nodeName(n), State: v1.StateConfigured, LastProcessed: &at,
			LastJobName: "multinic-agent-" + nodeName(n) + "-20250121103200"})
	}
	return o
}
