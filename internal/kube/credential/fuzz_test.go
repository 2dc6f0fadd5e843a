package credential

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzKubeconfig: whatever stands in a kubeconfig, ours or the kubelet's, and in the certificate that
// it names, there is a credential for an https:// URL or an error, and neither has the token.
func FuzzKubeconfig(f *testing.F) {
	head := "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: \"https://192.0.2.1:6443\"}}]\n"
	f.Add([]byte(head+"users: [{name: u, user: {token: fuzz-secret-token}}]\n"), []byte(nil))
	f.Add([]byte(head+"users: [{name: u, user: {client-certificate: node.pem}}]\n"), []byte(certificateOf(f, "system:node:worker-1")))
	f.Add([]byte(head+"users: [{name: u, user: {client-certificate: node.pem}}]\n"), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte(head+"users: [{name: u, user: {exec: {command: /bin/sh, apiVersion: client.authentication.k8s.io/v1}}}]\n"), []byte(nil))
	f.Add([]byte(strings.Replace(head, "https", "http", 1)+"users: [{name: u, user: {username: a, password: b}}]\n"), []byte(nil))
	f.Add([]byte("a: &a [*a]\nusers: {\n"), []byte("\x00"))
	f.Fuzz(func(t *testing.T, config, certificate []byte) {
		dir := t.TempDir()
		name := filepath.Join(dir, "kubelet.conf")
		for file, data := range map[string][]byte{name: config, filepath.Join(dir, "node.pem"): certificate} {
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		node, file, err := KubeletNode(name, func(string) string { return filepath.Join(dir, "node.pem") })
		if (node == "") != (file == "") || err != nil && node != "" {
			t.Errorf("the node is %q by %q, %v", node, file, err)
		}
		c, err := FromKubeconfig(name)
		if err == nil {
			if d := unlike(name, c, nil); d != "" {
				t.Error(d)
			}
		}
		switch {
		case err != nil:
			if strings.Contains(err.Error(), "fuzz-secret-token") {
				t.Errorf("the error has the token: %v", err)
			}
		case c.Server == nil || c.Server.Scheme != "https" || c.Server.Hostname() == "" || strings.HasSuffix(c.Server.Path, "/") || c.Token == nil || c.TLS.Insecure:
			t.Errorf("the credential is %+v", c)
		}
	})
}
