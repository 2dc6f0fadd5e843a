// Package kubelet makes a host of package testhost a node of the cluster: kubelet, containerd and runc run on it, and Pods run in them.
//
// In go a host with the programs over its root file system (Programs), a control plane, and image archives; out comes a Node that is
// Ready, whose Pods see the host's own folders, system bus and network where they ask for it, and reach the API server as a Service.
//
// It must not be taken for a whole cluster: there is no kube-proxy and no DNS, and the API server cannot call the kubelet, so that neither
// kubectl logs nor exec work.
//
// Start reading at Start.
package kubelet

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
)

const (
	readyTimeout = 2 * time.Minute
	socket       = "/run/containerd/containerd.sock"
	configDir    = "/etc/node"
	// kubeconfigPath is where kubeadm has it.
	kubeconfigPath = "/etc/kubernetes/kubelet.conf"
	logDir         = "/var/log/node"
)

// Node is a host on which a kubelet runs, until the host goes off or the sandbox is closed.
type Node struct {
	*testhost.Host
	box     *sandbox.Sandbox
	cluster *controlplane.Cluster
	group   string // cgroup of the sandbox
	exited  chan struct{}
}

// Options say what a node is made of.
type Options struct {
	// Server is the API server's URL, as the host sees it.
	Server string
	// Pods is the node's network for Pods: a /24, and another one for each node.
	Pods netip.Prefix
	// Images are archives to be there.
	Images []string
	// Pause is the archive of a Pod's own container, which is called localhost/pause:1.
	Pause string
	// Logf tells of what takes long.
	Logf func(format string, args ...any)
}

// Start starts containerd and the kubelet on a host that is on, and waits until the node is Ready: some seconds.
func Start(ctx context.Context, box *sandbox.Sandbox, c *controlplane.Cluster, h *testhost.Host, o Options) (*Node, error) {
	begin := time.Now()
	n := &Node{Host: h, box: box, cluster: c, group: "node-" + h.Name}
	if err := n.configure(o); err != nil {
		return nil, err
	}
	if err := n.spawn(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for _, image := range append([]string{o.Pause}, o.Images...) {
		if err := n.Import(ctx, image); err != nil {
			return nil, err
		}
	}
	for {
		out, err := c.Print(ctx, "/api/v1/nodes/"+h.Name, `{.status.conditions[?(@.type=="Ready")].status}`)
		if err == nil && out == "True" {
			o.Logf("node %s ready after %.1f s", h.Name, time.Since(begin).Seconds())
			return n, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for node %s: %w: %q (%w)\n%s", h.Name, ctx.Err(), out, err, n.Log("kubelet"))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Import gives an image to the node's containerd.
func (n *Node) Import(ctx context.Context, archive string) error {
	for {
		_, err := n.Run(ctx, binDir+"/ctr", "-a", socket, "version")
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for containerd on %s: %w: %w\n%s", n.Name, ctx.Err(), err, n.Log("containerd"))
		case <-time.After(100 * time.Millisecond):
		}
	}
	file, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("importing an image: %w", err)
	}
	defer file.Close()
	cmd := n.Command(ctx, binDir+"/ctr", "-a", socket, "-n", "k8s.io", "images", "import", "-")
	cmd.Stdin = file
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("importing %s on %s: %w\n%s\n%s", archive, n.Name, err, out, n.Log("containerd"))
	}
	return nil
}

// RemoveImage takes an image from the node's containerd.
func (n *Node) RemoveImage(ctx context.Context, image string) error {
	_, err := n.Run(ctx, binDir+"/ctr", "-a", socket, "-n", "k8s.io", "images", "rm", "--sync", image)
	return err
}

// Log is the end of what kubelet or containerd said.
func (n *Node) Log(program string) string {
	b, err := n.ReadFile(filepath.Join(logDir, program+".log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-8000):])
}

// KillContainers ends every container of a Pod by SIGKILL, as a lack of memory would.
func (n *Node) KillContainers(ctx context.Context, podUID string) error {
	script := `for c in $(` + binDir + `/ctr -a ` + socket + ` -n k8s.io containers ls -q); do
		` + binDir + `/ctr -a ` + socket + ` -n k8s.io containers info $c | grep -q '"io.kubernetes.pod.uid": "` + podUID + `"' || continue
		` + binDir + `/ctr -a ` + socket + ` -n k8s.io containers info $c | grep -q '"io.cri-containerd.kind": "container"' || continue
		` + binDir + `/ctr -a ` + socket + ` -n k8s.io tasks kill -s SIGKILL $c || true
	done`
	_, err := n.Shell(ctx, script)
	return err
}
