// Command demo shows the main job from nothing: a real control plane, a bridge, a real host with two extra NICs, which joins; the example object is
// created, the NICs come up, the host is rebooted, and they come up again.
//
// It needs root and what `go run ./test/cmd/setup demo` makes. With KEEP=1 in the environment it leaves all of it running until Ctrl-C, and says
// how to look around. Ctrl-C ends it at any moment, which is no failure. With the argument openstack there is a cloud beside it: a port is made for the node, the NIC comes up, the port is deleted, and
// the NIC is given back. It exits with 1 if anything is not as it should be.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"multinicd/test/bed/artifact"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/openstack"
	"multinicd/test/bed/product"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
)

const (
	node = "worker-node-01"
	toml = "# The NICs of this host are veths: only a test machine takes them for real ones.\nlinks.virtual_kinds = [\"veth\"]\n"
)

func main() {
	d := &demo{begin: time.Now()}
	os.Exit(calmly(d.run, d.close))
}

type demo struct {
	begin   time.Time
	root    string
	box     *sandbox.Sandbox
	cluster *controlplane.Cluster
	bridge  product.Bridge
	world   *testhost.World
	host    *testhost.Host
	// with the argument openstack
	cloud   *openstack.Cloud
	project string // in it
}

func (d *demo) logf(format string, args ...any) {
	fmt.Printf("demo %5.1f s: %s\n", time.Since(d.begin).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) close() error {
	if d.box == nil {
		return nil
	}
	return d.box.Close()
}

func (d *demo) run(ctx context.Context) error {
	nics := []testhost.NIC{{MAC: "02:00:00:00:01:01", Segment: "data1"}, {MAC: "02:00:00:00:01:02", Segment: "data2"}}
	steps := []func(context.Context) error{d.startCluster, d.startHost(nics), d.configure, d.reboot}
	if len(os.Args) > 1 && os.Args[1] == "openstack" {
		steps = []func(context.Context) error{d.startCluster, d.startHost(nil), d.startOpenStack, d.attach, d.detach}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if os.Getenv("KEEP") == "" {
		fmt.Println("\nThat was all; with KEEP=1 it is left running.")
		return nil
	}
	d.lookAround()
	<-ctx.Done()
	return nil
}

func (d *demo) startCluster(ctx context.Context) (err error) {
	if d.root, err = artifact.RepositoryRoot(); err != nil {
		return err
	}
	if d.box, err = sandbox.New(ctx, d.logf); err != nil {
		return err
	}
	d.logf("starting etcd and kube-apiserver")
	d.cluster, err = controlplane.Start(ctx, d.box, controlplane.Options{
		Logf:      d.logf,
		Addresses: []net.IP{testhost.Gateway.AsSlice()},
		// Nothing here runs Pods, and who tries the product for the first time waits for all that is built.
		WithoutControllers: true,
	})
	if err != nil {
		return err
	}
	d.logf("installing the CRDs and the bridge's manifest, and running the bridge")
	if err := product.Install(ctx, d.cluster); err != nil {
		return err
	}
	d.bridge, err = product.StartBridge(ctx, d.box, d.cluster, filepath.Join(d.root, "bin/multinic-bridge"))
	return err
}

func (d *demo) startHost(nics []testhost.NIC) func(context.Context) error {
	return func(ctx context.Context) error { return d.bootHost(ctx, nics) }
}

func (d *demo) bootHost(ctx context.Context, nics []testhost.NIC) (err error) {
	if d.world, err = testhost.NewWorld(d.box, d.logf); err != nil {
		return err
	}
	api, err := d.world.ServeAPI(d.cluster.Address)
	if err != nil {
		return err
	}
	d.logf("booting the host %s with %d NICs that nobody has configured", node, len(nics))
	d.host, err = d.world.NewHost(ctx, testhost.Options{Name: node, NICs: nics})
	if err != nil {
		return err
	}
	if err := d.host.Boot(ctx); err != nil {
		return err
	}
	if err := d.host.InstallDaemon(ctx, filepath.Join(d.root, "bin/multinicd"), filepath.Join(d.root, "systemd/multinicd.service"), toml); err != nil {
		return err
	}
	if err := d.show(ctx, "ip", "-br", "address"); err != nil {
		return err
	}
	if err := d.join(ctx, api.URL()); err != nil {
		return err
	}
	return d.host.StartDaemon(ctx)
}

// join gives the host the credential of its node, as an administrator would who has no kubelet there: a join token, carried over in a file.
func (d *demo) join(ctx context.Context, server string) error {
	if err := product.Expect(ctx, d.cluster, node); err != nil {
		return err
	}
	args := []string{"token", "create", "--node", node, "--server", server, "--output-file", "join"}
	fmt.Printf("\n$ multinic-bridge %s\n", strings.Join(args, " "))
	create := exec.CommandContext(ctx, filepath.Join(d.root, "bin/multinic-bridge"), args...)
	create.Dir, create.Env = d.box.Dir, append(os.Environ(), "KUBECONFIG="+d.cluster.Kubeconfig)
	said, err := create.CombinedOutput()
	fmt.Print(string(said))
	if err != nil {
		return fmt.Errorf("making a join token: %w", err)
	}
	file, err := os.ReadFile(filepath.Join(d.box.Dir, "join"))
	if err != nil {
		return fmt.Errorf("reading the join file: %w", err)
	}
	if err := d.host.WriteFile("/root/join", file, 0o600); err != nil {
		return err
	}
	_, line, found := strings.Cut(string(said), "\n  multinicd join ")
	if !found {
		return errors.New("token create printed no line to join with")
	}
	return d.show(ctx, strings.Fields("multinicd join "+strings.Replace(line, "--token-file join", "--token-file /root/join", 1))...)
}

func (d *demo) configure(ctx context.Context) error {
	const example = "examples/worker-node-01.yaml"
	fmt.Printf("\n$ kubectl apply -f %s\n", example)
	out, err := d.cluster.Kubectl(ctx, "apply", "-f", filepath.Join(d.root, example))
	fmt.Print(out)
	if err != nil {
		return err
	}
	if err := d.ready(ctx); err != nil {
		return err
	}
	return d.look(ctx)
}

func (d *demo) reboot(ctx context.Context) error {
	d.logf("rebooting the host: its NICs are new ones with the old MACs")
	if err := d.host.Reboot(ctx); err != nil {
		return err
	}
	return d.look(ctx)
}

func (d *demo) ready(ctx context.Context) error {
	out, err := d.cluster.Kubectl(ctx, "wait", "--for=condition=Ready", "--timeout=60s", "-n", "multinic-system", "mnnc/"+node)
	if err != nil {
		return fmt.Errorf("waiting for the object to be Ready: %w\n%s\n%s", err, out, d.host.Journal(ctx))
	}
	return nil
}

// look shows the object and the links, and fails if they are not as wanted.
func (d *demo) look(ctx context.Context) error {
	fmt.Println("\n$ kubectl get mnnc -n multinic-system")
	out, err := d.cluster.Kubectl(ctx, "get", "mnnc", "-n", "multinic-system")
	fmt.Print(out)
	if err != nil || !strings.Contains(out, "Configured") {
		return fmt.Errorf("the object is not Configured: %w", err)
	}
	if err := d.show(ctx, "ip", "-br", "address"); err != nil {
		return err
	}
	if err := d.show(ctx, "multinicd", "status"); err != nil {
		return err
	}
	for link, address := range map[string]string{"multinic1": "192.168.100.10/24", "multinic2": "192.168.200.10/24"} {
		out, err := d.host.Run(ctx, "ip", "address", "show", link)
		if err != nil || !strings.Contains(out, "inet "+address) || !strings.Contains(out, "mtu 1500") {
			return fmt.Errorf("%s does not have %s and MTU 1500: %w\n%s", link, address, err, out)
		}
	}
	return nil
}

// show runs a command on the host and prints both.
func (d *demo) show(ctx context.Context, argv ...string) error {
	fmt.Printf("\n%s# %s\n", node, strings.Join(argv, " "))
	out, err := d.host.Run(ctx, argv...)
	fmt.Println(strings.TrimRight(out, "\n"))
	return err
}

func (d *demo) lookAround() {
	fmt.Printf(`
All of it runs until Ctrl-C. It is an API server without Kubernetes' own controllers: no Pods run, a namespace stays Terminating,
and a deleted Node takes nothing with it. In another shell:

  export KUBECONFIG=%[1]s
  alias kubectl=%[2]s multinic-bridge=%[3]s
  kubectl get mnnc -n multinic-system -w
  kubectl edit mnnc %[4]s -n multinic-system
  multinic-bridge fleet                    # all nodes; fleet --watch follows them, fleet --web is a page for your browser
  multinic-bridge node %[4]s      # one node: its NICs, why they are so, and the last changes

and on the host:

  nsenter -t %[5]d -m -u -i -n -p -C -- env -i HOME=/root TERM=$TERM PATH=/usr/sbin:/usr/bin:/sbin:/bin bash
  systemctl status multinicd; multinicd status; journalctl -u multinicd -f

A neighbour, to see AddressInUse: this puts 192.168.100.77 on the switch that multinic1 is plugged into. Then give multinic1 this
address (kubectl edit, address and cidr), and look at multinic-bridge node %[4]s. With del in place of add the neighbour goes.

  nsenter --net=%[6]s ip address add 192.168.100.77/24 dev data1

`, d.cluster.Kubeconfig, d.cluster.KubectlPath(), filepath.Join(d.root, "bin/multinic-bridge"), node, d.host.Leader(), d.world.NetNS())
}
