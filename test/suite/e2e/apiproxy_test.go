package e2e

import (
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// The node calls the API server at 127.0.0.1, where a proxy holds the connections to the real one, as on kubespray, k3s and RKE2. A route
// that would draw these to a NIC is refused beforehand, and nothing is touched.
func TestTheAPIServerBehindAProxyOnTheHostIsNotCutOff(t *testing.T) {
	t.Parallel()
	rows := []struct {
		node, file, text, says string
	}{
		{"proxied-by-nginx", "/etc/nginx/nginx.conf", "stream {\n  upstream kube_apiserver {\n    server REAL;\n  }\n  server {\n    listen 127.0.0.1:6443;\n    proxy_pass kube_apiserver;\n  }\n}\n", "/etc/nginx/nginx.conf"},
		{"proxied-by-somebody", "", "", "a connection of root's"},
	}
	for _, row := range rows {
		t.Run(row.node, func(t *testing.T) {
			t.Parallel()
			b := bed.New(t)
			c := newCluster(t, b)
			real := strings.TrimPrefix(b.APIBehind().URL(), "https://")
			n := &node{Node: c.Member(testhost.Options{Name: row.node}, settings(row.node, "")), t: t, bed: b}
			n.file("/etc/systemd/system/apiproxy.socket", "[Socket]\nListenStream=127.0.0.1:6443\n")
			n.file("/etc/systemd/system/apiproxy.service", "[Service]\nExecStart=/lib/systemd/systemd-socket-proxyd "+real+"\n")
			n.file("/var/lib/multinicd/credential/server", "https://127.0.0.1:6443\n")
			if row.file != "" {
				n.file(row.file, strings.ReplaceAll(row.text, "REAL", real))
			}
			n.must("sh", "-ec", "systemctl daemon-reload; systemctl start apiproxy.socket")
			if err := n.StartDaemon(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.Want(object(row.node, nicYAML(1, mac1, "192.168.100.10/24")))
			n.wantNICs("multinic1 Configured Configured")
			n.quiet()
			kernel, err := n.MonitorKernel()
			if err != nil {
				t.Fatal(err)
			}
			defer kernel.Stop()
			network := testhost.Behind.String() + "/32"
			c.Want(object(row.node, nicYAML(1, mac1, "192.168.100.10/24", "routes: [{to: "+network+", via: 192.168.100.1}]")))
			n.wantNICs("multinic1 Failed CutsAPIPath")
			s, err := n.status()
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range []string{testhost.Behind.String(), "behind the proxy on 127.0.0.1:6443 (" + row.says + ")"} {
				if got := s.NICs[0].Message; !strings.Contains(got, part) {
					t.Errorf("the message is %q, want %q in it", got, part)
				}
			}
			c.wantState(row.node, "Failed", "0/1") // which went by the proxy
			events, err := kernel.Events()
			if err != nil || len(events) > 0 {
				t.Errorf("something was touched: %v %v", events, err)
			}
			n.wantLink(mac1, "multinic1 up mtu 1500 192.168.100.10/24")
		})
	}
}
