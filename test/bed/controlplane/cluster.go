// Package controlplane runs a real Kubernetes control plane for tests: etcd, kube-apiserver and, where they are
// there, kube-controller-manager and kube-scheduler.
//
// In go Options and the sandbox to run in; out comes a Cluster with an address on loopback, credentials for any
// user, and its programs, to be paused, killed and started again.
//
// It must not be kept: certificates, data and ports are made for one cluster and thrown away with the sandbox.
//
// Start reading at Start.
package controlplane

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/client-go/rest"

	"multinicd/test/bed/artifact"
	"multinicd/test/bed/sandbox"
)

// readyTimeout is how long each program may take to answer; about 3 s are usual for the API server.
const readyTimeout = 2 * time.Minute

// Options of a cluster; the zero value is good.
type Options struct {
	// Logf tells of what takes long. Nil is silence.
	Logf artifact.Logf
	// Addresses by which the API server is called beside loopback, for its certificate.
	Addresses []net.IP
	// APIServerFlags are added to the API server's own, so they win.
	APIServerFlags []string
	// WithoutControllers leaves out controller-manager and scheduler: no garbage collection, no Jobs, no
	// default ServiceAccounts. Saves 180 MB and a second.
	WithoutControllers bool
	// OwnCredentials gives each controller its ServiceAccount, as in production, instead of admin's rights.
	// Costs 5 s.
	OwnCredentials bool
	// GOGC of its programs; "" is one with which they start fast. Where memory or processor time is measured it is
	// InProduction.
	GOGC string
}

// InProduction is the GOGC that programs have in production, since nobody sets it: Go's own.
const InProduction = "100"

// Cluster is a running control plane.
type Cluster struct {
	// Address of the API server, on loopback. The same over restarts.
	Address string
	// URL is https://Address.
	URL string
	// CA is the cluster's certificate authority, PEM.
	CA []byte
	// Kubeconfig is the path of the administrator's kubeconfig, which holds its credentials itself.
	Kubeconfig string
	// Etcd and APIServer always run; ControllerManager and Scheduler are nil where they are left out.
	Etcd, APIServer, ControllerManager, Scheduler *Program

	dir    string
	bin    string
	ip     string // where its programs listen
	ca     *authority
	admin  pair
	http   *http.Client
	client *rest.RESTClient
	etcdAt string
}

// Start brings a control plane up and waits until it is of use: about 5 s. It ends with the sandbox.
func Start(ctx context.Context, box *sandbox.Sandbox, o Options) (*Cluster, error) {
	logf := o.Logf
	if logf == nil {
		logf = func(string, ...any) {}
	}
	bin, err := binaries(ctx, logf, !o.WithoutControllers)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	dir, err := os.MkdirTemp(box.Dir, "controlplane-")
	if err != nil {
		return nil, fmt.Errorf("starting a control plane: %w", err)
	}
	ip, err := loopback(box.ID)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(ip, 5)
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, bin: bin, ip: ip, Address: net.JoinHostPort(ip, ports[0]), etcdAt: "http://" + net.JoinHostPort(ip, ports[1])}
	c.URL = "https://" + c.Address
	if err := c.credentials(o.Addresses); err != nil {
		return nil, err
	}
	if c.client, err = c.newClient(); err != nil {
		return nil, err
	}
	program := func(name string, args []string) (*Program, error) {
		p := &Program{Name: name, path: filepath.Join(bin, name), args: args, gogc: cmp.Or(o.GOGC, gogc), box: box, LogFile: filepath.Join(dir, name+".log")}
		return p, p.start()
	}
	if c.Etcd, err = program("etcd", c.etcdArgs(ports[2])); err != nil {
		return nil, err
	}
	if err := c.await(ctx, c.Etcd, c.etcdAt+"/health"); err != nil {
		return nil, err
	}
	if c.APIServer, err = program("kube-apiserver", append(c.apiServerArgs(ports[0]), o.APIServerFlags...)); err != nil {
		return nil, err
	}
	if err := c.Ready(ctx); err != nil {
		return nil, err
	}
	if c.has("kube-controller-manager") && !o.WithoutControllers {
		if c.ControllerManager, err = program("kube-controller-manager", c.controllerManagerArgs(ports[3], o.OwnCredentials)); err != nil {
			return nil, err
		}
		// Its work is done for a namespace once that has its ServiceAccount: Pods cannot be made before.
		if err := c.await(ctx, c.ControllerManager, c.URL+"/api/v1/namespaces/default/serviceaccounts/default"); err != nil {
			return nil, err
		}
	}
	if c.has("kube-scheduler") && !o.WithoutControllers {
		if c.Scheduler, err = program("kube-scheduler", c.schedulerArgs(ports[4])); err != nil {
			return nil, err
		}
	}
	logf("control plane %s up in %.1f s at %s", filepath.Base(bin), time.Since(begin).Seconds(), c.URL)
	return c, nil
}

// Ready waits until the API server says that it is.
func (c *Cluster) Ready(ctx context.Context) error {
	return c.await(ctx, c.APIServer, c.URL+"/readyz")
}

// Restart starts a program that has ended. For the API server it waits until that is ready.
func (c *Cluster) Restart(ctx context.Context, p *Program) error {
	if err := p.Terminate(); err != nil {
		return err
	}
	if err := p.start(); err != nil {
		return err
	}
	if p == c.APIServer {
		return c.Ready(ctx)
	}
	return nil
}

// Stop ends the programs in good order. Closing the sandbox ends them too, without it.
func (c *Cluster) Stop() error {
	for _, p := range []*Program{c.Scheduler, c.ControllerManager, c.APIServer, c.Etcd} {
		if p == nil {
			continue
		}
		if err := p.Terminate(); err != nil {
			return err
		}
	}
	return os.RemoveAll(c.dir)
}

// Config is for a client with the administrator's rights.
func (c *Cluster) Config() *rest.Config {
	return &rest.Config{
		Host:            c.URL,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.CA, CertData: c.admin.cert, KeyData: c.admin.key},
		// A test is no fair-share client: it waits for nothing.
		QPS: -1,
	}
}

// WriteKubeconfig writes a kubeconfig for a user with a certificate to path, 0600. The API server is called
// at server, a URL; empty is Cluster.URL.
func (c *Cluster) WriteKubeconfig(path, server, user string, groups ...string) error {
	cert, err := c.ca.client(user, groups...)
	if err != nil {
		return err
	}
	if server == "" {
		server = c.URL
	}
	return c.writeKubeconfig(path, server, cert)
}

// Identity is the API server's own certificate, and the authority that vouches for it: for what stands in the server's place.
func (c *Cluster) Identity() (tls.Certificate, *x509.CertPool, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(c.dir, "apiserver.crt"), filepath.Join(c.dir, "apiserver.key"))
	if err != nil {
		return cert, nil, fmt.Errorf("loading the API server's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.ca.cert)
	return cert, roots, nil
}

func (c *Cluster) writeKubeconfig(path, server string, cert pair) error {
	b64 := base64.StdEncoding.EncodeToString
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: test, user: {client-certificate-data: %s, client-key-data: %s}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
current-context: test
`, server, b64(c.CA), b64(cert.cert), b64(cert.key))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing a kubeconfig: %w", err)
	}
	return nil
}

// credentials makes the cluster's authority and the certificates of its programs.
func (c *Cluster) credentials(addresses []net.IP) error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	c.ca, c.CA = ca, ca.pem
	caKey, err := pemKey(ca.key)
	if err != nil {
		return err
	}
	if err := (pair{ca.pem, caKey}).write(c.dir, "ca"); err != nil {
		return err
	}
	server, err := ca.server("kube-apiserver", serverNames{
		dns: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		ips: append([]net.IP{net.ParseIP(c.ip), net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)}, addresses...),
	})
	if err != nil {
		return err
	}
	if err := server.write(c.dir, "apiserver"); err != nil {
		return err
	}
	if c.admin, err = ca.client("admin", "system:masters"); err != nil {
		return err
	}
	c.Kubeconfig = filepath.Join(c.dir, "admin.kubeconfig")
	if err := c.writeKubeconfig(c.Kubeconfig, c.URL, c.admin); err != nil {
		return err
	}
	for _, name := range []string{"kube-controller-manager", "kube-scheduler"} {
		if err := c.WriteKubeconfig(filepath.Join(c.dir, name+".kubeconfig"), "", "system:"+name); err != nil {
			return err
		}
	}
	if err := serviceAccountKey(c.dir); err != nil {
		return err
	}
	policy, err := auditPolicy()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(c.dir, "audit.yaml"), policy, 0o600); err != nil {
		return fmt.Errorf("writing the audit policy: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	client, err := tls.X509KeyPair(c.admin.cert, c.admin.key)
	if err != nil {
		return fmt.Errorf("loading the administrator's certificate: %w", err)
	}
	c.http = &http.Client{
		Timeout: 5 * time.Second,
		// A connection that outlives a paused API server would hang the next wait.
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{client}}},
	}
	return nil
}

// await polls url until it answers 200, for as long as the program runs.
func (c *Cluster) await(ctx context.Context, p *Program, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", p.Name, err)
		}
		if response, err := c.http.Do(request); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-p.exited:
			return fmt.Errorf("waiting for %s: it ended:\n%s", p.Name, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s at %s: %w:\n%s", p.Name, url, ctx.Err(), p.tail())
		}
	}
}

func (c *Cluster) has(name string) bool {
	_, err := os.Stat(filepath.Join(c.bin, name))
	return err == nil
}

// loopback is an address of loopback that no other sandbox's control plane has: between the choice of a port and the start of its program, and while that
// restarts, another one would take it.
func loopback(id string) (string, error) {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != 3 {
		return "", fmt.Errorf("choosing an address for sandbox %q: its id is not 6 hex digits", id)
	}
	return net.IPv4(127, 1+b[0]%254, b[1], 1+b[2]%254).String(), nil
}

// freePorts chooses n ports of an address that nobody listens on, below the range from which the kernel hands out the ports of outgoing connections.
func freePorts(ip string, n int) ([]string, error) {
	var ports []string
	for range 1000 {
		port := strconv.Itoa(20000 + rand.IntN(12000))
		l, err := net.Listen("tcp", net.JoinHostPort(ip, port))
		if err != nil {
			continue
		}
		// Held until all are found, so that no port comes twice.
		defer l.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("finding %d free ports: have %d after 1000 attempts", n, len(ports))
}
