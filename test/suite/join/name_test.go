package join

import (
	"strings"
	"testing"

	"multinicd/test/bed/installed"
)

// OpenStack calls the host worker-node-01.novalocal, and its Node is worker-node-01.
func TestAHostWithAnotherNameThanItsNodeJoinsAsTheNode(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	const name, host = "worker-node-01", "worker-node-01.novalocal"
	c.makeNode(name)
	n := c.newNode(name)
	config := installed.Settings(name, "", "off")
	configure := func(node string) {
		t.Helper()
		text := strings.ReplaceAll(config, `node = "`+name+`"`, `node = "`+node+`"`)
		if err := n.WriteFile("/etc/multinicd/multinicd.toml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		n.must("systemctl", "restart", "multinicd")
	}
	called := func() string { s := n.status(); return s.Node + ": " + s.NodeEvidence }
	n.must("sh", "-ec", "echo "+host+" >/etc/hostname; hostname "+host)
	configure("")
	contains(t, "the name before the kubelet has joined", host+": the host's name", called)

	// The certificate says what the cluster calls the machine, and the daemon takes it up with the credential.
	n.kubelet()
	if out := n.must("multinicd", "join", "--kubelet"); !strings.HasPrefix(out, name+" has joined by ") {
		t.Errorf("join says %q", out)
	}
	contains(t, "the name afterwards", name+": the kubelet's client certificate in /var/lib/kubelet/pki/kubelet-client-current.pem", called)
	n.token()
	c.publish(name, "192.168.100.10/24")
	n.address("192.168.100.10/24")
	c.state(name, "Configured 1/1")
	if doubt := n.status().NodeDoubt; doubt != "" {
		t.Errorf("in doubt: %s", doubt)
	}

	// A name that the token is not good for is said at once.
	configure(host)
	contains(t, "what speaks against another name", "is node "+name+"'s", func() string { return n.status().NodeDoubt })
	contains(t, "the log", "the node's name is in doubt", func() string { return n.Journal(t.Context()) })
	if code, out := n.run("multinicd", "doctor"); code != 1 || !strings.Contains(out, "node-name") || !strings.Contains(out, `set node = "`+name+`"`) {
		t.Errorf("doctor ended with %d:\n%s", code, out)
	}
}
