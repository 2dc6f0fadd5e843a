// Package kube is the node's side of the connection to the Kubernetes API. It watches or polls the
// one MultiNicNodeConfig of this node, writes the node's report, renews its Lease, and says whether
// the API server can be reached.
//
// In go Options, which say what the server and the node are. Out come Observations. An Observation
// says that the object is there, that it is not there, or why nothing is known. Absence needs
// evidence: a DELETED event, or a NotFound that names the object. An empty list is no evidence, so
// the package asks once more.
//
// The package must not decide anything: what an object means, how long an error may last, what is
// reported. It does not use client-go's Reflector, which would cost only 0.7 MB. This is one object
// on a machine whose network we change ourselves, and that needs what the Reflector does not have:
// a backoff that depends on the kind of error, and ends at once when the network or the token has
// changed (Reconnect); a deadline for each call; and absence with evidence.
//
// Start at Client. Then read watch.go, which is the loop, object.go, and transport.go, which is one
// connection. join.go says how the node gets its credential, keep.go how it keeps it, and package
// credential what it is.
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
	"multinicd/internal/kube/credential"
)

// Options say who asks, and whom. There are three ways to the server, and the first that is given
// counts: Server with CAFile and TokenFile; Kubeconfig; CredentialDir.
type Options struct {
	Node            string // the node's name
	Namespace       string // of the object; empty means v1.SystemNamespace
	ReportNamespace string // of report and Lease; empty means v1.NodesNamespace
	Version         string // of multinicd, for the User-Agent

	Server        string // https URL
	CAFile        string // PEM; empty means the host's own trust store
	TokenFile     string
	Kubeconfig    string
	CredentialDir string // has the files server, ca.crt and token, see Keep

	Log *slog.Logger     // nil: no log
	Now func() time.Time // the host's clock; nil means time.Now
}

// Observation is what is known of the object at one moment. Exactly one of Object, Absent and Err
// is set.
type Observation struct {
	// Object as the API server gave it, to be read only. It has only those fields of the schema
	// that we know.
	Object *v1.MultiNicNodeConfig
	// Absent: the API server said that there is no such object.
	Absent bool
	// Err is an *Error and says why nothing is known now. The last observation before it is still
	// the best knowledge.
	Err error

	// Contact is when the API server last answered, with the reading of the monotonic clock. It is
	// zero if the server never answered.
	Contact time.Time
	// Skew is how far the API server's clock is ahead of ours. It is 0 if the clocks differ by less
	// than two minutes.
	Skew time.Duration
}

// Client speaks for one node. Several goroutines may call its methods at once, but only one Watch
// or Poll may run at a time.
type Client struct {
	opts       Options
	credential credential.Credential
	log        *slog.Logger

	// wake ends a wait early; capacity 1.
	wake chan struct{}
	// jitter gives a random number in [0,1).
	jitter func() float64
	// now is the host's clock. Spans use its monotonic reading.
	now func() time.Time
	// news wakes Keep, capacity 1. The token is refused or is taken again, or the server's clock
	// has become known, or shows that we stood still.
	news chan struct{}
	// stood says that the host stood still; capacity 1.
	stood chan struct{}
	// connect makes a TCP connection. Tests have a network of their own.
	connect func(ctx context.Context, network, address string) (net.Conn, error)

	mu        sync.Mutex
	transport http.RoundTripper // nil: not made yet, see roundTripper
	caStamp   credential.Stamp
	conns     map[*trackedConn]struct{}
	remote    peers
	contact   time.Time
	skew      time.Duration
	server    serverClock
	refused   credential.Token // the token that the last 401 was about
}

// New reads the credential and contacts nobody. If there is no credential yet, the error wraps
// credential.ErrNone.
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

// newClient makes a client for a credential that need not be on the disk.
func newClient(opts Options, cred credential.Credential) (*Client, error) {
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
	// If a CA or client certificate cannot be read, say so now and not at the first request.
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
func (c *Client) ServerHost() string { return hostPort(c.credential.Server) }

// Reconnect cuts every connection and ends any backoff. What waits on a connection fails now. Call
// it when an address or a route of the host has changed. Otherwise only the pings would notice a
// connection from an address that is gone, 25 s later.
func (c *Client) Reconnect() {
	c.cut()
	c.poke()
}

// StoodStill gives a value when an answer of the API server shows that the host has stood still for
// a minute or more. That happens to a virtual machine that is paused or migrated, and much may have
// changed meanwhile. Several such values at once become one.
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

// observed adds to an observation what is known of the contact.
func (c *Client) observed(o Observation) Observation {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.Contact, o.Skew = c.contact, c.skew
	return o
}

// objectPath is the path of the collection. If name is not empty, it is the path of the object.
func (c *Client) objectPath(name string) string {
	p := "/apis/" + v1.Group + "/" + v1.Version + "/namespaces/" + url.PathEscape(c.opts.Namespace) + "/" + v1.NodeConfigs.Resource
	if name != "" {
		p += "/" + url.PathEscape(name)
	}
	return p
}

// pause waits for d. It ends early at a poke or, if the credential was refused, when the token file
// changes. It says whether ctx is still alive.
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
	before := c.credential.Token.Stamp()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-c.wake:
			return true
		case <-look:
			if c.credential.Token.Stamp() != before {
				return true
			}
		}
	}
}

// tokenLook is how often the token file is looked at after the credential was refused. Each look
// costs one stat.
const tokenLook = 2 * time.Second
