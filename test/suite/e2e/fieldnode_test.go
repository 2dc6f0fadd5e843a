package e2e

import (
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/product"
	"multinicd/test/bed/testhost"
)

// Where the node's address stands, by root's word: the link that has it is what the node lives by,
// although the default route is another link's.
func TestTheNodesAddressIsWhereItsAgentsHaveIt(t *testing.T) {
	t.Parallel()
	const object, address = "192.168.100.10/24", "192.168.100.7" // on the link that the object names by mistake
	n := fileNode(t, bed.New(t), testhost.Options{}, nil)
	n.must("sh", "-ec", "ip link set eth1 up; ip address add "+address+"/24 dev eth1")
	n.eventually("addresses that the kernel still checks", "", n.tentative)
	wish := nodeObject(nicYAML(1, mac1, object, "adopt: true"))
	for _, c := range []struct{ name, file, text string }{
		{"k3s' unit, on two lines", "/etc/systemd/system/k3s-agent.service", "[Service]\nExecStart=/usr/local/bin/k3s \\\n    agent \\\n        '--node-ip' \\\n        '" + address + "' \\\n\n"},
		{"k3s' unit, in a word", "/etc/systemd/system/k3s.service", "[Service]\nExecStart=/usr/local/bin/k3s \\\n    server \\\n        '--node-ip=" + address + "' \\\n\n"},
		{"k3s' folder of configuration", "/etc/rancher/k3s/config.yaml.d/10.yaml", "node-ip: " + address + "\n"},
		{"k3s' list", "/etc/rancher/k3s/config.yaml", "node-ip:\n  - " + address + "\n"},
		{"RKE2's folder of configuration", "/etc/rancher/rke2/config.yaml.d/20-ip.yaml", "node-ip: \"" + address + "\"\n"},
		{"MicroK8s", "/var/snap/microk8s/current/args/kubelet", "--kubeconfig=${SNAP_DATA}/credentials/kubelet.config\n--node-ip=" + address + "\n"},
		{"kubeadm", "/var/lib/kubelet/kubeadm-flags.env", "KUBELET_KUBEADM_ARGS=\"--node-ip=" + address + "\"\n"},
	} {
		n.file(c.file, c.text)
		before := n.must("sh", "-c", "ip address show eth1; ip route")
		n.file(objectFile, wish)
		code, out := n.exit("multinicd", "apply", "-f", objectFile)
		if code != exitRefused || !strings.Contains(out, "ProtectedLink") || !strings.Contains(out, address) {
			t.Errorf("%s: exit %d, want a link that is protected since it has %s:\n%s", c.name, code, address, out)
		}
		if after := n.must("sh", "-c", "ip address show eth1; ip route"); code == exitRefused && after != before {
			t.Errorf("%s: refused, but it is\n%s\nwas\n%s", c.name, after, before)
		}
		if code != exitRefused { // for the rows to come
			n.must("multinicd", "cleanup")
			n.must("sh", "-ec", "ip link set eth1 up; ip address replace "+address+"/24 dev eth1")
		}
		if err := n.Remove(c.file); err != nil {
			t.Fatal(err)
		}
	}

	// A Pod's process that calls itself kubelet says nothing: it is not the host's service.
	n.must("systemd-run", "--quiet", "--unit=pod", "--slice=kubepods.slice", "bash", "-c", "exec -a kubelet bash -c 'sleep 600; true' pod --node-ip="+address)
	n.eventually("the Pod's process", "1", func() string {
		return strings.TrimSpace(n.must("sh", "-c", "ps -ww -e -o args | grep -c '^kubelet .*node-ip' || true"))
	})
	n.apply(exitDone, wish)
	n.wantLink(mac1, "multinic1 up mtu 1500 "+object)
}

// A node calls its API server by a proxy of its own on loopback (kubespray, RKE2, k3s): the way
// that counts is the one to the servers behind.
func TestTheAPIServerBehindAProxyOnLoopback(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	c := newCluster(t, b)
	b.APIBehind()
	const name = "proxied"
	n := newNode(t, b, testhost.Options{Name: name, NICs: bed.NICs(mac1, mac2)}, settings(name, ""))
	n.file("/etc/systemd/system/nginx-proxy.socket", "[Socket]\nListenStream=127.0.0.1:6443\n")
	n.file("/etc/systemd/system/nginx-proxy.service", "[Unit]\nRequires=nginx-proxy.socket\n[Service]\nExecStart=/lib/systemd/systemd-socket-proxyd "+testhost.Behind.String()+":6443\n")
	n.must("sh", "-ec", "systemctl daemon-reload; systemctl start nginx-proxy.socket")
	if err := product.Join(t.Context(), c.Cluster.Cluster, n.Host, name, "https://127.0.0.1:6443"); err != nil {
		t.Fatal(err)
	}
	if err := n.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := nicYAML(2, mac2, "192.168.200.10/24")
	for _, first := range []string{
		nicYAML(1, mac1, "192.168.100.10/24", "routes: [{to: 203.0.113.0/24, via: 192.168.100.1}]"),
		nicYAML(1, mac1, "203.0.113.50/24"),
		nicYAML(1, mac1, "203.0.113.50/24", "adopt: true"),
	} {
		c.Want(object(name, first, second))
		c.wantState(name, "Failed", "1/2")
		if got := c.get(name, "{.status.interfaceStatuses[0].reason}"); got != "CutsAPIPath" {
			t.Errorf("%s: the reason is %s", first, got)
		}
		if got := n.way(); got != n.Primary {
			t.Errorf("%s: the way to the API server is by %s", first, got)
		}
		n.wantLink(mac1, "eth1 down mtu 1500")
	}
	// And it may be configured where nothing is drawn away.
	c.Want(object(name, nicYAML(1, mac1, "192.168.100.10/24"), second))
	c.wantState(name, "Configured", "2/2")
}

// A process says what the node's address is if it runs in the kubelet's own service. Whatever else calls itself kubelet says nothing.
func TestAProcessThatIsCalledKubeletCountsInItsServiceAlone(t *testing.T) {
	t.Parallel()
	const address = "192.168.100.7"
	n := fileNode(t, bed.New(t), testhost.Options{}, nil)
	n.must("sh", "-ec", "cp /bin/sh /usr/local/bin/kubelet; ip link set eth1 up; ip address add "+address+"/24 dev eth1")
	n.file(objectFile, nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "adopt: true")))
	for _, c := range []struct {
		unit, uid string
		protected bool
	}{{"pretender", "root", false}, {"kubelet", "nobody", false}, {"kubelet", "root", true}} {
		n.must("systemd-run", "--collect", "--unit="+c.unit, "--uid="+c.uid, "/usr/local/bin/kubelet", "-c", "sleep infinity; :", "kubelet", "--node-ip="+address)
		n.eventually("the process", "kubelet", func() string {
			return strings.TrimSpace(n.must("sh", "-c", "cat /proc/$(systemctl show -P MainPID "+c.unit+")/comm"))
		})
		_, out := n.exit("multinicd", "plan", "-f", objectFile)
		if got := strings.Contains(out, "ProtectedLink"); got != c.protected || c.protected && !strings.Contains(out, "(kubelet of kubelet.service)") {
			t.Errorf("in %s.service, as %s: want the link protected: %t\n%s", c.unit, c.uid, c.protected, out)
		}
		n.must("systemctl", "stop", c.unit)
	}
}
