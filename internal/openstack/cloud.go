package openstack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

const (
	// answerSize bounds an answer in bytes. A page of 500 ports has less than 1 MiB.
	answerSize = 32 << 20
	// waits is how often a request is made again because the cloud said when; waitMost bounds one
	// wait, and waitUnsaid is the wait where it did not say how long.
	waits, waitMost, waitUnsaid = 5, time.Minute, 2 * time.Second
)

// cloud is an entry of clouds.yaml, and a client for it. It is for one goroutine.
type cloud struct {
	name, file, agent string
	timeout           time.Duration // of one request
	page              int
	meters            *meters

	// what the client was made of, and the client; nil before
	auth    gophercloud.AuthOptions
	at      gophercloud.EndpointOpts
	tls     *tls.Config
	network *gophercloud.ServiceClient
	project string // of the credential
	ends    ending // of the credential
}

// open reads clouds.yaml and the files that it names. If something in there has changed since the
// last time, a new client is made, and asks for a token.
func (c *cloud) open(ctx context.Context) error {
	auth, at, secure, err := clouds.Parse(clouds.WithCloudName(c.name), clouds.WithLocations(c.file))
	if err != nil {
		return fmt.Errorf("reading the cloud %s in %s: %w", c.name, c.file, err)
	}
	auth.AllowReauth = true
	if c.network != nil && reflect.DeepEqual(auth, c.auth) && reflect.DeepEqual(at, c.at) && sameTLS(secure, c.tls) {
		return nil
	}
	c.network = nil
	provider, err := openstack.NewClient(auth.IdentityEndpoint)
	if err != nil {
		return fmt.Errorf("making a client for the cloud %s: %w", c.name, err)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: secure, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 2}
	provider.HTTPClient = http.Client{Timeout: c.timeout, Transport: &counted{next: transport, meters: c.meters}}
	provider.UserAgent.Prepend(c.agent)
	if err := openstack.Authenticate(ctx, provider, auth); err != nil {
		return fmt.Errorf("asking the cloud %s for a token: %w", c.name, brief(err))
	}
	if c.project, err = projectOf(provider); err != nil {
		return fmt.Errorf("reading the token of the cloud %s: %w", c.name, err)
	}
	network, err := openstack.NewNetworkV2(provider, at)
	if err != nil {
		return fmt.Errorf("finding Neutron in the catalog of the cloud %s: %w", c.name, err)
	}
	if strings.HasSuffix(network.Endpoint, "/v2.0/") { // the catalog names the version
		network.ResourceBase = network.Endpoint
	}
	c.ends = endOf(ctx, provider)
	c.auth, c.at, c.tls, c.network = auth, at, secure, network
	return nil
}

// close makes the next open ask for a new token.
func (c *cloud) close() {
	if c.network != nil {
		c.network.HTTPClient.CloseIdleConnections()
	}
	c.network = nil
}

func projectOf(provider *gophercloud.ProviderClient) (string, error) {
	result, ok := provider.GetAuthResult().(tokens.CreateResult)
	if !ok {
		return "", errors.New("it is none of Keystone's v3")
	}
	project, err := result.ExtractProject()
	if err != nil {
		return "", err
	}
	if project == nil {
		return "", errors.New("it is for no project: give project_id, or an application credential")
	}
	return project.ID, nil
}

func sameTLS(a, b *tls.Config) bool {
	pool := func(c *tls.Config) *x509.CertPool {
		if c == nil || c.RootCAs == nil {
			return x509.NewCertPool()
		}
		return c.RootCAs
	}
	if !pool(a).Equal(pool(b)) || (a == nil) != (b == nil) {
		return false
	}
	return a == nil || a.InsecureSkipVerify == b.InsecureSkipVerify && reflect.DeepEqual(a.Certificates, b.Certificates)
}

func (c *cloud) walker() walker { return walker{cloud: c.name, page: c.page, get: c.get} }

// get makes a request of Neutron. Where the cloud says that it is asked too often, or that it cannot
// answer now and when it can, get waits.
func (c *cloud) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	at := c.network.ServiceURL(path)
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	for try := 0; ; try++ {
		body, err := c.once(ctx, at, path)
		again := time.Duration(0)
		var answer gophercloud.ErrUnexpectedResponseCode
		if errors.As(err, &answer) && try < waits {
			again = wait(answer.Actual, answer.ResponseHeader, try)
		}
		if again == 0 {
			return body, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(again):
		}
	}
}

func (c *cloud) once(ctx context.Context, at, path string) ([]byte, error) {
	answer, err := c.network.Get(ctx, at, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}, KeepResponseBody: true})
	if err != nil {
		var code gophercloud.ErrUnexpectedResponseCode
		if errors.As(err, &code) {
			return nil, statusError{code.Actual, "/" + path, code}
		}
		return nil, fmt.Errorf("GET /%s: %w", path, brief(err))
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("GET /%s: %w", path, err)
	case len(body) > answerSize:
		return nil, fmt.Errorf("GET /%s: the answer has more than %d bytes", path, answerSize)
	}
	return body, nil
}

// wait is how long to wait before a request is made again; 0 is not at all.
func wait(status int, header http.Header, try int) time.Duration {
	said := header.Get("Retry-After")
	if status != http.StatusTooManyRequests && (status != http.StatusServiceUnavailable || said == "") {
		return 0
	}
	d := waitUnsaid << try
	if seconds, err := strconv.Atoi(said); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if until, err := http.ParseTime(said); err == nil {
		d = time.Until(until)
	}
	return min(max(d, 100*time.Millisecond), waitMost)
}

// brief is an error of gophercloud without the body of an answer, which may be anything.
func brief(err error) error {
	var code gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &code) {
		return statusError{code.Actual, pathOf(code.URL), nil}
	}
	var reauth *gophercloud.ErrUnableToReauthenticate
	if errors.As(err, &reauth) {
		return fmt.Errorf("asking for a new token: %w", brief(reauth.ErrReauth))
	}
	return err
}

func pathOf(at string) string {
	u, err := url.Parse(at)
	if err != nil {
		return ""
	}
	return u.Path
}

// counted counts requests, answers and their bytes.
type counted struct {
	next   http.RoundTripper
	meters *meters
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.next.RoundTrip(r)
	if err != nil {
		c.meters.requests.WithLabelValues("none").Inc()
		return nil, err
	}
	c.meters.requests.WithLabelValues(strconv.Itoa(answer.StatusCode)).Inc()
	answer.Body = &countedBody{answer.Body, c.meters}
	return answer, nil
}

// CloseIdleConnections is for http.Client.
func (c *counted) CloseIdleConnections() {
	if t, ok := c.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

type countedBody struct {
	io.ReadCloser
	meters *meters
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.meters.bytes.Add(float64(n))
	return n, err
}
