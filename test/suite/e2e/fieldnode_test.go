package e2e

import (
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// Where the node's address stands, by root's word: the link that has it is what the node lives by,
// although the default route is another link's.
func TestTheNodesAddressIsWhereItsAgentsHaveIt(t *testing.T) {
	t.Parallel()
	const object, address = "192.168.100.10/24", "192.168.100.7" // on the link that the object names by mistake
	n := fileNode(t, bed.New(t), testhost.Options{}, nil)
	n.must("sh", "-ec", "ip link set eth1 up; ip address add "+address+"/24 dev eth1")
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
