package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/artifact"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/product"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
)

const (
	node = "worker-node-01"
	// The NIC that is changed, as the example names it; the example's other NIC is a bystander.
	nicMAC  = "02:00:00:00:01:01"
	nicName = "multinic1"
)

// stand is all that runs.
type stand struct {
	logf func(string, ...any)
	root string // of the repository

	box      *sandbox.Sandbox
	cluster  *controlplane.Cluster
	bridge   product.Bridge
	host     *testhost.Host
	client   client.WithWatch
	binaries map[string]string // of multinicd and bridge
	sizes    map[string]int64  // theirs, in bytes
}

func (s *stand) close() error {
	if s.box == nil {
		return nil
	}
	return s.box.Close()
}

func (s *stand) start(ctx context.Context) (err error) {
	if s.box, err = sandbox.New(ctx, s.logf); err != nil {
		return err
	}
	s.binaries, s.sizes = map[string]string{}, map[string]int64{}
	for _, name := range []string{"multinicd", "bridge"} {
		if s.binaries[name], err = artifact.BuildCommand(ctx, s.logf, "./cmd/"+name); err != nil {
			return err
		}
		info, err := os.Stat(s.binaries[name])
		if err != nil {
			return fmt.Errorf("measuring %s: %w", name, err)
		}
		s.sizes[name] = info.Size()
	}
	s.cluster, err = controlplane.Start(ctx, s.box, controlplane.Options{Logf: s.logf, Addresses: []net.IP{testhost.Gateway.AsSlice()}})
	if err != nil {
		return err
	}
	if err := product.Install(ctx, s.cluster); err != nil {
		return err
	}
	if s.bridge, err = product.StartBridge(ctx, s.box, s.cluster, s.binaries["bridge"]); err != nil {
		return err
	}
	if s.client, err = product.Client(s.cluster.Config()); err != nil {
		return err
	}
	if err := s.startHost(ctx); err != nil {
		return err
	}
	return s.createObject(ctx)
}

func (s *stand) startHost(ctx context.Context) error {
	world, err := testhost.NewWorld(s.box, s.logf)
	if err != nil {
		return err
	}
	api, err := world.ServeAPI(s.cluster.Address)
	if err != nil {
		return err
	}
	s.host, err = world.NewHost(ctx, testhost.Options{Name: node, NICs: []testhost.NIC{
		{MAC: nicMAC, Segment: "data1"}, {MAC: "02:00:00:00:01:02", Segment: "data2"}}})
	if err != nil {
		return err
	}
	if err := s.host.Boot(ctx); err != nil {
		return err
	}
	if err := product.Join(ctx, s.cluster, s.host, node, api.URL()); err != nil {
		return err
	}
	if err := s.host.InstallDaemon(ctx, s.binaries["multinicd"], filepath.Join(s.root, "systemd/multinicd.service"), settings("off")); err != nil {
		return err
	}
	if _, err := s.host.Shell(ctx, testhost.Bystanders); err != nil {
		return err
	}
	return s.host.StartDaemon(ctx)
}

func settings(dad string) string {
	return fmt.Sprintf("# The NICs of this host are veths: only a test machine takes them for real ones.\n[links]\nvirtual_kinds = [\"veth\"]\n[backend]\ndad = %q\n", dad)
}

// createObject creates the example, and waits until it is Configured.
func (s *stand) createObject(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(s.root, "examples/worker-node-01.yaml"))
	if err != nil {
		return fmt.Errorf("reading the example: %w", err)
	}
	var object v1.MultiNicNodeConfig
	if err := yaml.Unmarshal(text, &object); err != nil {
		return fmt.Errorf("reading the example: %w", err)
	}
	object.Spec.Interfaces = object.Spec.Interfaces[:2]
	if err := s.client.Create(ctx, &object); err != nil {
		return fmt.Errorf("creating the object: %w", err)
	}
	return s.settled(ctx)
}

// settled waits until the object is Configured as it is now.
func (s *stand) settled(ctx context.Context) error {
	out, err := s.cluster.Kubectl(ctx, "wait", "--for=condition=Ready", "--timeout=60s", "-n", v1.SystemNamespace, "mnnc/"+node)
	if err != nil {
		return fmt.Errorf("waiting for the object to be Ready: %w\n%s\n%s\n%s", err, out, s.host.Journal(ctx), s.bridge.Log())
	}
	return nil
}

func (s *stand) object() *v1.MultiNicNodeConfig {
	return &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: node, Namespace: v1.SystemNamespace}}
}
