package intake

import (
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
	"multinicd/test/bed/page"
)

// pagesProvider is the provider of the page.
const pagesProvider = "0c497169-a104-4448-afde-f27b79fca904"

// What docs/publishers.md has people do is done, with curl and kubectl, against a door with TLS; it prints what the page says.
func TestThePageIsTrue(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	const name, host = "viola-page", "viola-api.multinic-system.svc"
	if out, err := c.Apply(t.Context(), replace(publishers, "NAME", name, "PROVIDERS", "["+pagesProvider+"]")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	second := replace(byHand, "NAME", "worker-node-02", "provider-a", pagesProvider)
	head, _, _ := strings.Cut(second, "  specHash:")
	second = head + `  interfaces:
  - {id: 1, portId: port-001-worker-01, macAddress: "02:00:00:00:01:01", address: 192.168.100.10, cidr: 192.168.100.10/24, mtu: 1500}
  - {id: 2, portId: port-002-worker-01, macAddress: "02:00:00:00:01:02", address: 192.168.200.10, cidr: 192.168.200.0/24}
`
	second = strings.Replace(second, "  nodeName", "  instanceId: i-0123456789abcdef1\n  nodeName", 1)
	if out, err := c.Apply(t.Context(), second); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.kubectl("apply", "--server-side", "-f", bed.Path(t, "deploy/publisher.yaml"))
	dir, ca := t.TempDir(), newAuthority(t)
	if err := os.Symlink(bed.Path(t, "examples"), filepath.Join(dir, "examples")); err != nil {
		t.Fatal(err)
	}
	cert, key := ca.signed(host, x509.ExtKeyUsageServerAuth)
	for file, data := range map[string][]byte{"ca.crt": ca.pem(), "tls.crt": cert, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := c.doorWith("https", nil, "--unknown-nodes", "publish", "--tls-cert-file", filepath.Join(dir, "tls.crt"), "--tls-key-file", filepath.Join(dir, "tls.key"))
	_, port, err := net.SplitHostPort(d.Address)
	if err != nil {
		t.Fatal(err)
	}
	var steps []page.Step
	for _, section := range []string{"Without the door", "Try it with curl", "Hand an object over"} {
		steps = append(steps, page.Steps(t, "docs/publishers.md", section)...)
	}
	const mark = "=== end of a step"
	script := fmt.Sprintf("set -e\ncurl() { command curl --connect-to %s:443:127.0.0.1:%s \"$@\"; }\n", host, port)
	for _, s := range steps {
		script += strings.ReplaceAll(s.Script, "create token viola ", "create token "+name+" ") + "echo '" + mark + "'\n"
	}
	bin := t.TempDir()
	if err := os.Symlink(c.KubectlPath(), filepath.Join(bin, "kubectl")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, printed := range strings.Split(string(out), mark+"\n") {
		if i == len(steps) {
			break
		}
		for _, line := range steps[i].Lacking(printed) {
			t.Errorf("the page says that\n%s prints a line\n%s\nit prints\n%s", steps[i].Script, line, printed)
		}
	}
	if o := c.object("worker-node-02"); o.Labels[v1.PublisherLabel] != v1.PublisherIntake || o.Generation != 1 {
		t.Errorf("after the hand-over: labels %v, generation %d", o.Labels, o.Generation)
	}
}
