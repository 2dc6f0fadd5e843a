package credential

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificateOf makes a client certificate of a user, with the key behind or before it, as the
// kubelet has them in one file.
func certificateOf(t testing.TB, user string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: user, Organization: []string{"system:nodes"}}, NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
}

func TestKubeletNode(t *testing.T) {
	kubeconfig := func(user string) string {
		return "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: \"https://192.0.2.1:6443\"}}]\nusers:\n- {name: other, user: {token: x}}\n- {name: u, user: {" + user + "}}\n" +
			"contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n"
	}
	const present = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	node := certificateOf(t, "system:node:worker-1")
	for title, test := range map[string]struct {
		kubeconfig string            // "": there is none
		files      map[string]string // below the host's root
		node, file string
		err        string
	}{
		"no kubeconfig": {},
		"a certificate in a file of the host's, as kubeadm has it": {kubeconfig: kubeconfig("client-certificate: " + present), files: map[string]string{present: node}, node: "worker-1", file: present},
		"one that is named from the kubeconfig":                    {kubeconfig: kubeconfig("client-certificate: pki/node.pem"), files: map[string]string{"/etc/kubernetes/pki/node.pem": node}, node: "worker-1", file: "pki/node.pem"},
		"a certificate in the kubeconfig":                          {kubeconfig: kubeconfig("client-certificate-data: " + base64.StdEncoding.EncodeToString([]byte(node))), node: "worker-1", file: "kubelet.conf"},
		"a kubelet that has not joined yet":                        {kubeconfig: kubeconfig("client-certificate: " + present)},
		"a token":                                                  {kubeconfig: kubeconfig("token: abc")},
		"the certificate of an administrator":                      {kubeconfig: kubeconfig("client-certificate: " + present), files: map[string]string{present: certificateOf(t, "kubernetes-admin")}},
		"a file that is no certificate":                            {kubeconfig: kubeconfig("client-certificate: " + present), files: map[string]string{present: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, err: present},
		"a kubeconfig that is none":                                {kubeconfig: "a: [", err: "kubelet.conf"},
		"one that is too large":                                    {kubeconfig: kubeconfig("client-certificate: " + present), files: map[string]string{present: strings.Repeat("x", maxKubelet+1)}, err: "bytes"},
	} {
		t.Run(title, func(t *testing.T) {
			root := t.TempDir()
			file := filepath.Join(root, "etc/kubernetes/kubelet.conf")
			write := func(name, text string) {
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if test.kubeconfig != "" {
				write(file, test.kubeconfig)
			}
			for name, text := range test.files {
				write(filepath.Join(root, name), text)
			}
			name, from, err := KubeletNode(file, func(f string) string { return filepath.Join(root, f) })
			if name != test.node || !strings.HasSuffix(from, test.file) || (from == "") != (test.file == "") {
				t.Errorf("got %q of %q, want %q of %q", name, from, test.node, test.file)
			}
			if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got error %v, want %q in it", err, test.err)
			}
		})
	}
}

func TestTokenNode(t *testing.T) {
	token := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln\n"
	}
	for text, want := range map[string]string{
		token(`{"sub":"system:serviceaccount:multinic-nodes:multinic-node-worker-1.novalocal"}`): "worker-1.novalocal",
		token(`{"sub":"system:serviceaccount:multinic-nodes:multinic-join-worker-1"}`):           "",
		token(`{"sub":"system:serviceaccount:default:multinic-node-worker-1"}`):                  "",
		token(`{"sub":7}`): "",
		"abc":              "",
		"a.%.b":            "",
	} {
		if got := TokenNode(text); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
