package survey

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"multinicd/host"
)

// nodeCache keeps the answer of NodeIPs, which has to walk over all processes.
type nodeCache struct {
	sync.Mutex
	asked time.Time
	ips   []netip.Addr
}

// nodeAge is how long the kubelet's --node-ip is taken for known: it changes only when somebody changes the node.
const nodeAge = 30 * time.Second

// kubeletFiles are where the flag stands: kubeadm, packages of deb and rpm, systemd drop-ins, k3s and RKE2.
var kubeletFiles = []string{
	"/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet", "/etc/sysconfig/kubelet", "/etc/kubernetes/kubelet.env",
	"/etc/systemd/system/kubelet.service", "/etc/systemd/system/kubelet.service.d/*.conf",
	"/usr/lib/systemd/system/kubelet.service.d/*.conf", "/lib/systemd/system/kubelet.service.d/*.conf",
	"/etc/rancher/k3s/config.yaml", "/etc/rancher/rke2/config.yaml",
}

// nodeIP finds --node-ip=A,B and --node-ip A, and node-ip: A of the YAML files.
var nodeIP = regexp.MustCompile(`\bnode-ip["']?(?:\s*[=:]\s*|\s+)["']?([0-9A-Fa-f.:,]+)`)

// NodeIPs gives the addresses that the kubelet was told to be the node's (--node-ip), sorted, without repetition: from its files and
// from the command lines of processes that are called kubelet, k3s or rke2. None is no error. The answer is up to 30 s old.
func (s *Survey) NodeIPs() []netip.Addr {
	s.nodes.Lock()
	defer s.nodes.Unlock()
	if !s.nodes.asked.IsZero() && time.Since(s.nodes.asked) < nodeAge {
		return slices.Clone(s.nodes.ips)
	}
	var out []netip.Addr
	whole := true // nothing was there that could not be read, but for what nobody may read but its owner
	read := func(pattern string, each func(data []byte)) {
		files, err := s.host.Glob(pattern)
		for _, f := range files {
			data, _, failed := s.host.Read(f)
			if failed == nil {
				each(data)
			}
			err = errors.Join(err, failed)
		}
		whole = whole && !host.Short(err)
	}
	for _, pattern := range kubeletFiles {
		read(pattern, func(data []byte) {
			_ = host.Lines(data, func(line string) error {
				out = append(out, nodeIPs(line)...)
				return nil
			})
		})
	}
	read("/proc/[0-9]*/cmdline", func(data []byte) {
		argv := bytes.Split(data, []byte{0})
		switch path.Base(string(argv[0])) {
		case "kubelet", "k3s", "rke2", "hyperkube":
			out = append(out, nodeIPs(string(bytes.Join(argv, []byte{' '})))...)
		}
	})
	if !whole { // what could be read before counts until it can be read again, which is tried the next time
		out = append(out, s.nodes.ips...)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	s.nodes.ips, s.nodes.asked = slices.Compact(out), time.Time{}
	if whole {
		s.nodes.asked = time.Now()
	}
	return slices.Clone(s.nodes.ips)
}

func nodeIPs(line string) []netip.Addr {
	var out []netip.Addr
	for _, m := range nodeIP.FindAllStringSubmatch(line, -1) {
		for _, s := range strings.Split(m[1], ",") {
			// 0.0.0.0 and :: choose a family and name no address.
			if a, err := netip.ParseAddr(s); err == nil && !a.IsUnspecified() {
				out = append(out, a.Unmap())
			}
		}
	}
	return out
}

var (
	uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	ec2  = regexp.MustCompile(`^i-[0-9a-f]{8,17}$`)
)

// InstanceIDs gives the names under which the cloud knows this machine, as far as they are such that a spec.instanceId can be
// compared with them: UUIDs and EC2's "i-...", lower case, sorted, without repetition. They come from the DMI (which OpenStack
// fills with the instance's UUID) and from cloud-init. None means that nothing is comparable.
func (s *Survey) InstanceIDs() []string {
	var out []string
	add := func(s string) {
		s = strings.ToLower(strings.TrimSpace(s))
		// Makers of boards put such constants where they have nothing to say.
		if (uuid.MatchString(s) && strings.Trim(s, "0-") != "" && strings.Trim(s, "f-") != "" && s != "03000200-0400-0500-0006-000700080009") || ec2.MatchString(s) {
			out = append(out, s)
		}
	}
	for _, f := range []string{"/sys/class/dmi/id/product_uuid", "/sys/hypervisor/uuid", "/var/lib/cloud/data/instance-id"} {
		if data, _, err := s.host.Read(f); err == nil {
			add(string(data))
		}
	}
	for _, f := range []string{"/run/cloud-init/instance-data-sensitive.json", "/run/cloud-init/instance-data.json"} {
		data, _, err := s.host.Read(f)
		if err != nil {
			continue
		}
		type metadata struct {
			Dash  string `json:"instance-id"`
			Under string `json:"instance_id"`
			UUID  string `json:"uuid"`
		}
		var d struct {
			V1 metadata `json:"v1"`
			DS struct {
				Meta metadata `json:"meta_data"`
				EC2  metadata `json:"ec2_metadata"`
			} `json:"ds"`
		}
		// What does not parse is a half-written file of the first boot: the DMI has spoken already.
		_ = json.Unmarshal(data, &d)
		for _, m := range []metadata{d.V1, d.DS.Meta, d.DS.EC2} {
			add(m.Dash)
			add(m.Under)
			add(m.UUID)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
