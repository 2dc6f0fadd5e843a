package kubelet

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"multinicd/internal/hosttest"
)

func TestAPIServers(t *testing.T) {
	const (
		conf      = "/etc/kubernetes/kubelet.conf"
		nginx     = "/etc/nginx/nginx.conf"
		haproxy   = "/etc/haproxy/haproxy.cfg"
		k3s       = "/var/lib/rancher/k3s/agent/etc/k3s-agent-load-balancer.json"
		tcp       = "/proc/net/tcp"
		tcpHead   = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
		loopback  = "kubelet localhost:6443 " + conf
		isNginx   = "192.0.2.1:6443 " + nginx + "\n192.0.2.2:6443 " + nginx
		upstream  = "stream {\n  upstream kube_apiserver {\n    least_conn;\n    server 192.0.2.1:6443;\n    server 192.0.2.2:6443 weight=5;\n  }\n  server {\n    listen        127.0.0.1:6443;\n    proxy_pass    kube_apiserver;\n  }\n}\n"
		backend   = "frontend kube\n  bind 127.0.0.1:6443\n  default_backend kube\nbackend kube\n  mode tcp\n  server control-1 192.0.2.1:6443 check\n  server control-2 192.0.2.2:6443 check\n"
		aRoot     = "a connection of root's"
		mine      = "0B0200C0:9C40" // 192.0.2.11:40000
		theirs    = "010200C0"      // 192.0.2.1
		socket    = "   0: %s %s:%s %s 00000000:00000000 00:00000000 00000000 %5d        0 1049 1 00000000bda4d13e 100 0 0 10 0\n"
		port6443  = "192B"
		port443   = "01BB"
		port7443  = "1D13"
		six       = "B80D0120000000000000000001000000" // 2001:db8::1
		sixMine   = "B80D0120000000000000000002000000:9C40"
		mappedOne = "0000000000000000FFFF0000010200C0" // ::ffff:192.0.2.1
	)
	kubeconfig := func(server string) string {
		return "apiVersion: v1\nkind: Config\nclusters:\n- name: default\n  cluster:\n    server: " + server + "\n"
	}
	for title, test := range map[string]struct {
		files map[string]string
		port  uint16
		want  string
	}{
		"nothing":                   {},
		"kubeadm":                   {files: map[string]string{conf: kubeconfig("https://192.0.2.1:6443")}, want: "kubelet 192.0.2.1:6443 " + conf},
		"without a port":            {files: map[string]string{conf: kubeconfig("https://api.example.org")}, want: "kubelet api.example.org:443 " + conf},
		"a kubeconfig that is none": {files: map[string]string{conf: "clusters: 7\n"}},
		"kubespray with nginx":      {files: map[string]string{conf: kubeconfig("https://localhost:6443"), nginx: upstream}, want: isNginx + "\n" + loopback},
		"kubespray with HAProxy":    {files: map[string]string{haproxy: backend}, port: 6443, want: strings.ReplaceAll(isNginx, nginx, haproxy)},
		"a Service, and behind kubelet.conf's server": {files: map[string]string{conf: kubeconfig("https://localhost:6443"), nginx: upstream}, port: 443, want: isNginx + "\n" + loopback},
		"nginx of another service":                    {files: map[string]string{nginx: strings.ReplaceAll(upstream, "127.0.0.1:6443", "80")}, port: 6443},
		"nginx on one line":                           {files: map[string]string{nginx: "server 192.0.2.1:6443;\nlisten 6443;\n"}, port: 6443, want: "192.0.2.1:6443 " + nginx},
		"HAProxy's own names with a colon's look":     {files: map[string]string{haproxy: "listen kube\n  bind *:6443\n  server 192.0.2.1 192.0.2.1:6443 check\n"}, port: 6443, want: "192.0.2.1:6443 " + haproxy},
		"k3s":                                            {files: map[string]string{k3s: `{"ServerURL":"https://192.0.2.9:6443","ServerAddresses":["192.0.2.1:6443"],"Listener":null}`}, want: "192.0.2.1:6443 " + k3s + "\n192.0.2.9:6443 " + k3s},
		"k3s in mid-write":                               {files: map[string]string{k3s: `{"ServerURL":"https://192.`}},
		"RKE2's settings":                                {files: map[string]string{"/etc/rancher/rke2/config.yaml": "server: https://rke2.example.org:9345\n"}, want: "rke2.example.org:9345 /etc/rancher/rke2/config.yaml"},
		"k3s's environment":                              {files: map[string]string{"/etc/systemd/system/k3s-agent.service.env": "K3S_URL='https://192.0.2.9:6443'\n"}, want: "192.0.2.9:6443 /etc/systemd/system/k3s-agent.service.env"},
		"a connection of root's":                         {files: map[string]string{tcp: tcpHead + fmt.Sprintf(socket, mine, theirs, port6443, "01", 0)}, want: "192.0.2.1:6443 " + aRoot},
		"to the port that was asked for":                 {files: map[string]string{tcp: tcpHead + fmt.Sprintf(socket, mine, theirs, port7443, "01", 0)}, port: 7443, want: "192.0.2.1:7443 " + aRoot},
		"to another port":                                {files: map[string]string{tcp: tcpHead + fmt.Sprintf(socket, mine, theirs, port7443, "01", 0)}, port: 6443},
		"to port 443, which is everybody's":              {files: map[string]string{tcp: tcpHead + fmt.Sprintf(socket, mine, theirs, port443, "01", 0)}, port: 443},
		"a connection of another user's":                 {files: map[string]string{tcp: tcpHead + fmt.Sprintf(socket, mine, theirs, port6443, "01", 1000)}},
		"a connection that is not made yet":              {files: map[string]string{tcp: tcpHead + fmt.Sprintf(socket, mine, theirs, port6443, "02", 0)}},
		"a connection to the host itself":                {files: map[string]string{tcp: tcpHead + fmt.Sprintf(socket, mine, "0B0200C0", port6443, "01", 0) + fmt.Sprintf(socket, "0100007F:9C40", "0100007F", port6443, "01", 0)}},
		"a connection by IPv6":                           {files: map[string]string{tcp + "6": tcpHead + fmt.Sprintf(socket, sixMine, six, port6443, "01", 0)}, want: "[2001:db8::1]:6443 " + aRoot},
		"a connection to IPv4 by IPv6's socket":          {files: map[string]string{tcp + "6": tcpHead + fmt.Sprintf(socket, sixMine, mappedOne, port6443, "01", 0)}, want: "192.0.2.1:6443 " + aRoot},
		"a line that is none":                            {files: map[string]string{tcp: tcpHead + "0: x y 01 a b c 0\n   1: 1 2\n"}},
		"the same by a file and by connections":          {files: map[string]string{nginx: "listen 6443;\nserver 192.0.2.1:6443;\n", tcp: tcpHead + strings.Repeat(fmt.Sprintf(socket, mine, theirs, port6443, "01", 0), 3)}, port: 6443, want: "192.0.2.1:6443 " + nginx},
		"more than may be: what comes first, and no end": {files: map[string]string{nginx: "listen 6443;\n" + strings.Repeat("server 192.0.2.1:6443;\n", 3) + manyServers(100)}, port: 6443, want: "32 servers"},
	} {
		t.Run(title, func(t *testing.T) {
			k := newKubelet(t)
			hosttest.Files(t, k.host.Root, test.files)
			found, err := k.APIServers(t.Context(), test.port)
			var got []string
			for _, a := range found {
				text := fmt.Sprintf("%s:%d %s", a.Host, a.Port, a.Evidence)
				if strings.Contains(a.Host, ":") {
					text = fmt.Sprintf("[%s]:%d %s", a.Host, a.Port, a.Evidence)
				}
				if a.Kubelet {
					text = "kubelet " + text
				}
				got = append(got, text)
			}
			slices.Sort(got)
			if text := strings.Join(got, "\n"); text != test.want && (test.want != "32 servers" || len(got) != maxServers) {
				t.Errorf("got\n%s\nwant\n%s\n(%v)", text, test.want, err)
			}
		})
	}
}

func manyServers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "server 10.0.0.%d:6443;\n", i+1)
	}
	return b.String()
}
