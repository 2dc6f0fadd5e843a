// Package kube is the node's side of the wire to the Kubernetes API: it watches or polls the one MultiNicNodeConfig of
// this node, writes this node's report, renews its Lease, and tells whether the API server can be reached.
//
// In goes what identifies the server and the node (Options); out come Observations. Each says that the object is there,
// or that it is not, on positive evidence only (a DELETED event, or a NotFound that names the object; an empty list is
// asked about once more), or why nothing is known.
//
// It must not decide anything: what an object means, how long an error may last, what is reported. It is not built on
// client-go's Reflector, although it could be at the price of 0.7 MB, because one object on a machine whose network we
// change ourselves asks for what the Reflector does not have: a backoff that depends on the kind of error and ends at
// once when the network or the token has changed (Reconnect), a deadline on each call, and absence with evidence.
//
// Start at Client, then watch.go, which is the loop, object.go, and transport.go, which is one connection. How the node
// comes by its credential stands in join.go, how it keeps it in keep.go.
package kube

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	v1 "multinicd/api/v1"
)

// Options say who asks whom. Of the three ways to the server the first that is given counts: Server with CAFile and
// TokenFile; Kubeconfig; CredentialDir.
type Options struct {
	Node            string // the node's name
	Namespace       string // of the object; empty means v1.SystemNamespace
	ReportNamespace string // of report and Lease; empty means v1.NodesNamespace
	Version         string // of multinicd, for the User-Agent

	Server        string // https URL
	CAFile        string // PEM; empty means the host's own trust store
	TokenFile     string
	Kubeconfig    string
	CredentialDir string // holds the files server, ca.crt and token, see Keep

	Log *slog.Logger     // nil discards
	Now func() time.Time // the host's clock; nil means time.Now
}

// Observation is what is known of the object at one moment. Exactly one of Object, Absent and Err is set.
type Observation struct {
	// Object as the API server gave it; read only. Other fields of the schema than ours are not in it.
	Object *v1.MultiNicNodeConfig
	// Absent: the API server said that there is no such object.
	Absent bool
	// Err, an *Error, says why nothing is known now. What was observed before still is the best knowledge there is.
	Err error

	// Contact is when the API server last answered, zero if it never did, with the monotonic clock in it.
	Contact time.Time
	// Skew is how far the API server's clock is ahead of ours, 0 where that is less than two minutes either way.
	Skew time.Duration
}

// Client speaks for one node. Its methods may be called by several goroutines, but at most one Watch or Poll runs at a
// time.
type Client struct {
	opts       Options
	credential credential
	log        *slog.Logger

	// wake ends a wait before its time; capacity 1.
	wake chan struct{}
	// jitter is a chance in [0,1).
	jitter func() float64
	// now is the host's clock. Spans are told by its monotonic reading.
	now func() time.Time
	// news wakes Keep: the token is refused, or taken again, the server's clock is known, or shows that we stood still; capacity 1.
	news chan struct{}
	// stood tells that the host stood still; capacity 1.
	stood chan struct{}
	// connect makes a TCP connection; tests have a network of their own.
	connect func(ctx context.Context, network, address string) (net.Conn, error)

	mu        sync.Mutex
	transport http.RoundTripper // nil: to be made; see roundTripper
	caStamp   stamp
	conns     map[*trackedConn]struct{}
	remote    peers
	contact   time.Time
	skew      time.Duration
	server    serverClock
	refused   token // that the last answer to was 401
}

// New reads the credential and contacts nobody. An error that wraps ErrNoCredential means that there is none yet.
func New(opts Options) (*Client, error) {
	opts, err := opts.filled()
	if err != nil {
		return nil, err
	}
	cred, err := loadCredential(opts)
	if err != nil {
		return nil, fmt.Errorf("making the API client: %w", err)
	}
	return newClient(opts, cred)
}

// newClient makes a client of a credential that need not be on the disk.
func newClient(opts Options, cred credential) (*Client, error) {
	c := &Client{
		opts:       opts,
		credential: cred,
		log:        opts.Log,
		wake:       make(chan struct{}, 1),
		jitter:     rand.Float64,
		now:        opts.Now,
		news:       make(chan struct{}, 1),
		stood:      make(chan struct{}, 1),
		connect:    dialer.DialContext,
		conns:      map[*trackedConn]struct{}{},
	}
	// A CA or client certificate that cannot be read is told now, not at the first request.
	if _, err := c.roundTripper(); err != nil {
		return nil, fmt.Errorf("making the API client: %w", err)
	}
	return c, nil
}

func (o Options) filled() (Options, error) {
	if o.Node == "" {
		return o, fmt.Errorf("making the API client: the node has no name")
	}
	if o.Namespace == "" {
		o.Namespace = v1.SystemNamespace
	}
	if o.ReportNamespace == "" {
		o.ReportNamespace = v1.NodesNamespace
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

// ServerHost is the API server's host and port, for messages.
func (c *Client) ServerHost() string { return hostPort(c.credential.server) }

// Reconnect cuts every connection, so that what waits on one fails now, and ends any backoff. To be called when an
// address or a route of the host has changed: a connection from an address that is gone would be noticed only by
// its pings, 25 s later.
func (c *Client) Reconnect() {
	c.cut()
	c.poke()
}

// StoodStill gives a value after each answer of the API server by which the host has stood still for a minute or more (a virtual machine that was
// paused or migrated): much may be otherwise than it was. Several at once are one.
func (c *Client) StoodStill() <-chan struct{} { return c.stood }

// CloseIdle closes the connections that nothing uses.
func (c *Client) CloseIdle() {
	c.mu.Lock()
	t := c.transport
	c.mu.Unlock()
	if t, ok := t.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

func (c *Client) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// observed dresses an observation with what is known of the contact.
func (c *Client) observed(o Observation) Observation {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.Contact, o.Skew = c.contact, c.skew
	return o
}

// objectPath is the path of the collection, or of the object if name is not empty.
func (c *Client) objectPath(name string) string {
	p := "/apis/" + v1.Group + "/" + v1.Version + "/namespaces/" + url.PathEscape(c.opts.Namespace) + "/" + v1.NodeConfigs.Resource
	if name != "" {
		p += "/" + url.PathEscape(name)
	}
	return p
}

// pause waits for d, but not beyond a poke or, where the credential was refused, a change of the token file. It says
// whether ctx still lives.
func (c *Client) pause(ctx context.Context, d time.Duration, cause Class) bool {
	if ctx.Err() != nil {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	var look <-chan time.Time
	if cause == Unauthorized || cause == Credential {
		t := time.NewTicker(tokenLook)
		defer t.Stop()
		look = t.C
	}
	before := c.credential.token.stamp()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-c.wake:
			return true
		case <-look:
			if c.credential.token.stamp() != before {
				return true
			}
		}
	}
}

// tokenLook is how often the token file is looked at after the credential was refused: the price is one stat.
const tokenLook = 2 * time.Second
