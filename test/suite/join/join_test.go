package join

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// kubelet puts a kubelet's kubeconfig and client certificate on the host, as kubeadm does.
func (n *node) kubelet() {
	n.c.t.Helper()
	path := filepath.Join(n.c.t.TempDir(), "kubelet.conf")
	if err := n.c.WriteKubeconfig(path, n.c.bed.API().URL(), "system:node:"+n.name, "system:nodes"); err != nil {
		n.c.t.Fatal(err)
	}
	text := splitCertificate(n.c.t, path)
	for name, data := range text {
		if err := n.WriteFile(name, data, 0o600); err != nil {
			n.c.t.Fatal(err)
		}
	}
}

// joinFile makes a join token and puts its file on the host; it gives the command that joins with it.
func (n *node) joinFile(more ...string) []string {
	n.c.t.Helper()
	local := filepath.Join(n.c.t.TempDir(), "join")
	line := n.c.bridgeCommand(append([]string{"token", "create", "--node", n.name, "--server", n.c.bed.API().URL(), "--output-file", local}, more...)...)
	n.said.WriteString(line)
	data := readFile(n.c.t, local)
	file, err := v1.ParseJoinFile(data)
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.tokens[file.Token] = true
	hash, err := file.CAHash()
	if err != nil {
		n.c.t.Fatal(err)
	}
	if !strings.Contains(line, hash) || !strings.Contains(line, "multinicd join --server "+n.c.bed.API().URL()) {
		n.c.t.Errorf("token create printed no line to join with:\n%s", line)
	}
	if err := n.WriteFile("/root/join", data, 0o600); err != nil {
		n.c.t.Fatal(err)
	}
	return []string{"multinicd", "join", "--server", n.c.bed.API().URL(), "--token-file", "/root/join", "--ca-hash", hash}
}

// heard is a server of nothing, which counts who calls it.
func (c *cluster) heard() (url string, calls func() int) {
	c.t.Helper()
	var listener net.Listener
	err := c.bed.World.Inside(func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(testhost.Gateway.String(), "7443"))
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	var n atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			conn.Close()
		}
	}()
	c.t.Cleanup(func() { listener.Close(); <-done })
	return "https://" + listener.Addr().String(), func() int { return int(n.Load()) }
}

// revoke ends every token of the node, and sees that the API server refuses the one that it has.
func (n *node) revoke() {
	n.c.t.Helper()
	old := n.token()
	n.said.WriteString(n.c.bridgeCommand("token", "revoke", "--node", n.name))
	n.refused(old)
}

// refused waits until the API server refuses a token of the node, which has ended. Then it breaks the open watch: the API server authorises that
// when it begins, so that the node would notice with the next renewal of its Lease, or at the watch's end after some minutes.
func (n *node) refused(old string) {
	n.c.t.Helper()
	bed.Eventually(n.c.t, "the API server's answer to the ended token", "401 Unauthorized", func() string { return n.c.ask(old) })
	n.c.bed.API().Cut(n.Host)
	n.c.bed.API().Heal(n.Host)
}

func TestANodeJoinsByAToken(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.newNode("by-token")
	c.publish(n.name, "10.1.1.1/24")
	if code, out := n.run("multinicd", "join"); code != 2 {
		t.Errorf("without an argument it ended with %d:\n%s", code, out)
	}
	join := n.joinFile()
	// With another hash it does not even call the server; with the right one it does.
	url, calls := c.heard()
	wrong := []string{"multinicd", "join", "--server", url, "--token-file", "/root/join", "--ca-hash", "sha256:" + strings.Repeat("0", 64), "--timeout", "3s"}
	if code, out := n.run(wrong...); code != 1 || !strings.Contains(out, "not the file that was made with this line") {
		t.Errorf("with another hash it ended with %d:\n%s", code, out)
	}
	if got := calls(); got != 0 {
		t.Errorf("with another hash it called the server %d times", got)
	}
	wrong[7] = join[len(join)-1]
	if code, out := n.run(wrong...); code != 1 || calls() == 0 {
		t.Errorf("a server of nothing was called %d times, and it ended with %d:\n%s", calls(), code, out)
	}
	n.must(join...)
	n.token()
	n.address("10.1.1.1/24") // the running daemon has taken it up
	c.state(n.name, "Configured 1/1")
	n.wantModes()
	c.gone(requestOf(n.name))
	bed.Eventually(t, "the credential that status shows", "whole", func() string { // what keeps it tells by itself, beside the NICs
		if c := n.status().Credential; c == nil || c.Door != string(v1.DoorJoinToken) || c.Ends.IsZero() || c.Renewal.IsZero() {
			return fmt.Sprintf("%+v", c)
		}
		return "whole"
	})
	contains(t, "status", "credential by a join token, ends ", func() string { return n.must("multinicd", "status", "-v") })
	n.wantRenewal("Secret")
	// It was good for one join.
	code, out := n.run(join...)
	if code != 1 || !strings.Contains(out, "the join token") || !strings.Contains(out, "has been used, revoked or has ended") {
		t.Errorf("a second time it ended with %d:\n%s", code, out)
	}
	n.address("10.1.1.1/24")

	// Another machine of the same name does not get in, but with --replace.
	if got := n.c.bridgeCommandFails("token", "create", "--node", n.name, "--server", c.bed.API().URL(), "--output-file", filepath.Join(t.TempDir(), "join")); !strings.Contains(got, "--replace") {
		t.Errorf("a second token was made: %s", got)
	}

	// Deleted while the node is away: it comes back, sees that, reports, and only then loses its credential.
	token := n.token()
	c.bed.API().Cut(n.Host)
	c.Must("delete", "mnnc", n.name, "-n", "multinic-system")
	n.must("systemctl", "restart", "multinicd")
	n.address("10.1.1.1/24")
	if got := c.Must("get", "serviceaccount", "multinic-node-"+n.name, "-n", "multinic-nodes", "-o", "name"); got == "" {
		t.Error("the node has lost its identity before it could know")
	}
	c.bed.API().Heal(n.Host)
	bed.Eventually(t, "state", "Removed", func() string { return n.status().State })
	c.gone("/api/v1/namespaces/multinic-nodes/serviceaccounts/multinic-node-" + n.name)
	n.refused(token)
	contains(t, "status", "multinicd join", n.joinNeeded)
	contains(t, "STATUS=", v1.ReasonJoinNeeded, func() string { return n.must("systemctl", "show", "-P", "StatusText", "multinicd") })
	if got := strings.Count(n.Journal(t.Context()), "takes the node's token no more; the last known good"); got != 1 {
		t.Errorf("the journal says it %d times", got)
	}
	n.address("10.1.1.1/24") // on_delete = "retain"

	// And in again.
	c.publish(n.name, "10.1.1.2/24")
	n.must(n.joinFile("--replace")...)
	n.address("10.1.1.2/24")
	bed.Eventually(t, "JoinNeeded", "", n.joinNeeded)
}

func TestANodeJoinsByItsKubeletAndComesBackByItself(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.newNode("by-kubelet")
	c.makeNode(n.name)
	c.publish(n.name, "10.2.2.1/24")
	if code, out := n.run("multinicd", "join", "--kubelet"); code != 1 || !strings.Contains(out, "/etc/kubernetes/kubelet.conf") {
		t.Errorf("without a kubelet it ended with %d:\n%s", code, out)
	}
	n.kubelet()
	n.must("multinicd", "join", "--kubelet")
	first := n.token()
	n.address("10.2.2.1/24")
	c.state(n.name, "Configured 1/1")
	n.wantModes()
	c.gone(requestOf(n.name))

	n.wantRenewal("Node")

	// Revoked: it is refused, and comes back through its kubelet.
	n.revoke()
	bed.Eventually(t, "the token", "another", func() string {
		if n.token() != first {
			return "another"
		}
		return "the first"
	})
	c.publish(n.name, "10.2.2.2/24")
	n.address("10.2.2.2/24")
	c.state(n.name, "Configured 1/1")
	bed.Eventually(t, "JoinNeeded", "", n.joinNeeded)

	// The request of a node's name from another node is refused, and said why.
	other := c.newNode("by-kubelet-other")
	c.makeNode(other.name)
	other.kubelet()
	if code, out := other.run("multinicd", "--node", n.name, "join", "--kubelet"); code != 1 || !strings.Contains(out, "by the node whose name it bears") {
		t.Errorf("for another node it ended with %d:\n%s", code, out)
	}
}

func TestARevokedNodeWithoutAKubeletKeepsItsNICs(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.newNode("revoked")
	c.publish(n.name, "10.3.3.1/24")
	n.cloudInit(c.bridgeOutput("token", "create", "--node", n.name, "--server", c.bed.API().URL()))
	n.address("10.3.3.1/24")
	c.state(n.name, "Configured 1/1")
	n.token()
	if got := n.must("sh", "-c", "ls /run/multinicd-join 2>&1 || true"); !strings.Contains(got, "No such file") {
		t.Errorf("the join file is left: %s", got)
	}
	n.revoke()
	contains(t, "status", "multinicd join", n.joinNeeded)
	n.must("ip", "address", "flush", "dev", "multinic1", "scope", "global") // it still repairs
	n.address("10.3.3.1/24")
	if err := n.Reboot(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	n.address("10.3.3.1/24")
	contains(t, "status", "multinicd join", n.joinNeeded)
}
