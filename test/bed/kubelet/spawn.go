package kubelet

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"multinicd/test/bed/sandbox"
)

// spawnScript runs containerd and the kubelet among the host's processes, in its network and on its files, but with this machine's
// cgroups, which they and runc write to: the host itself sees a hierarchy without controllers. What is mounted here is gone with their
// last process, and the host does not see it.
//
// $1 is the mounts of cgroups, a line each: type, options, path. $2 is the folder of the configuration, $3 of the logs, $4 the
// kubeconfig, $5 the node's name, $6 its address.
//
// The kubelet wants some settings of the kernel, which are this machine's: it finds files that say what it wants. containerd's layers
// are overlays, which cannot lie on the host's own overlay.
const spawnScript = `
set -e
umount -R /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
echo "$1" | while read -r type options path; do
	mkdir -p "$path"
	mount -t "$type" -o "$options" "$type" "$path"
done
mkdir -p /run/node-sysctl /var/lib/containerd /var/lib/kubelet
say() {
	echo "$1" >"/run/node-sysctl/$(basename "$2")"
	mount --bind "/run/node-sysctl/$(basename "$2")" "/proc/sys/$2"
}
say 1 vm/overcommit_memory
say 0 vm/panic_on_oom
say 10 kernel/panic
say 1 kernel/panic_on_oops
say 1000000 kernel/keys/root_maxkeys
say 25000000 kernel/keys/root_maxbytes
if [ ! -c /dev/kmsg ]; then
	[ -e /dev/kmsg ] || : >/dev/kmsg
	[ -c /dev/node-kmsg ] || mknod /dev/node-kmsg c 1 11
	mount --bind /dev/node-kmsg /dev/kmsg
fi
mount -t tmpfs -o mode=711 tmpfs /var/lib/containerd
mount -t tmpfs -o mode=750 tmpfs /var/lib/kubelet
mount --make-rshared /
containerd --config "$2/containerd.toml" >>"$3/containerd.log" 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.1; done
exec kubelet --config="$2/kubelet.yaml" --kubeconfig="$4" --hostname-override="$5" --node-ip="$6" --v=2 >>"$3/kubelet.log" 2>&1
`

// spawn starts both. They run in a cgroup of the sandbox, and what they make are cgroups below it, so that nothing outlives it.
func (n *Node) spawn() error {
	all, err := sandbox.Hierarchies()
	if err != nil {
		return err
	}
	var mounts []string
	for _, h := range all {
		mounts = append(mounts, h.Type+" "+h.Options+" "+h.Path)
		if err := n.makeCgroup(h); err != nil {
			return err
		}
	}
	console, err := os.OpenFile(filepath.Join(n.box.Dir, n.group+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the console of %s: %w", n.group, err)
	}
	defer console.Close()
	// Not -C: cgroups are seen as this machine sees them.
	cmd := exec.Command("nsenter", "-t", strconv.Itoa(n.Leader()), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--",
		"env", "-i", "HOME=/root", "PATH="+binDir+":/usr/sbin:/usr/bin:/sbin:/bin",
		"unshare", "--mount", "--propagation", "private",
		"sh", "-c", spawnScript, "spawn", strings.Join(mounts, "\n"), configDir, logDir, kubeconfigPath, n.Name, n.Address.Addr().String())
	cmd.Stdout, cmd.Stderr = console, console
	if err := n.box.Start(n.group+"/programs", cmd); err != nil {
		return err
	}
	n.exited = make(chan struct{})
	go func() {
		_ = cmd.Wait() // what it says is in the logs
		close(n.exited)
	}()
	return nil
}

// cgroupPath is the kubelet's cgroupRoot, in every hierarchy.
func (n *Node) cgroupPath() string {
	return "/" + filepath.Base(filepath.Dir(n.box.GroupDir(n.group))) + "/" + n.group + "/pods"
}

// makeCgroup makes the cgroup of the node's Pods, with its controllers where they are v2's.
func (n *Node) makeCgroup(h sandbox.Hierarchy) error {
	dir := filepath.Join(h.Path, n.cgroupPath())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making a cgroup for Pods: %w", err)
	}
	if h.Type != "cgroup2" {
		return nil
	}
	for _, above := range []string{filepath.Dir(filepath.Dir(dir)), filepath.Dir(dir), dir} {
		controllers, err := os.ReadFile(filepath.Join(above, "cgroup.controllers"))
		if err != nil {
			return fmt.Errorf("reading the controllers of cgroups: %w", err)
		}
		for _, c := range strings.Fields(string(controllers)) {
			if err := os.WriteFile(filepath.Join(above, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
				return fmt.Errorf("enabling controller %s: %w", c, err)
			}
		}
	}
	return nil
}

// Stop ends kubelet, containerd and all Pods at once, as a node does that loses its power. The host goes on.
func (n *Node) Stop() error {
	if err := n.box.KillGroup(n.group); err != nil {
		return err
	}
	<-n.exited
	return nil
}

// configure writes what containerd and kubelet read.
func (n *Node) configure(o Options) error {
	kubeconfig := filepath.Join(n.box.Dir, n.group+".kubeconfig")
	if err := n.cluster.WriteKubeconfig(kubeconfig, o.Server, "system:node:"+n.Name, "system:nodes"); err != nil {
		return err
	}
	identity, err := os.ReadFile(kubeconfig)
	if err != nil {
		return fmt.Errorf("reading the kubelet's kubeconfig: %w", err)
	}
	gateway := net.IP(o.Pods.Masked().Addr().Next().AsSlice())
	files := map[string]string{
		kubeconfigPath:                      string(identity),
		configDir + "/ca.crt":               string(n.cluster.CA),
		configDir + "/cni/10-pods.conflist": fmt.Sprintf(cni, o.Pods.Masked(), gateway),
		configDir + "/containerd.toml":      containerdTOML,
		configDir + "/kubelet.yaml":         fmt.Sprintf(kubeletYAML, n.cgroupPath()),
		logDir + "/kubelet.log":             "",
		logDir + "/containerd.log":          "",
	}
	for name, content := range files {
		if err := n.WriteFile(name, []byte(content), 0o600); err != nil {
			return err
		}
	}
	// /var/log/pods, where the last words of containers are found.
	if err := n.WriteFile("/var/log/pods/.keep", nil, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

const cni = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": true,
 "ipam": {"type": "host-local", "ranges": [[{"subnet": %q, "gateway": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`

// containerd: in a container no process may be given a better chance against the lack of memory than its parent has; and what it
// mounts must be below its own folders.
const containerdTOML = `version = 3
[grpc]
  address = "` + socket + `"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "localhost/pause:1"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["` + binDir + `"]
  conf_dir = "` + configDir + `/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = "` + binDir + `/runc"
  SystemdCgroup = false
`

const kubeletYAML = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://` + socket + `
cgroupRoot: %s
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: ` + configDir + `/ca.crt}}
authorization: {mode: Webhook}
resolvConf: ""
makeIPTablesUtilChains: false
evictionHard: {memory.available: 50Mi, nodefs.available: 1%%, imagefs.available: 1%%, nodefs.inodesFree: 1%%}
nodeStatusUpdateFrequency: 5s
registerNode: true
`
