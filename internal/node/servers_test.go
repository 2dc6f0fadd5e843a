package node

import (
	"net/netip"
	"strings"
	"testing"

	"multinicd/host"
	"multinicd/host/kubelet"
	"multinicd/internal/hosttest"
	"multinicd/nic"
)

func TestServersBehindAProxyOrAService(t *testing.T) {
	const (
		conf    = "/etc/kubernetes/kubelet.conf"
		nginx   = "listen 127.0.0.1:6443;\nserver 203.0.113.5:6443;\nserver 203.0.113.6:6443;\n"
		isNginx = "203.0.113.5:6443 the API server behind the proxy on 127.0.0.1:6443 (/etc/nginx/nginx.conf)\n203.0.113.6:6443 the API server behind the proxy on 127.0.0.1:6443 (/etc/nginx/nginx.conf)"
	)
	kubeconfig := func(server string) map[string]string {
		return map[string]string{conf: "clusters:\n- cluster: {server: \"" + server + "\"}\n", "/etc/nginx/nginx.conf": nginx}
	}
	primary := nic.Link{Index: 2, Name: "eth0", Addresses: []nic.Address{{Prefix: netip.MustParsePrefix("192.0.2.11/24")}},
		Routes: []nic.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1")}, {To: netip.MustParsePrefix("198.51.100.0/24"), Via: netip.MustParseAddr("192.0.2.1")}}}
	services := nic.Link{Index: 3, Name: "kube-ipvs0", Kind: "dummy", Addresses: []nic.Address{{Prefix: netip.MustParsePrefix("10.96.0.1/32")}}}
	for title, test := range map[string]struct {
		called string
		links  []nic.Link
		files  map[string]string
		want   string
		again  bool // it is worth while to look again soon
	}{
		"on the loopback, nginx before the real ones": {called: "127.0.0.1:6443", files: kubeconfig("https://127.0.0.1:6443"), want: isNginx},
		"on IPv6's loopback":                          {called: "[::1]:6443", files: kubeconfig("https://127.0.0.1:6443"), want: strings.ReplaceAll(isNginx, "proxy on 127.0.0.1", "proxy on [::1]")},
		"on the loopback, and nobody says":            {called: "127.0.0.1:6443", again: true},
		"a Service, the kubelet calls another": {called: "10.96.0.1:443", links: []nic.Link{primary}, files: map[string]string{conf: "clusters:\n- cluster: {server: \"https://203.0.113.5:6443\"}\n"},
			want: "203.0.113.5:6443 the API server behind the Service 10.96.0.1:443 (" + conf + ")"},
		"a Service, the kubelet calls a proxy": {called: "10.96.0.1:443", links: []nic.Link{primary}, files: kubeconfig("https://127.0.0.1:6443"), want: strings.ReplaceAll(isNginx, "proxy on 127.0.0.1:6443", "Service 10.96.0.1:443")},
		"a Service whose address is on the host": {called: "10.96.0.1:443", links: []nic.Link{primary, services}, files: map[string]string{conf: "clusters:\n- cluster: {server: \"https://203.0.113.5:6443\"}\n"},
			want: "203.0.113.5:6443 the API server behind the Service 10.96.0.1:443 (" + conf + ")"},
		"far away, and the kubelet calls the same":         {called: "203.0.113.5:6443", links: []nic.Link{primary}, files: kubeconfig("https://203.0.113.5:6443")},
		"far away, and nobody says whom the kubelet calls": {called: "203.0.113.5:6443", links: []nic.Link{primary}, files: map[string]string{"/etc/nginx/nginx.conf": nginx}},
		"in the primary's subnet":                          {called: "192.0.2.7:6443", links: []nic.Link{primary}, files: kubeconfig("https://203.0.113.5:6443")},
		"by a route of its own":                            {called: "198.51.100.7:6443", links: []nic.Link{primary}, files: kubeconfig("https://203.0.113.5:6443")},
		"a name behind it that is not known": {called: "127.0.0.1:6443", files: map[string]string{"/etc/rancher/k3s/config.yaml": "server: https://nowhere.invalid:6443\n",
			"/var/lib/rancher/k3s/agent/etc/k3s-agent-load-balancer.json": `{"ServerAddresses":["203.0.113.5:6443"]}`},
			want: "203.0.113.5:6443 the API server behind the proxy on 127.0.0.1:6443 (/var/lib/rancher/k3s/agent/etc/k3s-agent-load-balancer.json)"},
	} {
		t.Run(title, func(t *testing.T) {
			root := t.TempDir()
			hosttest.Files(t, root, test.files)
			h := &host.Host{Root: root}
			m := &Machine{Host: h, Kubelet: kubelet.New(h)}
			found, whole := m.behind(t.Context(), []server{{netip.MustParseAddrPort(test.called), "the API server"}}, test.links)
			var got []string
			for _, s := range found {
				got = append(got, s.at.String()+" "+s.what)
			}
			if text := strings.Join(got, "\n"); text != test.want || whole == test.again {
				t.Errorf("whole %t, got\n%s\nwant\n%s", whole, text, test.want)
			}
		})
	}
}

// Whoever answers for a name chooses how many addresses it has.
func TestANameWithThousandsOfAddressesHasABound(t *testing.T) {
	var found []server
	for i := range 5000 {
		found = add(found, server{netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 6443), "the API server"})
	}
	if len(found) != maxServers {
		t.Errorf("%d addresses are looked at, want %d", len(found), maxServers)
	}
}
