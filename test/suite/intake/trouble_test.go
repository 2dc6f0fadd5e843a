package intake

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "multinicd/api/v1"
)

func replace(text string, oldnew ...string) string {
	return strings.NewReplacer(oldnew...).Replace(text)
}

func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	out, err := c.Kubectl(c.t.Context(), args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// It runs alone: the API server is everybody's.
func TestAnAPIServerThatIsAwayIsNoSuccess(t *testing.T) {
	c := newCluster(t)
	d := c.door("--unknown-nodes", "publish", "--body-timeout", "1s", "--timeout", "2s")
	token, sent := c.token(viola), many("away", 3, 2)
	d.publish(node{NodeName: "away-before"}).says(t, "200 created:away-before")
	if err := c.APIServer.Pause(); err != nil {
		t.Fatal(err)
	}
	paused := d.send(d.request(token, providerA, sent))
	if err := c.APIServer.Resume(); err != nil {
		t.Fatal(err)
	}
	if paused.Status != http.StatusServiceUnavailable || paused.Applied != 0 {
		t.Errorf("hung: %.300s", paused.brief())
	}
	if err := c.APIServer.Kill(); err != nil {
		t.Fatal(err)
	}
	// The token is known for a minute: the nodes themselves cannot be written.
	gone := d.send(d.request(token, providerA, sent))
	if err := c.Restart(t.Context(), c.APIServer); err != nil {
		t.Fatal(err)
	}
	if gone.Status != http.StatusServiceUnavailable || gone.Applied != 0 {
		t.Errorf("gone: %.300s", gone.brief())
	}
	eventually(t, "the same is taken once it is back", func() string {
		if a := d.send(d.request(token, providerA, sent)); a.Status != http.StatusOK || a.Applied != 3 {
			return a.brief()
		}
		return ""
	})
	if got := c.generations("away-0"); got[1] != 3 || len(got) != 1 {
		t.Errorf("by generation there are %v", got)
	}
	if said := fmt.Sprint(paused.Errors, gone.Errors); strings.Contains(said, "127.0.0.1") {
		t.Errorf("a publisher is told where the API server is: %s", said)
	}
	c.cutOff()
}

// A client that sends a byte now and then is let go, and others are served meanwhile.
func TestASlowClientHoldsUpNobody(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	d := c.door("--unknown-nodes", "publish", "--body-timeout", "1s")
	token := c.token(viola)
	slow := map[net.Conn]int{}
	for range 3 {
		for authorization, status := range map[string]int{"Bearer " + token: http.StatusRequestTimeout, "Bearer x": http.StatusUnauthorized} {
			conn, err := net.Dial("tcp", d.Address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST /v1/k8s/multinic/node-configs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Provider-Id: %s\r\nAuthorization: %s\r\nContent-Length: 1000\r\n\r\n[", providerA, authorization)
			slow[conn] = status
		}
	}
	d.send(d.request(token, providerA, []node{{NodeName: "beside-slow"}})).says(t, "200 created:beside-slow")
	for conn, status := range slow {
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if response.Body.Close(); response.StatusCode != status {
			t.Errorf("a slow client gets %d, want %d", response.StatusCode, status)
		}
	}
}

func TestAPublisherThatSendsTooOftenWaits(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	d := c.door("--unknown-nodes", "publish", "--rate", "0.001", "--burst", "2")
	ours, theirs := c.token(viola), c.token(neighbour)
	var got []string
	for range 3 {
		got = append(got, fmt.Sprint(d.send(d.request(ours, providerA, []node{{NodeName: "often"}})).Status))
	}
	got = append(got, fmt.Sprint(d.send(d.request(theirs, "provider-c", []node{{NodeName: "seldom"}})).Status))
	if want := "200 200 429 200"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// authority signs certificates for the tests of TLS.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key, next: 2}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// signed gives a certificate and its key, PEM.
func (a *authority) signed(name string, use x509.ExtKeyUsage) (cert, key []byte) {
	a.t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.next++
	template := &x509.Certificate{SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: name, Organization: []string{"system:masters"}}, ExtKeyUsage: []x509.ExtKeyUsage{use}, NotAfter: time.Now().Add(time.Hour)}
	if use == x509.ExtKeyUsageServerAuth {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &own.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

// files are those of a mounted Secret: each is a link into a folder, and the folder is exchanged in one step.
type files struct {
	t   *testing.T
	dir string
	n   int
}

func (f *files) put(all map[string][]byte) {
	f.t.Helper()
	f.n++
	version := fmt.Sprintf("..%d", f.n)
	if err := os.Mkdir(filepath.Join(f.dir, version), 0o700); err != nil {
		f.t.Fatal(err)
	}
	for name, data := range all {
		if err := os.WriteFile(filepath.Join(f.dir, version, name), data, 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
	data, next := filepath.Join(f.dir, "..data"), filepath.Join(f.dir, "..next")
	if err := os.Symlink(version, next); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(next, data); err != nil {
		f.t.Fatal(err)
	}
	for name := range all {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(f.dir, name)); err != nil && !os.IsExist(err) {
			f.t.Fatal(err)
		}
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	ca, clients, strangers := newAuthority(t), newAuthority(t), newAuthority(t)
	secret := &files{t: t, dir: t.TempDir()}
	put := func(name string, trusted *authority) {
		cert, key := ca.signed(name, x509.ExtKeyUsageServerAuth)
		secret.put(map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": trusted.pem()})
	}
	put("first", clients)
	pair := func(by *authority, name string) []tls.Certificate {
		cert, key := by.signed(name, x509.ExtKeyUsageClientAuth)
		out, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{out}
	}
	at := func(name string) string { return filepath.Join(secret.dir, name) }
	d := c.doorWith("https", pair(clients, viola), "--unknown-nodes", "publish", "--tls-cert-file", at("tls.crt"), "--tls-key-file", at("tls.key"), "--client-ca-file", at("ca.crt"))
	ask := func(certificates []tls.Certificate, token string) string {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certificates}, DisableKeepAlives: true}
		d.client = (&http.Client{Transport: transport}).Do
		a, err := d.try(d.request(token, providerA, []node{{NodeName: "secure"}}))
		if err != nil {
			return "no connection"
		}
		return a.brief()
	}
	for _, row := range []struct {
		name         string
		certificates []tls.Certificate
		token        string
		want         string
	}{
		{"a client with a certificate", pair(clients, viola), "", "200 created:secure"},
		{"a certificate of somebody without the right, whatever its groups", pair(clients, "stranger"), "", "403 Forbidden:"},
		{"a certificate with the name of a user of the cluster", pair(clients, "system:serviceaccount:multinic-system:viola"), "", "403 Forbidden:"},
		{"a certificate of another CA", pair(strangers, viola), "", "no connection"},
		{"no certificate and no token", nil, "", "401 Unauthorized:"},
		{"a token and no certificate", nil, c.token(viola), "200 unchanged:secure"},
		{"a wrong token with a good certificate", pair(clients, viola), "x", "401 Unauthorized:"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := ask(row.certificates, row.token); got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
		})
	}
	t.Run("files that are exchanged count", func(t *testing.T) {
		put("second", strangers)
		eventually(t, "the door shows its new certificate", func() string {
			conn, err := tls.Dial("tcp", d.Address, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				return err.Error()
			}
			defer func() { _ = conn.Close() }() // nothing was written
			if name := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; name != "second" {
				return name
			}
			return ""
		})
		if got := ask(pair(strangers, viola), ""); got != "200 unchanged:secure" {
			t.Errorf("the new CA's client gets %s", got)
		}
		if got := ask(pair(clients, viola), ""); got != "no connection" {
			t.Errorf("the old CA's client gets %s", got)
		}
	})
}

func TestNoTokenIsLogged(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	d := c.door("--unknown-nodes", "publish", "--log-level", "debug")
	good, wrong := c.token(viola), c.token(viola, "https://kubernetes.default.svc")
	for _, token := range []string{good, wrong, "nonsense-nonsense-nonsense"} {
		d.send(d.request(token, providerA, []node{{NodeName: "logged"}}))
		r := d.request("", providerA, []node{{NodeName: "logged"}})
		r.SetBasicAuth("x", token)
		d.send(r)
		log := d.Log()
		for part := range strings.SplitSeq(token, ".") {
			if len(part) > 20 && strings.Contains(log, part) {
				t.Errorf("a part of a token is in the log: %.20s", part)
			}
		}
	}
	if !strings.Contains(d.Log(), `"user":"system:serviceaccount:`+v1.SystemNamespace+":"+viola+`"`) {
		t.Errorf("the log does not say who published:\n%s", d.Log())
	}
}

// A token for the door is worth nothing at the API server.
func TestATokenForTheDoorOpensNothingElse(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	out, err := c.Kubectl(t.Context(), "--kubeconfig=/dev/null", "--server="+c.URL, "--insecure-skip-tls-verify", "--token="+c.token(viola), "get", "mnnc", "-n", v1.SystemNamespace)
	if err == nil || !strings.Contains(err.Error(), "Unauthorized") && !strings.Contains(err.Error(), "must be logged in") {
		t.Errorf("%s, %v", out, err)
	}
}
