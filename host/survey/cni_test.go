package survey

import (
	"maps"
	"os"
	"strings"
	"testing"

	"multinicd/internal/hosttest"
)

func TestContainerNetworksThatChooseAnInterface(t *testing.T) {
	const calico, cilium = "/etc/cni/net.d/10-calico.conflist", "/etc/cni/net.d/05-cilium.conflist"
	runs := func(name, cmdline, environ string) map[string]string {
		return map[string]string{"/proc/70/comm": name + "\n", "/proc/70/cmdline": cmdline, "/proc/70/environ": environ}
	}
	for name, test := range map[string]struct {
		files, also map[string]string
		want        string // "name file", and the evidence where it is told
	}{
		"none":              {},
		"Calico":            {files: map[string]string{calico: `{"name": "k8s-pod-network", "plugins": [{"type": "calico", "ipam": {"type": "calico-ipam"}}, {"type": "portmap"}]}`}, want: "Calico " + calico},
		"by its name alone": {files: map[string]string{cilium: "any content"}, want: "Cilium " + cilium},
		"flannel of k3s": {files: map[string]string{"/var/lib/rancher/k3s/agent/etc/cni/net.d/10-flannel.conflist": `{"name": "cbr0", "plugins": [{"type": "flannel"}]}`},
			want: "flannel /var/lib/rancher/k3s/agent/etc/cni/net.d/10-flannel.conflist"},
		"canal, where flannel chooses": {files: map[string]string{"/etc/cni/net.d/10-canal.conflist": `{"plugins": [{"type": "calico"}]}`}, want: "flannel /etc/cni/net.d/10-canal.conflist"},
		"behind Multus":                {files: map[string]string{"/etc/cni/net.d/00-multus.conf": `{"type": "multus", "delegates": [{"plugins": [{"type": "cilium-cni"}]}]}`}, want: "Cilium /etc/cni/net.d/00-multus.conf"},
		"one that chooses nothing":     {files: map[string]string{"/etc/cni/net.d/10-not-calico.conflist": `{"plugins": [{"type": "bridge"}]}`}},
		"one that is switched off":     {files: map[string]string{calico + ".cilium_bak": `{"plugins": [{"type": "calico"}]}`}},
		"Calico that is told nothing":  {files: map[string]string{calico: ""}, also: runs("calico-node", "calico-node\x00-felix\x00", "IP=autodetect\x00IP6=none\x00"), want: "Calico " + calico},
		"Calico that is told to choose": {files: map[string]string{calico: ""}, also: runs("calico-node", "calico-node\x00-felix\x00", "A=b\x00IP_AUTODETECTION_METHOD=first-found\x00"),
			want: "Calico " + calico},
		"Calico that is told": {files: map[string]string{calico: ""}, also: runs("calico-node", "calico-node\x00-felix\x00", "A=b\x00IP_AUTODETECTION_METHOD=kubernetes-internal-ip\x00"),
			want: "Calico " + calico + " process 70 (calico-node) has IP_AUTODETECTION_METHOD=kubernetes-internal-ip"},
		"Cilium with arguments": {files: map[string]string{cilium: ""}, also: runs("cilium-agent", "cilium-agent\x00--devices=ens3\x00", ""), want: "Cilium " + cilium + " process 70 (cilium-agent) has --devices=ens3"},
		"Cilium with its ConfigMap": {files: map[string]string{cilium: "", "/proc/70/root/tmp/cilium/config-map/devices": "ens3"}, also: runs("cilium-agent", "cilium-agent\x00--config-dir=/tmp/cilium/config-map\x00", ""),
			want: "Cilium " + cilium + " process 70 (cilium-agent) has devices: ens3"},
		"flannel with arguments": {files: map[string]string{"/etc/cni/net.d/10-flannel.conflist": ""}, also: runs("flanneld", "/opt/bin/flanneld\x00--ip-masq\x00--iface\x00ens3\x00", ""),
			want: "flannel /etc/cni/net.d/10-flannel.conflist process 70 (flanneld) has --iface ens3"},
		"flannel of k3s that is told": {files: map[string]string{"/etc/cni/net.d/10-flannel.conflist": "", "/etc/rancher/k3s/config.yaml": "flannel-iface: ens3\n"},
			want: "flannel /etc/cni/net.d/10-flannel.conflist /etc/rancher/k3s/config.yaml has flannel-iface"},
		"flannel of k3s that was told": {files: map[string]string{"/etc/cni/net.d/10-flannel.conflist": "", "/etc/rancher/k3s/config.yaml": "# flannel-iface: ens3\n"},
			want: "flannel /etc/cni/net.d/10-flannel.conflist"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurvey(t)
			files := map[string]string{}
			maps.Copy(files, test.files)
			maps.Copy(files, test.also)
			hosttest.Files(t, s.host.Root, files)
			var got []string
			for _, c := range s.CNIs() {
				got = append(got, strings.TrimSpace(c.Name+" "+c.File+" "+c.Told))
			}
			if strings.Join(got, "; ") != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestPortsThatAreOpenOnAllAddresses(t *testing.T) {
	s := newSurvey(t)
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	hosttest.Files(t, s.host.Root, map[string]string{
		"/proc/net/tcp": head + "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0\n" +
			"   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 112 1 0 100 0 0 10 0\n" +
			"   2: 00000000:1770 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 113 1 0 100 0 0 10 0\n",
		"/proc/net/tcp6": head + "   0: 00000000000000000000000000000000:280A 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 114 1 0 100 0 0 10 0\n" +
			"   1: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 115 1 0 100 0 0 10 0\n",
		"/proc/7/comm": "sshd\n",
	})
	if err := os.MkdirAll(s.host.Path("/proc/7/fd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("socket:[115]", s.host.Path("/proc/7/fd/3")); err != nil {
		t.Fatal(err)
	}
	got := s.Listeners()
	if len(got) != 2 || got[0] != (Listener{22, "sshd"}) || got[1] != (Listener{10250, ""}) {
		t.Errorf("got %+v", got)
	}
}
