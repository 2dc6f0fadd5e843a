package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/transport"

	"multinicd/internal/kube/credential"
)

const (
	dialTimeout = 5 * time.Second
	// A connection that has been silent for this long gets a ping, which must be answered within
	// pong. So even a watch on which nothing happens notices after 25 s that a route is gone.
	silence = 15 * time.Second
	pong    = 10 * time.Second
	// answerSize bounds an answer. An object of the API server has at most about 1.5 MB.
	answerSize = 4 << 20
)

// roundTripper returns the transport. It makes a new one if the CA has changed.
func (c *Client) roundTripper() (http.RoundTripper, error) {
	t, old, err := c.freshTransport()
	if old, ok := old.(*http.Transport); ok {
		old.CloseIdleConnections() // without the lock: a connection needs the lock to forget itself
	}
	return t, err
}

// freshTransport gives the transport to use, and the transport that was just replaced, if any.
func (c *Client) freshTransport() (use, old http.RoundTripper, err error) {
	now := credential.StampOf(c.credential.TLS.CAFile)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport != nil && now == c.caStamp {
		return c.transport, nil, nil
	}
	t, err := c.newTransport()
	if err != nil {
		if c.transport != nil {
			return c.transport, nil, nil
		}
		return nil, nil, err
	}
	old = c.transport
	c.transport, c.caStamp = t, now
	return t, old, nil
}

func (c *Client) newTransport() (*http.Transport, error) {
	config, err := transport.TLSConfigFor(&transport.Config{TLS: c.credential.TLS})
	if err != nil {
		return nil, fmt.Errorf("reading the CA or the client certificate: %w", err)
	}
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         c.dial,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        2,
		IdleConnTimeout:     90 * time.Second,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: silence, PingTimeout: pong},
	}, nil
}

var errNoConnection = errors.New("no connection within 5 s")

// trackedConn can be cut by Reconnect, and forgets itself when it is closed.
type trackedConn struct {
	net.Conn
	client *Client
	once   sync.Once
}

func (t *trackedConn) Close() error {
	t.once.Do(func() {
		t.client.mu.Lock()
		delete(t.client.conns, t)
		t.client.mu.Unlock()
	})
	return t.Conn.Close()
}

var dialer = &net.Dialer{
	// HTTP/1.1 has no pings, and something on the way may make the connection HTTP/1.1.
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: silence, Interval: 5 * time.Second, Count: 2},
}

func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dialTimeout, errNoConnection)
	defer cancel()
	conn, err := c.connect(ctx, network, address)
	if err != nil {
		if errors.Is(context.Cause(ctx), errNoConnection) {
			err = fmt.Errorf("dialling %s: %w", address, errNoConnection)
		}
		return nil, err
	}
	t := &trackedConn{Conn: conn, client: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns[t] = struct{}{}
	if peer, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		c.remote.connected = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	}
	return t, nil
}

func (c *Client) cut() {
	c.mu.Lock()
	conns := make([]*trackedConn, 0, len(c.conns))
	for t := range c.conns {
		conns = append(conns, t)
	}
	c.mu.Unlock()
	for _, t := range conns {
		_ = t.Close()
	}
}

// request is one request of ours.
type request struct {
	op     string // for errors: a gerund and its object
	method string
	path   string
	query  url.Values
	accept string // empty means application/json
	body   []byte // JSON; nil: none. With the method PATCH it is a merge patch
}

// send sends r by rt and returns a successful answer. The caller closes its body.
func (c *Client) send(ctx context.Context, rt http.RoundTripper, r request) (*http.Response, error) {
	target := *c.credential.Server
	target.Path += r.path
	target.RawQuery = r.query.Encode()
	req := (&http.Request{Method: r.method, URL: &target, Host: target.Host, Header: http.Header{}}).WithContext(ctx)
	if r.body != nil {
		req.Body = io.NopCloser(bytes.NewReader(r.body))
		req.ContentLength = int64(len(r.body))
		// With this net/http may send the request again if a connection was already closed before
		// it was used.
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.body)), nil }
		req.Header.Set("Content-Type", "application/json")
		if r.method == http.MethodPatch {
			req.Header.Set("Content-Type", "application/merge-patch+json")
		}
	}
	req.Header.Set("Accept", r.accept)
	if r.accept == "" {
		req.Header.Set("Accept", "application/json")
	}
	req.Header.Set("User-Agent", "multinicd/"+c.opts.Version)
	bearer, err := c.credential.Token.Read()
	if err != nil {
		return nil, &Error{Class: Credential, Op: r.op, Err: err}
	}
	if !bearer.IsZero() {
		req.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return nil, transportError(ctx, r.op, err)
	}
	c.seen(resp, bearer)
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, transportError(ctx, r.op, err)
	}
	return nil, statusError(r.op, resp, body)
}

// call sends r and reads the whole answer, within callTimeout.
func (c *Client) call(ctx context.Context, r request) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, errSlow)
	defer cancel()
	rt, err := c.roundTripper()
	if err != nil {
		return nil, &Error{Class: Credential, Op: r.op, Err: err}
	}
	resp, err := c.send(ctx, rt, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerSize+1))
	if err != nil {
		return nil, transportError(ctx, r.op, err)
	}
	if len(body) > answerSize {
		return nil, &Error{Class: Unexpected, Op: r.op, Err: fmt.Errorf("the answer is larger than %d bytes", answerSize)}
	}
	return body, nil
}

const callTimeout = 10 * time.Second

var errSlow = errors.New("no whole answer within 10 s")

// seen notes the contact, the server's clock, and whether the token is taken. A 401 or a 5xx is no
// contact, because it may be a proxy's answer.
func (c *Client) seen(resp *http.Response, bearer credential.Token) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	news := false
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		was := c.server
		news = was.date.IsZero()
		if !news && date.Sub(was.date)-now.Sub(was.at) >= stoodStill {
			news = true
			select {
			case c.stood <- struct{}{}:
			default:
			}
		}
		c.server = serverClock{date, now}
		skew := date.Sub(now).Round(time.Second)
		if least := skewed; skew.Abs() < least && (c.skew == 0 || skew.Abs() < least-skewSlack) {
			skew = 0
		}
		c.skew = skew
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		news = news || !c.refused.Is(bearer)
		c.refused = bearer
	case resp.StatusCode < 500:
		c.contact = now
		if c.refused.Is(bearer) {
			c.refused, news = credential.Token{}, true
		}
	}
	if news {
		select {
		case c.news <- struct{}{}:
		default:
		}
	}
}

// A clock counts as skewed once it is off by skewed, and until it is better than that by skewSlack.
// So a clock at the edge is reported once.
const (
	skewed    = 2 * time.Minute
	skewSlack = 30 * time.Second
)

// stoodStill is how much farther the API server's clock must have come between two answers than the
// host's monotonic clock; then the host has stood still. It is more than an answer may take, and
// more than the clocks of several servers may differ.
const stoodStill = time.Minute

// serverClock is what the API server's clock showed at a moment of our clock.
type serverClock struct{ date, at time.Time }

// serverTime is what the API server's clock shows now, counted on from its last answer. It is false
// before the first answer.
func (c *Client) serverTime() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server.date.Add(c.now().Sub(c.server.at)), !c.server.date.IsZero()
}

// reached says whether the API server has answered yet.
func (c *Client) reached() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.contact.IsZero()
}

// refuses says whether the API server's last answer to t was 401.
func (c *Client) refuses(t credential.Token) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !t.IsZero() && c.refused.Is(t)
}

// Ping asks whether this host can reach the API server now. It makes a new connection, because an
// old one may live on for a while after the routes that it needs are gone. Any answer over TLS from
// the server itself will do, even a refusal: the question is whether the host can talk to the
// server, not whether the server is well.
func (c *Client) Ping(ctx context.Context) error { return c.PingBy(ctx, c.dial) }

// PingBy is Ping by connections that dial makes.
func (c *Client) PingBy(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error)) error {
	const op = "reaching the API server"
	ctx, cancel := context.WithTimeoutCause(ctx, pingTimeout, errNoPong)
	defer cancel()
	t, err := c.newTransport()
	if err != nil {
		return &Error{Class: Credential, Op: op, Err: err}
	}
	t.DialContext, t.DisableKeepAlives = dial, true
	defer t.CloseIdleConnections()
	resp, err := c.send(ctx, t, request{op: op, method: http.MethodGet, path: "/version"})
	if err == nil {
		_ = resp.Body.Close()
		return nil
	}
	switch ClassOf(err) {
	case Unreachable, Untrusted, Credential, "":
		return err
	}
	return nil
}

const pingTimeout = 5 * time.Second

var errNoPong = errors.New("no answer within 5 s")

// peers remembers which addresses we talk to.
type peers struct {
	connected netip.AddrPort   // of the last connection
	resolved  []netip.AddrPort // of the last successful look-up
}

// Endpoints returns every address under which the API server may be reached from here, sorted,
// without repetition: what its name resolves to, the address of the proxy if one is configured, and
// the address of the last connection. If the name cannot be resolved now, its last addresses count.
// There is an error only if no address at all is known.
func (c *Client) Endpoints(ctx context.Context) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	found, err := resolve(ctx, c.credential.Server)
	proxy, proxyErr := http.ProxyFromEnvironment(&http.Request{URL: c.credential.Server})
	if proxyErr == nil && proxy != nil {
		more, moreErr := resolve(ctx, proxy)
		found, err = append(found, more...), errors.Join(err, moreErr)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.remote.resolved = found
	} else {
		found = append(found, c.remote.resolved...)
	}
	if c.remote.connected.IsValid() {
		found = append(slices.Clone(found), c.remote.connected)
	}
	if len(found) == 0 {
		return nil, &Error{Class: Unreachable, Op: "resolving the API server", Err: err}
	}
	slices.SortFunc(found, netip.AddrPort.Compare)
	return slices.Compact(found), nil
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func resolve(ctx context.Context, u *url.URL) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(hostPort(u))
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	found := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		found[i] = netip.AddrPortFrom(a.Unmap(), uint16(port))
	}
	return found, nil
}
