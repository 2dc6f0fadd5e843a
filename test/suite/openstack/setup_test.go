// Package openstack proves the publisher for OpenStack against a real Keystone, a real Neutron and a real API server: the real program, with the rights
// of its manifest and no others, follows ports as they come and go, and believes nothing that it should not.
//
// In go ports, as an administrator makes them, and answers that fail or lie; out come objects, which are read at the API server. Beside the cloud's own
// host one test boots another, whose NIC is the port.
//
// The tests share one control plane with a bridge, and one cloud. Each has a project, networks, Nodes and a publisher of its own.
//
// Start reading at TestRandomSequencesOfChangesAndFaults and the table in lies_test.go.
package openstack

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/test/bed"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/openstack"
	"multinicd/test/bed/product"
	"multinicd/test/bed/sandbox"
)

func TestMain(m *testing.M) {
	bridge.LogLibraries(slog.New(slog.DiscardHandler))
	os.Exit(bed.Main(m, installed.Close))
}

// stage is what a test has of its own.
type stage struct {
	t       *testing.T
	product *installed.Cluster // with a bridge
	cluster *controlplane.Cluster
	kube    client.WithWatch
	box     *sandbox.Sandbox
	cloud   *openstack.Cloud
	way     *openstack.Way
	tenant  *openstack.Tenant
	clouds  string // clouds.yaml
	mgmt    network
	data    network
	made    int
}

// network is one with one subnet.
type network struct{ id, subnet, prefix string }

// rights are installed once for the control plane that all tests share.
var rights struct {
	sync.Once
	err error
}

// newStage makes a project with two networks, and a reader's credential in it.
func newStage(t *testing.T) *stage {
	t.Helper()
	b := bed.New(t)
	return newStageIn(t, b, b.OpenStack())
}

func newStageIn(t *testing.T, b *bed.Bed, cloud *openstack.Cloud) *stage {
	t.Helper()
	s := &stage{t: t, product: installed.NewCluster(t, b), cloud: cloud}
	s.cluster = s.product.Cluster
	rights.Do(func() { rights.err = product.InstallOpenStack(t.Context(), s.cluster) })
	s.must(rights.err)
	var err error
	s.kube, err = product.Client(s.cluster.Config())
	s.must(err)
	s.box, err = sandbox.New(context.WithoutCancel(t.Context()), t.Logf)
	s.must(err)
	t.Cleanup(func() {
		if err := s.box.Close(); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	s.way, err = s.cloud.NewWay(s.box)
	s.must(err)
	s.tenant, err = s.cloud.Tenant(t.Context(), "project-"+rand.Text()[:8], "reader", openstack.Rules())
	s.must(err)
	s.clouds = filepath.Join(s.box.Dir, "clouds.yaml")
	s.writeClouds()
	s.mgmt, s.data = s.network("mgmt", "192.0.2", 1500), s.network("data", "10.20.0", 1450)
	return s
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) writeClouds() {
	s.t.Helper()
	s.must(os.WriteFile(s.clouds, []byte(s.way.CloudsYAML(s.tenant)), 0o600))
}

// network makes a network of the project, with a subnet /24.
func (s *stage) network(name, prefix string, mtu int) network {
	s.t.Helper()
	n := s.networkOf(name, prefix+".0/24", mtu)
	n.prefix = prefix
	return n
}

// networkOf makes a network of the project, with a subnet.
func (s *stage) networkOf(name, cidr string, mtu int) network {
	s.t.Helper()
	id, err := s.cloud.Make(s.t.Context(), "network", openstack.Thing{"name": name, "project_id": s.tenant.Project, "mtu": mtu})
	s.must(err)
	subnet, err := s.cloud.Make(s.t.Context(), "subnet", openstack.Thing{"network_id": id, "project_id": s.tenant.Project, "ip_version": 4, "cidr": cidr, "enable_dhcp": false})
	s.must(err)
	return network{id: id, subnet: subnet}
}

// instance is a server that is a Node.
type instance struct {
	s        *stage
	name, id string
	primary  string    // port
	newest   time.Time // when the last port was made, see port
}

// instance makes a primary port, and a Node with its address.
func (s *stage) instance(name string) *instance {
	s.t.Helper()
	i := &instance{s: s, name: name, id: uuid()}
	s.made++
	address := fmt.Sprintf("%s.%d", s.mgmt.prefix, 10+s.made)
	i.primary = s.portOn(i, s.mgmt, address, nil)
	s.node(name, i.id, address)
	return i
}

// node makes a Node that is an instance, in the region of the test: the publishers of other tests leave it alone.
func (s *stage) node(name, instance, address string) {
	s.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{ProviderID: s.providerID(instance)}}
	s.must(s.kube.Create(s.t.Context(), n))
	s.t.Cleanup(func() {
		if err := client.IgnoreNotFound(s.kube.Delete(context.WithoutCancel(s.t.Context()), n)); err != nil {
			s.t.Error(err)
		}
	})
	s.at(n, address)
}

func (s *stage) providerID(instance string) string {
	return "openstack://" + s.way.Region + "/" + instance
}

// at gives a Node its address, by a patch: the controllers of the control plane change Nodes, too.
func (s *stage) at(n *corev1.Node, address string) {
	s.t.Helper()
	patch := fmt.Appendf(nil, `{"status":{"addresses":[{"type":"InternalIP","address":%q}]}}`, address)
	s.must(s.kube.Status().Patch(s.t.Context(), n, client.RawPatch(types.MergePatchType, patch)))
}

func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// gone deletes the instance's Node, its object and its ports.
func (i *instance) gone() {
	i.s.t.Helper()
	ctx := i.s.t.Context()
	i.s.must(i.s.kube.Delete(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: i.name}}))
	i.s.must(client.IgnoreNotFound(i.s.kube.Delete(ctx, &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: i.name, Namespace: v1.SystemNamespace}})))
	for _, p := range i.ports("") {
		i.s.remove(p.ID)
	}
}

// portOn makes a port of the project, attached to an instance, and returns its id. Without an address Neutron gives one.
func (s *stage) portOn(i *instance, n network, address string, more openstack.Thing) string {
	s.t.Helper()
	fields := openstack.Thing{"network_id": n.id, "project_id": s.tenant.Project, "device_id": i.id, "device_owner": "compute:nova", "fixed_ips": []any{openstack.Thing{"subnet_id": n.subnet, "ip_address": address}}}
	if address == "" {
		delete(fields, "fixed_ips")
	}
	for k, v := range more {
		fields[k] = v
	}
	id, err := s.cloud.Make(s.t.Context(), "port", fields)
	s.must(err)
	return id
}

// port attaches a port of the network data, the youngest of the instance; n is the last byte of its address.
func (i *instance) port(n int) string {
	i.s.t.Helper()
	time.Sleep(time.Until(i.newest.Truncate(time.Second).Add(time.Second))) // Neutron says in whole seconds when a port was made: of two in one, none is the elder
	defer func() { i.newest = time.Now() }()
	return i.s.portOn(i, i.s.data, fmt.Sprintf("%s.%d", i.s.data.prefix, n), nil)
}

// set changes a thing of Neutron ("port", "network", "subnet").
func (s *stage) set(kind, id string, fields openstack.Thing) {
	s.t.Helper()
	_, err := s.cloud.Do(s.t.Context(), http.MethodPut, "/v2.0/"+kind+"s/"+id, openstack.Thing{kind: fields})
	s.must(err)
}

func (s *stage) detach(port string) {
	s.t.Helper()
	s.set("port", port, openstack.Thing{"device_id": "", "device_owner": ""})
}

func (s *stage) attach(port string, i *instance) {
	s.t.Helper()
	s.set("port", port, openstack.Thing{"device_id": i.id, "device_owner": "compute:nova"})
}

func (s *stage) remove(port string) {
	s.t.Helper()
	_, err := s.cloud.Do(s.t.Context(), http.MethodDelete, "/v2.0/ports/"+port, nil)
	s.must(err)
}

// flags are those of all commands in these tests.
func (s *stage) flags(more ...string) []string {
	return append([]string{"--clouds-file", s.clouds, "--cloud", s.tenant.Name, "--network", s.data.id}, more...)
}

// publish runs the publisher until the test ends. It walks every three seconds, give or take a fifth: more often, those of a few tests keep Neutron,
// which is one process, so busy that a walk takes longer than that.
func (s *stage) publish(more ...string) *product.OpenStack {
	s.t.Helper()
	b, err := product.StartOpenStack(s.t.Context(), s.box, s.cluster, bed.Build(s.t, "./cmd/bridge"), s.flags(append([]string{"--interval", "3s", "--removal-age", "2s"}, more...)...)...)
	s.must(err)
	s.t.Cleanup(func() {
		b.Stop()
		if s.t.Failed() {
			log := b.Log()
			s.t.Logf("the publisher said, at the end:\n%s", log[max(0, len(log)-6000):])
		}
	})
	return b
}

// object reads one; nil if there is none.
func (s *stage) object(name string) *v1.MultiNicNodeConfig {
	s.t.Helper()
	o := &v1.MultiNicNodeConfig{}
	err := s.kube.Get(s.t.Context(), client.ObjectKey{Namespace: v1.SystemNamespace, Name: name}, o)
	if apierrors.IsNotFound(err) {
		return nil
	}
	s.must(err)
	return o
}

// nics are those of an object by id and address: 0=10.20.0.1/24.
func (s *stage) nics(name string) string {
	s.t.Helper()
	o := s.object(name)
	if o == nil {
		return "no object"
	}
	normals, _ := o.Validate()
	var out []string
	for _, n := range normals {
		words := make([]string, len(n.Addresses))
		for i, a := range n.Addresses {
			words[i] = a.String()
		}
		out = append(out, fmt.Sprintf("%d=%s", n.ID, strings.Join(words, "+")))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// becomes waits until the NICs of a node are these.
func (s *stage) becomes(name, want string) {
	s.t.Helper()
	bed.Eventually(s.t, "the NICs of "+name, want, func() string { return s.nics(name) })
}
