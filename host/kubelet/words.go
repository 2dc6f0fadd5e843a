package kubelet

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"multinicd/host"
)

// maxWords bounds what is read of one file or of one command line, in bytes.
const maxWords = 64 << 10

// kubeletFiles are where root tells the kubelet what to do, the stronger first, as NodeName has it.
// No one but root can write them.
var kubeletFiles = []struct {
	pattern string
	read    func(data []byte, where string) []word
	shows   bool // that there is a kubelet, without a word in it too
}{
	// Debian's and RHEL's packages, kubespray, drop-ins, kubeadm.
	{"/etc/default/kubelet", lines, false},
	{"/etc/sysconfig/kubelet", lines, false},
	{"/etc/kubernetes/kubelet.env", lines, false},
	{"/etc/systemd/system/kubelet.service.d/*.conf", lines, false},
	{"/etc/systemd/system/kubelet.service", lines, false},
	{"/usr/lib/systemd/system/kubelet.service.d/*.conf", lines, false},
	{"/lib/systemd/system/kubelet.service.d/*.conf", lines, false},
	{"/usr/lib/systemd/system/kubelet.service", lines, false},
	{"/lib/systemd/system/kubelet.service", lines, false},
	{"/var/lib/kubelet/kubeadm-flags.env", lines, false},
	// k3s's installer writes the arguments into the unit, one on each line. k3s is also called
	// k3s-agent and k3s-NAME.
	{"/etc/systemd/system/k3s*.service.d/*.conf", rancher, true},
	{"/etc/systemd/system/k3s*.service", rancher, true},
	{"/etc/systemd/system/k3s*.service.env", rancher, false},
	{"/etc/default/k3s*", rancher, false},
	{"/etc/sysconfig/k3s*", rancher, false},
	// RKE2's units lie where its tarball or its package puts them, as rke2-server and rke2-agent.
	// The package has both, so that they show nothing.
	{"/etc/systemd/system/rke2-*.service.d/*.conf", rancher, false},
	{"/etc/systemd/system/rke2-*.service", rancher, false},
	{"/usr/local/lib/systemd/system/rke2-*.service", rancher, false},
	{"/usr/lib/systemd/system/rke2-*.service", rancher, false},
	{"/lib/systemd/system/rke2-*.service", rancher, false},
	{"/usr/local/lib/systemd/system/rke2-*.env", rancher, false},
	{"/usr/lib/systemd/system/rke2-*.env", rancher, false},
	{"/etc/default/rke2-*", rancher, false},
	{"/etc/sysconfig/rke2-*", rancher, false},
	{"/etc/rancher/k3s/config.yaml.d/*.yaml", settings, true},
	{"/etc/rancher/k3s/config.yaml", settings, true},
	{"/etc/rancher/rke2/config.yaml.d/*.yaml", settings, true},
	{"/etc/rancher/rke2/config.yaml", settings, true},
	{"/var/snap/microk8s/current/args/kubelet", lines, true},
}

var (
	// flag finds --KEY=VALUE and --KEY VALUE, and KEY=VALUE, as --kubelet-arg of k3s has it; each
	// word may be quoted.
	flag = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?:^|[\s"'=])(?:(--?(?:node-ip|hostname-override|node-name|server))["']?(?:\s*=\s*|\s+)|(node-ip|hostname-override)=)["']?([^\s"']+)`)
	})
	// short is k3s's -i, which is --node-ip.
	short = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?:^|[\s"'])(-i)["']?(?:=|\s+)["']?([0-9A-Fa-f.:,]+)`)
	})
	// variable is what k3s and RKE2 take from their environment.
	variable = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\b((?:K3S|RKE2)_(?:NODE_NAME|URL))=["']?([^\s"']+)`) })
)

// keys are the keys of words by how they are written.
var keys = map[string]string{"node-ip": keyNodeIP, "i": keyNodeIP, "hostname-override": keyNodeName, "node-name": keyNodeName, "server": keyServer,
	"K3S_NODE_NAME": keyNodeName, "RKE2_NODE_NAME": keyNodeName, "K3S_URL": keyServer, "RKE2_URL": keyServer}

// flags finds words in a command line.
func flags(line, where string) (out []word) {
	for _, m := range flag().FindAllStringSubmatch(line, -1) {
		as := m[1] + m[2]
		out = append(out, word{keys[strings.TrimLeft(as, "-")], m[3], as, where})
	}
	// Of a flag that is repeated the last counts.
	slices.Reverse(out)
	return out
}

// lines reads units and files of environment variables.
func lines(data []byte, where string) (out []word) {
	for _, line := range host.Joined(data) {
		out = append(out, flags(line, where)...)
	}
	return out
}

// rancher is lines for k3s and RKE2.
func rancher(data []byte, where string) []word {
	out := lines(data, where)
	for _, line := range host.Joined(data) {
		for _, pattern := range []*regexp.Regexp{short(), variable()} {
			for _, m := range pattern.FindAllStringSubmatch(line, -1) {
				out = append(out, word{keys[strings.TrimLeft(m[1], "-")], m[2], m[1], where})
			}
		}
	}
	return out
}

// settings reads config.yaml of k3s and RKE2, in which each flag may be a key; "node-ip+" adds to
// what another file says.
func settings(data []byte, where string) (out []word) {
	var tree map[string]any
	if yaml.Unmarshal(data, &tree) != nil {
		return nil // k3s does not start with it either
	}
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		as := strings.TrimSuffix(name, "+")
		values, ok := tree[name].([]any)
		if !ok {
			values = []any{tree[name]}
		}
		for _, v := range values {
			text := strings.TrimSpace(fmt.Sprint(v))
			switch key := keys[as]; {
			case as == "kubelet-arg":
				out = append(out, flags(text, where)...)
			case key != "" && text != "":
				out = append(out, word{key, text, as, where})
			}
		}
	}
	return out
}
