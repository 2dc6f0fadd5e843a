package intake

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

// authority is a file with the certificates of those who sign clients. It is read again for each
// handshake, so that a file that was exchanged counts at once.
type authority struct {
	path string
	log  *slog.Logger

	mu   sync.Mutex
	last *x509.CertPool
}

var errNoCertificate = errors.New("it has no certificate")

func (a *authority) read() (*x509.CertPool, error) {
	text, err := os.ReadFile(a.path)
	if err == nil {
		pool := x509.NewCertPool()
		if pool.AppendCertsFromPEM(text) {
			return pool, nil
		}
		err = errNoCertificate
	}
	return nil, fmt.Errorf("reading the clients' CA %s: %w", a.path, err)
}

// pool is the content of the file, or what it was as long as it could be read.
func (a *authority) pool() *x509.CertPool {
	pool, err := a.read()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.log.Warn("the clients' certificates are checked against the last CA that was read", "err", err)
		return a.last
	}
	a.last = pool
	return pool
}

// secure is how the door speaks TLS. Each handshake takes the files as they are then. clients is nil
// if clients show no certificates.
func secure(server *certwatcher.CertWatcher, clients *authority) *tls.Config {
	base := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: server.GetCertificate}
	if clients == nil {
		return base
	}
	out := base.Clone()
	out.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := base.Clone()
		c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, clients.pool()
		return c, nil
	}
	return out
}
