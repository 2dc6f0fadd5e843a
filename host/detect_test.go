package host

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDetect(t *testing.T) {
	const (
		generator = "/usr/libexec/netplan/generate"
		older     = "/usr/lib/netplan/generate"
		netif     = "/run/systemd/netif/state"
		manager   = "/run/NetworkManager/no-stub-resolv.conf"
	)
	for name, test := range map[string]struct {
		files map[string]string
		want  string
		says  []string
	}{
		"nothing":                                {says: []string{"netplan is not installed", "systemd-networkd does not run", "NetworkManager does not run"}},
		"Debian 12 in a cloud":                   {files: map[string]string{generator: "", netif: "", "/etc/os-release": "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n"}, want: "netplan", says: []string{"the system is Debian GNU/Linux 12 (bookworm)", "netplan is installed: /usr/libexec/netplan/generate", "systemd-networkd runs"}},
		"Ubuntu 22.04 with an older netplan":     {files: map[string]string{older: "", netif: ""}, want: "netplan", says: []string{older}},
		"netplan without networkd":               {files: map[string]string{generator: ""}, says: []string{"systemd-networkd does not run"}},
		"networkd without netplan":               {files: map[string]string{netif: ""}, says: []string{"netplan is not installed"}},
		"RHEL 9":                                 {files: map[string]string{manager: "", "/etc/os-release": "PRETTY_NAME='Rocky Linux 9.4'\n"}, want: "networkmanager", says: []string{"Rocky Linux 9.4", "NetworkManager runs"}},
		"a desktop with netplan for the manager": {files: map[string]string{generator: "", manager: "", "/etc/netplan/01.yaml": "network: {version: 2, renderer: NetworkManager}"}, want: "networkmanager", says: []string{"netplan's renderer is NetworkManager: /etc/netplan/01.yaml"}},
		"both run, and netplan is the manager's": {files: map[string]string{generator: "", netif: "", manager: "", "/etc/netplan/01.yaml": "network: {renderer: NetworkManager}"}, want: "networkmanager"},
		"both run, and netplan is networkd's":    {files: map[string]string{generator: "", netif: "", manager: "", "/etc/netplan/01.yaml": "network: {renderer: NetworkManager}", "/etc/netplan/02.yaml": "network: {renderer: networkd}"}, want: "netplan"},
		"both run, and no YAML says":             {files: map[string]string{generator: "", netif: "", manager: ""}, want: "netplan"},
		"a YAML that cannot be read":             {files: map[string]string{generator: "", netif: "", "/etc/netplan/01.yaml": "network: ["}, want: "netplan"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			put(t, h, test.files)
			got, err := h.Detect(t.Context())
			if err != nil || got.Backend != test.want {
				t.Errorf("got %q, error %v, want %q", got.Backend, err, test.want)
			}
			evidence := strings.Join(got.Evidence, "\n")
			for _, s := range test.says {
				if !strings.Contains(evidence, s) {
					t.Errorf("the evidence does not say %q:\n%s", s, evidence)
				}
			}
		})
	}
}

func TestNodeIPs(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"no kubelet":            {},
		"kubeadm":               {files: map[string]string{"/var/lib/kubelet/kubeadm-flags.env": `KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///run/containerd/containerd.sock --node-ip=192.0.2.11 --pod-infra-container-image=x"`}, want: []string{"192.0.2.11"}},
		"both families":         {files: map[string]string{"/etc/default/kubelet": "KUBELET_EXTRA_ARGS=--node-ip=2001:db8::11,192.0.2.11\n"}, want: []string{"192.0.2.11", "2001:db8::11"}},
		"a drop-in":             {files: map[string]string{"/etc/systemd/system/kubelet.service.d/20-ip.conf": "[Service]\nEnvironment=\"KUBELET_EXTRA_ARGS=--node-ip 192.0.2.11\"\n"}, want: []string{"192.0.2.11"}},
		"RHEL":                  {files: map[string]string{"/etc/sysconfig/kubelet": "KUBELET_EXTRA_ARGS='--node-ip=192.0.2.11'\n"}, want: []string{"192.0.2.11"}},
		"a comment":             {files: map[string]string{"/etc/default/kubelet": "#KUBELET_EXTRA_ARGS=--node-ip=192.0.2.11\n"}},
		"a family only":         {files: map[string]string{"/etc/default/kubelet": "KUBELET_EXTRA_ARGS=--node-ip=0.0.0.0\n"}},
		"a running kubelet":     {files: map[string]string{"/proc/812/cmdline": "/usr/bin/kubelet\x00--v=2\x00--node-ip=192.0.2.12\x00", "/proc/813/cmdline": "grep\x00--node-ip=192.0.2.99\x00", "/proc/814/cmdline": ""}, want: []string{"192.0.2.12"}},
		"the same in two ways":  {files: map[string]string{"/proc/812/cmdline": "kubelet\x00--node-ip\x00192.0.2.11\x00", "/etc/default/kubelet": "A=--node-ip=192.0.2.11\n"}, want: []string{"192.0.2.11"}},
		"k3s":                   {files: map[string]string{"/etc/rancher/k3s/config.yaml": "write-kubeconfig-mode: \"0644\"\nnode-ip: \"192.0.2.11\"\n"}, want: []string{"192.0.2.11"}},
		"something that is not": {files: map[string]string{"/etc/default/kubelet": "A=--node-ip=localhost\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			put(t, h, test.files)
			var want []netip.Addr
			for _, s := range test.want {
				want = append(want, netip.MustParseAddr(s))
			}
			for range 2 {
				if diff := cmp.Diff(want, h.NodeIPs(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestInstanceIDs(t *testing.T) {
	const id = "0c497169-a104-4448-afde-f27b79fca904"
	for name, test := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"nothing":               {},
		"the DMI of OpenStack":  {files: map[string]string{"/sys/class/dmi/id/product_uuid": strings.ToUpper(id) + "\n"}, want: []string{id}},
		"a board without":       {files: map[string]string{"/sys/class/dmi/id/product_uuid": "03000200-0400-0500-0006-000700080009\n"}},
		"a board with zeros":    {files: map[string]string{"/sys/class/dmi/id/product_uuid": "00000000-0000-0000-0000-000000000000\n"}},
		"a board that says not": {files: map[string]string{"/sys/class/dmi/id/product_uuid": "Not Settable\n"}},
		"cloud-init on OpenStack": {files: map[string]string{"/run/cloud-init/instance-data.json": `{"ds":{"meta_data":{"uuid":"` + id + `","hostname":"w1"},"ec2_metadata":{"instance-id":"i-00000abc"}},"v1":{"instance_id":"` + id + `"}}`},
			want: []string{id, "i-00000abc"}},
		"cloud-init without data":   {files: map[string]string{"/var/lib/cloud/data/instance-id": "iid-datasource-none\n"}},
		"cloud-init's own file":     {files: map[string]string{"/var/lib/cloud/data/instance-id": "i-0123456789abcdef0\n"}, want: []string{"i-0123456789abcdef0"}},
		"a file cut off in mid-way": {files: map[string]string{"/run/cloud-init/instance-data.json": `{"v1":{"instance_id":"`}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			put(t, h, test.files)
			if diff := cmp.Diff(test.want, h.InstanceIDs()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
