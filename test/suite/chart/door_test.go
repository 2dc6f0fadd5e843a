package chart

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/product"
)

const (
	doorHost     = "viola-api." + system + ".svc"
	doorSelector = "labelSelector=app.kubernetes.io%2Fname%3Dmultinic-intake"
	// examplesProvider is the provider of examples/worker-node-01.yaml.
	examplesProvider = "0c497169-a104-4448-afde-f27b79fca904"
)

// door opens the door as docs/publishers.md says, on a node whose object somebody else has made.
func (c *cluster) door() {
	undisturbed := c.undisturbed()
	first, second := newCertificate(c.t), newCertificate(c.t)
	c.kubectl(append([]string{"create", "secret", "tls", "viola-api-tls", "-n", system}, first.files...)...)
	c.runHelm("upgrade", "multinic", "charts/multinic", "--namespace", system, "--reset-then-reuse-values", "--wait", "--timeout", "3m",
		"--set", "intake.enabled=true", "--set", "intake.publishers[0].name=viola", "--set", "intake.publishers[0].providers[0]="+examplesProvider)
	pods := c.doorPods()
	if len(pods) != 2 {
		c.t.Fatalf("the Pods of the door are %q, want two that are ready", pods)
	}
	for _, endpoint := range c.doorEndpoints() {
		if status, said := c.askDoor(endpoint, first, http.MethodGet, "/healthz", "", nil); status != http.StatusOK || said != "ok" {
			c.t.Errorf("%s says of its health %d %s", endpoint, status, said)
		}
	}
	token, err := product.Token(c.t.Context(), c.Cluster, system, "viola", v1.IntakeAudience)
	if err != nil {
		c.t.Fatal(err)
	}
	was := c.object()
	nics := slices.Clone(was.Spec.Interfaces)
	publish := func(shown certificate, want int, text string) {
		c.t.Helper()
		status, said := c.askDoor(c.doorEndpoints()[0], shown, http.MethodPost, "//v1/k8s/multinic/node-configs", token, []map[string]any{{"nodeName": c.name, "interfaces": nics}})
		if status != want || !strings.Contains(said, text) {
			c.t.Fatalf("the door answers %d %s, want %d %s", status, said, want, text)
		}
	}
	publish(first, http.StatusUnprocessableEntity, `"code":"NotOurs"`)
	c.kubectl("annotate", "mnnc", "-n", system, c.name, v1.HandOverAnnotation+"="+v1.PublisherIntake)
	publish(first, http.StatusOK, `"status":"changed"`)
	if is := c.object(); is.Generation != was.Generation || is.Labels[v1.PublisherLabel] != v1.PublisherIntake {
		c.t.Errorf("after the hand-over: generation %d, was %d, labels %v", is.Generation, was.Generation, is.Labels)
	}
	undisturbed()
	for i := range nics {
		nics[i].MTU = new(int32(1450))
	}
	publish(first, http.StatusOK, `"status":"changed"`)
	c.hasMTU(1450)
	c.configured()

	// cert-manager, or a person, renews the certificate.
	secret := c.kubectl(append([]string{"create", "secret", "tls", "viola-api-tls", "-n", system, "--dry-run=client", "-o", "yaml"}, second.files...)...)
	if out, err := c.Apply(c.t.Context(), secret, "--server-side", "--force-conflicts"); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	// A kubelet looks at a Secret now and then, and at once when something about the Pod has changed.
	c.kubectl("annotate", "pods", "-n", system, "-l", "app.kubernetes.io/name=multinic-intake", "example.com/look=now")
	eventually(c.t, "every replica shows the new certificate", func(ctx context.Context) string {
		for _, endpoint := range c.doorEndpoints() {
			if _, err := c.tryDoor(ctx, endpoint, second, http.MethodGet, "/healthz", "", nil); err != nil {
				return fmt.Sprintf("%s: %v", endpoint, err)
			}
		}
		return ""
	})
	publish(second, http.StatusOK, `"status":"unchanged"`)
	if now := c.doorPods(); !slices.Equal(now, pods) {
		c.t.Errorf("the Pods were %q, now they are %q", pods, now)
	}
}

// doorPods are the Pods of the door that are ready, with how often each was restarted.
func (c *cluster) doorPods() []string {
	c.t.Helper()
	var list corev1.PodList
	c.get("/api/v1/namespaces/"+system+"/pods?"+doorSelector, &list)
	var out []string
	for _, p := range list.Items {
		if s := p.Status.ContainerStatuses; len(s) == 1 && s[0].Ready {
			out = append(out, fmt.Sprintf("%s %s, %d restarts", p.Name, p.UID, s[0].RestartCount))
		}
	}
	slices.Sort(out)
	return out
}

// doorEndpoints are where kube-proxy would lead those who call the Service: no kube-proxy runs here.
func (c *cluster) doorEndpoints() []string {
	c.t.Helper()
	var list discoveryv1.EndpointSliceList
	c.get("/apis/discovery.k8s.io/v1/namespaces/"+system+"/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dviola-api", &list)
	var out []string
	for _, slice := range list.Items {
		for _, e := range slice.Endpoints {
			for _, p := range slice.Ports {
				if e.Conditions.Ready != nil && *e.Conditions.Ready && p.Port != nil {
					out = append(out, net.JoinHostPort(e.Addresses[0], fmt.Sprint(*p.Port)))
				}
			}
		}
	}
	if len(out) != 2 {
		c.t.Fatalf("the Service leads to %q, want two replicas", out)
	}
	return out
}

// askDoor is tryDoor for a request that has to be answered.
func (c *cluster) askDoor(endpoint string, shown certificate, method, path, token string, body any) (int, string) {
	c.t.Helper()
	said, err := c.tryDoor(c.t.Context(), endpoint, shown, method, path, token, body)
	if err != nil {
		c.t.Fatal(err)
	}
	return said.status, said.body
}

type said struct {
	status int
	body   string
}

// tryDoor sends a request from outside of the node, to one replica, which has to show a certificate.
func (c *cluster) tryDoor(ctx context.Context, endpoint string, shown certificate, method, path, token string, body any) (said, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return said{}, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://"+doorHost+path, bytes.NewReader(data))
	if err != nil {
		return said{}, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Provider-Id", examplesProvider)
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: shown.pool}, DialContext: func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
		err = c.bed.World.Inside(func() (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, network, endpoint)
			return err
		})
		return conn, err
	}}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return said{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return said{response.StatusCode, string(text)}, err
}

// certificate is one of the door, and what its clients trust.
type certificate struct {
	files []string // for kubectl create secret tls
	pool  *x509.CertPool
}

func newCertificate(t *testing.T) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: doorHost}, DNSNames: []string{doorHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, own, own, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	out, dir := certificate{pool: x509.NewCertPool()}, t.TempDir()
	for flag, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: der}, "key": {Type: "PRIVATE KEY", Bytes: secret}} {
		file, text := filepath.Join(dir, flag), pem.EncodeToMemory(block)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		out.files = append(out.files, "--"+flag+"="+file)
		if flag == "cert" {
			out.pool.AppendCertsFromPEM(text)
		}
	}
	return out
}
