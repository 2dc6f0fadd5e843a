// Package bridge proves the API and the bridge against a real API server: what
// it refuses and accepts, and that status says what the nodes report.
//
// In go the CRDs, the manifests of deploy/, the tables of api/v1/testdata and
// reports written by hand; nothing comes out. No host is booted: a node here is
// an identity with the rights that the bridge gives a node. The admission
// policies are left out, so that the bridge sees the worst that they keep away.
//
// The tests share one control plane and run one after the other: each starts a
// bridge of its own, which sees the objects of all of them.
//
// Start reading at TestStatusFollowsTheReports.
package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/test/bed"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/product"
)

func TestMain(m *testing.M) {
	bed.InEachPart("TestStatusFollowsTheReports", "TestTwoNodesDoNotTouch")
	bridge.LogLibraries(slog.New(slog.DiscardHandler))
	os.Exit(bed.Main(m))
}

// cluster is the shared control plane with what the bridge needs in it.
type cluster struct {
	*controlplane.Cluster
	t     *testing.T
	admin client.Client
	marks int // see requestsSoFar
}

// filled: the first test that gets the shared control plane fills it.
var filled sync.Once

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{Cluster: bed.New(t).Cluster(), t: t}
	filled.Do(c.install)
	c.admin = c.as("")
	return c
}

// install puts CRDs, namespaces and the bridge's rights in place.
func (c *cluster) install() {
	c.t.Helper()
	for _, file := range []string{"deploy/crds.yaml", "deploy/bridge.yaml"} {
		if _, err := c.Kubectl(c.t.Context(), "apply", "--server-side", "--force-conflicts", "-f", bed.Path(c.t, file)); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := c.Served(c.t.Context(), "multinicnodeconfigs.multinic.io", "multinicbizconfigs.multinic.io", "multinicnoderuns.multinic.io"); err != nil {
		c.t.Fatal(err)
	}
}

// as is a client of a user; "" is the administrator.
func (c *cluster) as(user string) client.Client {
	c.t.Helper()
	return newClient(c.t, c.config(user))
}

func (c *cluster) config(user string) *rest.Config {
	cfg := c.Config()
	cfg.Impersonate = rest.ImpersonationConfig{UserName: user}
	return cfg
}

// asBridge is the way to the API server of one of the bridge's ServiceAccounts.
func (c *cluster) asBridge(account string) *rest.Config {
	cfg := c.config("system:serviceaccount:" + v1.SystemNamespace + ":" + account)
	cfg.UserAgent = bridgeAgent
	return cfg
}

func newClient(t *testing.T, cfg *rest.Config) client.Client {
	t.Helper()
	cl, err := product.Client(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// bridgeAgent is the user agent of the bridges of these tests.
const bridgeAgent = "multinic-bridge/test"

// startBridge runs a bridge with the rights of deploy/bridge.yaml and none
// beyond, until the test ends or stop is called.
func (c *cluster) startBridge(silentAfter time.Duration) (stop func()) {
	c.t.Helper()
	return c.startBridgeWith(bridge.Options{SilentAfter: silentAfter})
}

func (c *cluster) startBridgeWith(o bridge.Options) (stop func()) {
	c.t.Helper()
	o.Log = slog.New(slog.NewTextHandler(c.t.Output(), nil))
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.t.Context()))
	done := make(chan error, 1)
	go func() {
		done <- product.RunBridge(ctx, c.asBridge, o)
	}()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("the bridge ended: %v", err)
		}
	}
	c.t.Cleanup(stop)
	return stop
}

// node is a node's identity and the object of its name.
type node struct {
	c      *cluster
	name   string
	client client.Client
}

// node gives an identity its rights. At the end it removes the object and what a bridge made: the next bridge would look after an identity that it finds.
func (c *cluster) node(name string) *node {
	c.t.Helper()
	if _, err := c.Apply(c.t.Context(), product.Rights(name)); err != nil {
		c.t.Fatal(err)
	}
	n := &node{c: c, name: name, client: c.as("system:serviceaccount:" + v1.NodesNamespace + ":" + v1.ServiceAccountName(name))}
	c.t.Cleanup(func() {
		called := func(namespace, name string) metav1.ObjectMeta {
			return metav1.ObjectMeta{Namespace: namespace, Name: name}
		}
		account, door := called(v1.NodesNamespace, v1.ServiceAccountName(name)), called(v1.NodesNamespace, v1.JoinAccountName(name))
		made := []client.Object{n.shell(), &corev1.ConfigMap{ObjectMeta: called(v1.NodesNamespace, v1.ReportName(name))},
			&coordinationv1.Lease{ObjectMeta: called(v1.NodesNamespace, v1.LeaseName(name))},
			&corev1.ServiceAccount{ObjectMeta: account}, &corev1.ServiceAccount{ObjectMeta: door}}
		for _, right := range []metav1.ObjectMeta{account, door, called(v1.SystemNamespace, account.Name)} {
			made = append(made, &rbacv1.RoleBinding{ObjectMeta: right}, &rbacv1.Role{ObjectMeta: right})
		}
		for _, o := range made {
			if err := client.IgnoreNotFound(c.admin.Delete(context.WithoutCancel(c.t.Context()), o)); err != nil {
				c.t.Error(err)
			}
		}
	})
	return n
}

// shell is the node's object with nothing in it but its name.
func (n *node) shell() *v1.MultiNicNodeConfig {
	return &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: n.name, Namespace: v1.SystemNamespace}}
}

// publish creates the node's object with two NICs.
func (n *node) publish() *v1.MultiNicNodeConfig {
	n.c.t.Helper()
	o := n.shell()
	o.Spec = v1.MultiNicNodeConfigSpec{
		NodeName: n.name, SpecHash: "one",
		Interfaces: []v1.Interface{
			{ID: new(int32(1)), MACAddress: "02:00:00:00:01:01", Address: "192.168.100.10", CIDR: "192.168.100.10/24"},
			{ID: new(int32(2)), MACAddress: "02:00:00:00:01:02", Address: "192.168.200.10", CIDR: "192.168.200.10/24"},
		},
	}
	if err := n.c.admin.Create(n.c.t.Context(), o); err != nil {
		n.c.t.Fatal(err)
	}
	return o
}

// change makes a new generation.
func (n *node) change(hash string) *v1.MultiNicNodeConfig {
	n.c.t.Helper()
	o := n.shell()
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"specHash":%q}}`, hash))
	if err := n.c.admin.Patch(n.c.t.Context(), o, patch); err != nil {
		n.c.t.Fatal(err)
	}
	return o
}

// report is what a daemon would write of the object; both NICs in a state.
func (n *node) report(o *v1.MultiNicNodeConfig, s v1.State, reason string) v1.Report {
	r := v1.Report{
		Node: n.name, UID: o.UID, Generation: o.Generation, SpecHash: o.Spec.SpecHash,
		Executor: v1.ExecutorDaemon, Version: "test", Phase: v1.PhaseDone,
	}
	for id := range int32(2) {
		r.Interfaces = append(r.Interfaces, v1.InterfaceStatus{
			ID: id + 1, Name: fmt.Sprintf("multinic%d", id+1), MACAddress: fmt.Sprintf("02:00:00:00:01:0%d", id+1),
			Status: s, Reason: reason,
		})
	}
	return r
}

// say writes a report as the node does, with one request.
func (n *node) say(r v1.Report) {
	n.c.t.Helper()
	data, err := r.Encode()
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.sayText(string(data))
}

func (n *node) sayText(text string) {
	n.c.t.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: v1.ReportName(n.name), Namespace: v1.NodesNamespace}}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"data":{%q:%s}}`, v1.ReportKey, quote(text)))
	var err error
	n.c.eventually("the report can be written", func() string {
		// The bridge makes it; the first one waits for that.
		if err = n.client.Patch(n.c.t.Context(), cm, patch); err != nil {
			return err.Error()
		}
		return ""
	})
}

// status reads the object's.
func (n *node) status() v1.MultiNicNodeConfigStatus {
	n.c.t.Helper()
	o := n.shell()
	if err := n.c.admin.Get(n.c.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		n.c.t.Fatal(err)
	}
	return o.Status
}

// brief is a status in a word: state, Ready and its reason, generation.
func brief(s v1.MultiNicNodeConfigStatus) string {
	ready := "no Ready"
	for _, c := range s.Conditions {
		if c.Type == v1.ConditionReady {
			ready = fmt.Sprintf("Ready=%s %s", c.Status, c.Reason)
		}
	}
	return fmt.Sprintf("%s %s %s generation %d", s.State, ready, s.ReadyInterfaces, s.ObservedGeneration)
}

// becomes waits for a status, told as brief tells it.
func (n *node) becomes(want string) {
	n.c.t.Helper()
	n.c.eventually("the status of "+n.name+" is "+want, func() string {
		if got := brief(n.status()); got != want {
			return "it is " + got
		}
		return ""
	})
}

// eventually asks again until what says nothing is missing.
func (c *cluster) eventually(want string, missing func() string) {
	c.t.Helper()
	bed.Eventually(c.t, want, "", missing)
}
