// Package join proves, with a real API server, a real bridge and real hosts, how a node comes by its credential, keeps it,
// loses it, and what it does then.
//
// In go the product as it is installed: both programs, the unit, the manifests. Out come hosts that have joined or been
// refused, and the certainty that no token was printed anywhere.
//
// It must not give a host anything that a user would not: no credential is put on one by hand.
//
// Start reading at TestANodeJoinsByAToken.
package join

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"multinicd/internal/daemon/status"
	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/testhost"
)

func TestMain(m *testing.M) { os.Exit(bed.Main(m, installed.Close)) }

const (
	mac        = installed.MAC1
	credential = "/var/lib/multinicd/credential"
)

// cluster is the shared control plane with the product in it.
type cluster struct {
	*installed.Cluster
	t   *testing.T
	bed *bed.Bed
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	b := bed.New(t)
	return &cluster{Cluster: installed.NewCluster(t, b), t: t, bed: b}
}

// publish makes the node's object, with one NIC.
func (c *cluster) publish(node, cidr string) {
	c.t.Helper()
	c.Want(installed.Object(node, installed.Entry(1, mac, cidr)))
}

// makeNode makes a Node as a kubelet would register it.
func (c *cluster) makeNode(node string) {
	c.t.Helper()
	c.Want(fmt.Sprintf("{apiVersion: v1, kind: Node, metadata: {name: %s}}", node))
}

// gone waits until there is nothing at a path any more.
func (c *cluster) gone(path string) {
	c.t.Helper()
	bed.Eventually(c.t, path, "", func() string {
		out, err := c.Print(c.t.Context(), path, "{.metadata.name}")
		if err != nil {
			return err.Error()
		}
		return out
	})
}

// requestOf is the path of the request that a node makes to join.
func requestOf(node string) string {
	return "/apis/multinic.io/v1/namespaces/multinic-nodes/nodetokenrequests/" + node
}

// state waits for the state of the node's object.
func (c *cluster) state(node, want string) {
	c.t.Helper()
	bed.Eventually(c.t, "the object of "+node, want, func() string { return c.State(node) })
}

// bridgeCommand runs multinic-bridge with an administrator's access, on this machine, and gives all that it says.
func (c *cluster) bridgeCommand(args ...string) string {
	c.t.Helper()
	out, errs, err := c.RunBridge(args...)
	if err != nil {
		c.t.Fatalf("multinic-bridge %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out + errs
}

// bridgeOutput is bridgeCommand for its standard output alone.
func (c *cluster) bridgeOutput(args ...string) string {
	c.t.Helper()
	out, errs, err := c.RunBridge(args...)
	if err != nil {
		c.t.Fatalf("multinic-bridge %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out
}

// bridgeCommandFails is bridgeCommand of what must not work.
func (c *cluster) bridgeCommandFails(args ...string) string {
	c.t.Helper()
	out, errs, err := c.RunBridge(args...)
	if err == nil {
		c.t.Errorf("multinic-bridge %s: it worked", strings.Join(args, " "))
	}
	return out + errs
}

// node is a host with multinicd on it, idle.
type node struct {
	*installed.Node
	c      *cluster
	name   string
	tokens map[string]bool // every one that was ever seen on it
	said   strings.Builder // what its programs printed
}

func (c *cluster) newNode(name string) *node {
	c.t.Helper()
	n := &node{c: c, name: name, tokens: map[string]bool{}}
	n.Node = installed.New(c.t, c.bed, testhost.Options{Name: name, NICs: bed.NICs(mac)}, installed.Settings(name, "", "off"))
	if err := n.StartDaemon(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(n.wantNoSecrets)
	return n
}

// run runs a command on the host, and gives its exit code and all that it says.
func (n *node) run(argv ...string) (int, string) {
	n.c.t.Helper()
	out, err := n.Command(context.WithoutCancel(n.c.t.Context()), argv...).CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		n.c.t.Fatalf("%s: %v", strings.Join(argv, " "), err)
	}
	fmt.Fprintf(&n.said, "$ %s\n%s\n", strings.Join(argv, " "), out)
	if failed != nil {
		return failed.ExitCode(), string(out)
	}
	return 0, string(out)
}

func (n *node) must(argv ...string) string {
	n.c.t.Helper()
	code, out := n.run(argv...)
	if code != 0 {
		n.c.t.Fatalf("%s: %s ended with %d:\n%s", n.name, strings.Join(argv, " "), code, out)
	}
	return out
}

// token notes the token that the node has now, and gives it.
func (n *node) token() string {
	n.c.t.Helper()
	text, err := n.ReadFile(credential + "/token")
	if err != nil {
		n.c.t.Fatal(err)
	}
	t := strings.TrimSpace(string(text))
	n.tokens[t] = true
	return t
}

func (n *node) status() status.Node {
	n.c.t.Helper()
	var s status.Node
	out, err := n.Run(n.c.t.Context(), "multinicd", "status", "-o", "json")
	n.said.WriteString(out)
	if err == nil {
		err = json.Unmarshal([]byte(out), &s)
	}
	if err != nil {
		s.Message = err.Error() // it is being started
	}
	return s
}

// joinNeeded is what status says of it.
func (n *node) joinNeeded() string {
	if c := n.status().Credential; c != nil {
		return c.JoinNeeded
	}
	return ""
}

// address waits for the node's one NIC to have what is wanted.
func (n *node) address(want string) {
	n.c.t.Helper()
	bed.Eventually(n.c.t, n.name+": multinic1", want, func() string {
		out, err := n.Run(n.c.t.Context(), "sh", "-c", "ip -4 -brief address show dev multinic1 | tr -s ' ' | cut -d' ' -f3")
		if err != nil {
			return ""
		}
		return strings.TrimSpace(out)
	})
}

// contains waits until a text has a part.
func contains(t *testing.T, what, part string, get func() string) {
	t.Helper()
	bed.Eventually(t, what, "it says "+part, func() string {
		if got := get(); !strings.Contains(got, part) {
			return got
		}
		return "it says " + part
	})
}

// ask asks the API server for something with a token, and gives the status of its answer.
func (c *cluster) ask(token string) string {
	cfg := c.Config()
	cfg.CertData, cfg.KeyData, cfg.BearerToken = nil, nil, token
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.URL+"/api", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	return resp.Status
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// splitCertificate takes the client certificate out of a kubeconfig into a file, as kubelet-client-current.pem is one, and
// gives the files by their paths on the host.
func splitCertificate(t *testing.T, path string) map[string][]byte {
	t.Helper()
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const pem, ca = "/var/lib/kubelet/pki/kubelet-client-current.pem", "/etc/kubernetes/pki/ca.crt"
	files := map[string][]byte{}
	for _, u := range config.AuthInfos {
		files[pem] = append(append([]byte{}, u.ClientCertificateData...), u.ClientKeyData...)
		u.ClientCertificateData, u.ClientKeyData = nil, nil
		u.ClientCertificate, u.ClientKey = pem, pem
	}
	for _, c := range config.Clusters {
		files[ca] = c.CertificateAuthorityData
		c.CertificateAuthorityData, c.CertificateAuthority = nil, ca
	}
	text, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	files["/etc/kubernetes/kubelet.conf"] = text
	return files
}
