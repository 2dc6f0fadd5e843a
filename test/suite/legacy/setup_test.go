// Package legacy proves the publisher of the older object, MultiNicBizConfig, against a real API server: the real program, with the rights of its manifest
// and no others, beside other publishers.
//
// In go older objects, Nodes, and what other publishers write; out come objects of nodes and the older object's status. No host is booted, and the test
// says as the bridge how nodes are.
//
// The tests share one control plane, and each has it alone: a publisher sees every older object.
//
// Start reading at TestTheOlderObjectBecomesAnObjectForEachNode.
package legacy

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/test/bed"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/product"
	"multinicd/test/bed/sandbox"
)

func TestMain(m *testing.M) {
	bridge.LogLibraries(slog.New(slog.DiscardHandler))
	os.Exit(bed.Main(m))
}

type cluster struct {
	*controlplane.Cluster
	t      *testing.T
	admin  client.WithWatch
	bridge client.Client // who may write the status of nodes
}

// installed: the first test that gets the shared control plane fills it.
var installed struct {
	sync.Once
	err error
}

// newCluster gives a cluster without Nodes and objects, but with so many Nodes, worker-1 (i-1) and so on.
func newCluster(t *testing.T, nodes int) *cluster {
	t.Helper()
	c := &cluster{Cluster: bed.New(t).Cluster(), t: t}
	installed.Do(func() { installed.err = install(t.Context(), c.Cluster) })
	if installed.err != nil {
		t.Fatal(installed.err)
	}
	var err error
	if c.admin, err = product.Client(c.Config()); err != nil {
		t.Fatal(err)
	}
	as := c.Config()
	as.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:multinic-system:" + v1.BridgeAccount}
	if c.bridge, err = product.Client(as); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []client.Object{&corev1.Node{}, &v1.MultiNicNodeConfig{}, &v1.MultiNicBizConfig{}, &coordinationv1.Lease{}} {
		where := []client.DeleteAllOfOption{}
		if _, is := kind.(*corev1.Node); !is {
			where = append(where, client.InNamespace(v1.SystemNamespace))
		}
		c.must(c.admin.DeleteAllOf(t.Context(), kind, where...))
	}
	for i := range nodes {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("worker-%d", i+1)}, Spec: corev1.NodeSpec{ProviderID: fmt.Sprintf("openstack:///i-%d", i+1)}}
		c.must(c.admin.Create(t.Context(), n))
	}
	return c
}

func install(ctx context.Context, c *controlplane.Cluster) error {
	if err := product.Install(ctx, c); err != nil {
		return err
	}
	return product.InstallLegacy(ctx, c)
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// publisher runs the publisher of the older object until the test ends, or until it is stopped.
func (c *cluster) publisher(flags ...string) *product.Legacy {
	c.t.Helper()
	box, err := sandbox.New(context.WithoutCancel(c.t.Context()), c.t.Logf)
	c.must(err)
	p, err := product.StartLegacy(c.t.Context(), box, c.Cluster, bed.Build(c.t, "./cmd/bridge"), append([]string{"--status-interval", "100ms"}, flags...)...)
	c.must(err)
	c.t.Cleanup(func() {
		p.Stop()
		if c.t.Failed() {
			log := p.Log()
			c.t.Logf("the publisher said, at the end:\n%s", log[max(0, len(log)-4000):])
		}
		if err := box.Close(); err != nil {
			c.t.Errorf("cleaning up: %v", err)
		}
	})
	return p
}

// nic is a NIC of an entry. n is in its port, its MAC and its address.
func nic(n int) v1.BizInterface {
	address := fmt.Sprintf("10.%d.%d.10", n>>8, n&0xff)
	return v1.BizInterface{PortID: fmt.Sprintf("port-%d", n), MACAddress: fmt.Sprintf("02:00:00:01:%02x:%02x", n>>8, n&0xff), Address: address, CIDR: address + "/24", MTU: new(int32(1450))}
}

func entry(node int, nics ...int) v1.BizNodeConfig {
	e := v1.BizNodeConfig{AttachedNodeID: fmt.Sprintf("i-%d", node), AttachedNodeName: fmt.Sprintf("worker-%d", node)}
	for _, n := range nics {
		e.Interfaces = append(e.Interfaces, nic(n))
	}
	return e
}

// write makes the older object, or changes its entries.
func (c *cluster) write(entries ...v1.BizNodeConfig) {
	c.t.Helper()
	for {
		o := &v1.MultiNicBizConfig{ObjectMeta: metav1.ObjectMeta{Name: "production", Namespace: v1.SystemNamespace}}
		err := c.admin.Get(c.t.Context(), client.ObjectKeyFromObject(o), o)
		o.Spec = v1.MultiNicBizConfigSpec{ProviderID: "provider-a", SpecHash: fmt.Sprint("hash-", o.Generation), NodeConfigs: entries}
		switch {
		case apierrors.IsNotFound(err):
			err = c.admin.Create(c.t.Context(), o)
		case err == nil:
			err = c.admin.Update(c.t.Context(), o)
		}
		if !apierrors.IsConflict(err) { // with a status that was just written
			c.must(err)
			return
		}
	}
}

// older reads the older object.
func (c *cluster) older() *v1.MultiNicBizConfig {
	c.t.Helper()
	o := &v1.MultiNicBizConfig{}
	c.must(c.admin.Get(c.t.Context(), client.ObjectKey{Namespace: v1.SystemNamespace, Name: "production"}, o))
	return o
}

// says waits until the older object's status is of its present spec, and as wanted: "Applied Ready 2/3; worker-3 Pending NodeUnknown". Conditions that are
// True, configured nodes of all, and the nodes that are not Configured or have a reason.
func (c *cluster) says(want string) {
	c.t.Helper()
	bed.Eventually(c.t, "the older object's status", want, func() string {
		o := c.older()
		if o.Status.ObservedGeneration != o.Generation || o.Status.ObservedSpecHash != o.Spec.SpecHash {
			return fmt.Sprintf("of generation %d, not %d", o.Status.ObservedGeneration, o.Generation)
		}
		var conditions, words []string
		for _, kind := range []string{"Applied", "InProgress", "Ready", "Unguarded"} {
			if meta.IsStatusConditionTrue(o.Status.Conditions, kind) {
				conditions = append(conditions, kind)
			}
		}
		words = append(words, strings.Join(append(conditions, fmt.Sprintf("%d/%d", o.Status.Summary.ConfiguredNodes, o.Status.Summary.TotalNodes)), " "))
		for _, n := range o.Status.NodeStatuses {
			if n.State != v1.StateConfigured || n.Reason != "" {
				words = append(words, strings.TrimSpace(fmt.Sprintf("%s %s %s", n.AttachedNodeName, n.State, n.Reason)))
			}
		}
		return strings.Join(words, "; ")
	})
}

// objects are those of all nodes in brief, sorted: "worker-1 multinic-legacy g1 multinic0=0101".
func (c *cluster) objects() string {
	c.t.Helper()
	var list v1.MultiNicNodeConfigList
	c.must(c.admin.List(c.t.Context(), &list, client.InNamespace(v1.SystemNamespace)))
	var out []string
	for i := range list.Items {
		o := &list.Items[i]
		words := []string{o.Name, o.Labels[v1.PublisherLabel], fmt.Sprintf("g%d", o.Generation)}
		normals, _ := o.Validate()
		for _, n := range normals {
			words = append(words, n.Name+"="+strings.ReplaceAll(n.MACAddress[len(n.MACAddress)-5:], ":", ""))
		}
		out = append(out, strings.Join(words, " "))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// are waits until the objects are as wanted.
func (c *cluster) are(want ...string) {
	c.t.Helper()
	bed.Eventually(c.t, "the objects", strings.Join(want, "\n"), c.objects)
}

// object reads that of a node.
func (c *cluster) object(node int) *v1.MultiNicNodeConfig {
	c.t.Helper()
	o := &v1.MultiNicNodeConfig{}
	c.must(c.admin.Get(c.t.Context(), client.ObjectKey{Namespace: v1.SystemNamespace, Name: fmt.Sprintf("worker-%d", node)}, o))
	return o
}

// done says as the bridge that nodes have configured the objects as they are now.
func (c *cluster) done(nodes ...int) {
	c.t.Helper()
	for _, n := range nodes {
		c.state(n, v1.StateConfigured, metav1.ConditionTrue, "AllInterfacesConfigured")
	}
}

func (c *cluster) state(node int, state v1.State, ready metav1.ConditionStatus, reason string) {
	c.t.Helper()
	o := c.object(node)
	before := o.DeepCopy()
	o.Status.ObservedGeneration, o.Status.State = o.Generation, state
	meta.SetStatusCondition(&o.Status.Conditions, metav1.Condition{Type: v1.ConditionReady, Status: ready, Reason: reason, Message: "said by the test", ObservedGeneration: o.Generation})
	c.must(c.bridge.Status().Patch(c.t.Context(), o, client.MergeFrom(before)))
}
