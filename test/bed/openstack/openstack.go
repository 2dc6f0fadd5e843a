// Package openstack is a cloud for tests: a real Keystone and a real Neutron, on a host of the bed, with no agents, no Nova and no message queue.
// There are ports, and nobody plugs them in.
//
// In goes a network with hosts; out come the cloud's URLs on this machine, where each answer of Neutron can be made to fail or to lie, and an
// administrator who makes networks, ports, projects and credentials.
//
// It must not know the product: what it makes, the openstack command could make too.
//
// Start reading at Start, and then Way.Lie.
package openstack

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"multinicd/test/bed/rootfs"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
)

// The ports of the services on their host, and how the catalog names them.
const (
	keystonePort, neutronPort = 5000, 9696
	catalogHost               = "http://127.0.0.1:"
	catalogRegion             = "RegionOne"
)

// Cloud is a running Keystone and Neutron. Its methods may be used by several goroutines.
type Cloud struct {
	Host *testhost.Host
	*Way // the administrator's

	world *testhost.World
	http  *http.Client

	admin struct {
		sync.Mutex
		token string
		since time.Time
	}
}

// startTimeout is for a busy machine: the two are there after 4 to 10 s.
const startTimeout = 2 * time.Minute

// Start boots the host, and waits until both services answer. They end with the sandbox. The first call makes the root file system.
func Start(ctx context.Context, box *sandbox.Sandbox, w *testhost.World) (*Cloud, error) {
	root, err := rootfs.OpenStack(ctx, w.Logf)
	if err != nil {
		return nil, err
	}
	h, err := w.NewHost(ctx, testhost.Options{Name: "openstack", Root: root})
	if err != nil {
		return nil, err
	}
	if err := h.Boot(ctx); err != nil {
		return nil, err
	}
	c := &Cloud{Host: h, world: w, http: &http.Client{Timeout: time.Minute}}
	if c.Way, err = c.NewWay(box); err != nil {
		return nil, err
	}
	return c, c.answers(ctx)
}

// answers waits until both services answer.
func (c *Cloud) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, at := range []string{c.Keystone + "/v3", c.Neutron + "/"} {
		for {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
			if err != nil {
				return err
			}
			if answer, err := c.http.Do(r); err == nil {
				answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					break
				}
			}
			select {
			case <-ctx.Done():
				log, err := c.Host.Run(context.WithoutCancel(ctx), "journalctl", "--no-pager", "--lines=60", "--unit=keystone", "--unit=neutron", "--unit=mariadb")
				return errors.Join(fmt.Errorf("waiting for %s: %w\n%s", at, ctx.Err(), log), err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// Way is a way to the cloud from this machine, where the answers of Neutron can be made to fail or to lie.
type Way struct {
	// Keystone and Neutron are URLs, http://127.0.0.1:PORT.
	Keystone, Neutron string
	// Region is what the catalog calls the region to those who come by this way. Nobody else's is called so.
	Region string

	mu            sync.Mutex
	lie           func(real http.Handler) http.Handler
	tokens, lists int
	more          chan struct{} // closed when one of these has changed
}

// NewWay makes another way, which ends with the sandbox. What one way does to answers does not concern the others.
func (c *Cloud) NewWay(box *sandbox.Sandbox) (*Way, error) {
	w := &Way{more: make(chan struct{}), Region: "region-" + rand.Text()[:8]}
	var err error
	if w.Keystone, err = c.serve(box, w, keystonePort, w.counted); err != nil {
		return nil, err
	}
	w.Neutron, err = c.serve(box, w, neutronPort, w.lying)
	return w, err
}

// serve puts a port of the host on this machine's loopback.
func (c *Cloud) serve(box *sandbox.Sandbox, w *Way, port int, between func(http.Handler) http.Handler) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listening for OpenStack: %w", err)
	}
	target := net.JoinHostPort(c.Host.Address.Addr().String(), strconv.Itoa(port))
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: target})
			r.Out.Header.Del("Accept-Encoding")
		},
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			inside := c.world.Inside(func() error {
				conn, err = new(net.Dialer).DialContext(ctx, network, address)
				return nil
			})
			return conn, errors.Join(inside, err)
		}},
		ModifyResponse: w.rename,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := &http.Server{Handler: between(proxy)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // until it is closed
	}()
	box.OnClose(func() { _ = server.Close(); <-done })
	return "http://" + listener.Addr().String(), nil
}

// rename has an answer with a catalog name the addresses and the region of the way.
func (w *Way) rename(answer *http.Response) error {
	if !strings.HasSuffix(answer.Request.URL.Path, "/auth/tokens") {
		return nil
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	body = bytes.ReplaceAll(body, []byte(catalogHost+strconv.Itoa(keystonePort)), []byte(w.Keystone))
	body = bytes.ReplaceAll(body, []byte(catalogHost+strconv.Itoa(neutronPort)), []byte(w.Neutron))
	body = bytes.ReplaceAll(body, []byte(`"`+catalogRegion+`"`), []byte(`"`+w.Region+`"`))
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// Lie puts a handler before Neutron. It is given the real one; nil takes it out again.
func (w *Way) Lie(f func(real http.Handler) http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lie = f
}

// EveryThird is a lie: every third request is answered 429, with this Retry-After.
func EveryThird(after string) func(real http.Handler) http.Handler {
	var n atomic.Int64
	return func(real http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1)%3 == 0 {
				w.Header().Set("Retry-After", after)
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			real.ServeHTTP(w, r)
		})
	}
}

// Asked is how often somebody asked for a token, and began to list ports.
func (w *Way) Asked() (tokens, lists int) {
	tokens, lists, _ = w.asked()
	return tokens, lists
}

func (w *Way) asked() (tokens, lists int, more <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tokens, w.lists, w.more
}

// Walks waits until n walks have begun and ended that begin from now on: as many lists are asked for and one more, or as many tokens where it
// does not come to lists.
func (w *Way) Walks(ctx context.Context, n int) error {
	token0, list0, _ := w.asked()
	for {
		tokens, lists, more := w.asked()
		if lists-list0 > n || tokens-token0 > n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d walks, of which %d have begun: %w", n, max(lists-list0, tokens-token0), ctx.Err())
		case <-more:
		}
	}
}

// counted counts what Asked gives.
func (w *Way) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		token := r.Method == http.MethodPost && r.URL.Path == "/v3/auth/tokens"
		list := r.Method == http.MethodGet && r.URL.Path == "/v2.0/ports" && !r.URL.Query().Has("marker")
		if token || list {
			w.mu.Lock()
			if token {
				w.tokens++
			} else {
				w.lists++
			}
			close(w.more)
			w.more = make(chan struct{})
			w.mu.Unlock()
		}
		next.ServeHTTP(out, r)
	})
}

func (w *Way) lying(real http.Handler) http.Handler {
	return w.counted(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		h := real
		if w.lie != nil {
			h = w.lie(real)
		}
		w.mu.Unlock()
		h.ServeHTTP(out, r)
	}))
}

// Configure writes settings of a service ("keystone", "neutron") that are read last, and starts it anew.
func (c *Cloud) Configure(ctx context.Context, service, text string) error {
	if err := c.Host.WriteFile("/etc/"+service+"/extra.conf", []byte(text), 0o644); err != nil {
		return err
	}
	if _, err := c.Host.Run(ctx, "systemctl", "restart", service); err != nil {
		return err
	}
	return c.answers(ctx)
}
