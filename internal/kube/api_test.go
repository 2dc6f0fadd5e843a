package kube

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeAPI is an API server on a network of its own, both within a bubble of fake time: HTTP/2 and TLS are real, a wait
// of five minutes takes none.
type fakeAPI struct {
	t      *testing.T
	server *httptest.Server
	began  time.Time
	dir    string // of the credential

	mu      sync.Mutex
	answer  http.HandlerFunc
	asked   []string        // "10s GET /path?query", in order
	at      []time.Duration // when, since the start
	dials   int
	down    error // what a dial gives
	frozen  bool  // nothing passes, in either direction, on connections that stand
	accepts chan net.Conn
}

const objects = "/apis/multinic.io/v1/namespaces/multinic-system/multinicnodeconfigs"

// inBubble runs test with fake time.
func inBubble(t *testing.T, test func(t *testing.T, api *fakeAPI)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, newFakeAPI(t))
	})
}

func newFakeAPI(t *testing.T) *fakeAPI {
	api := &fakeAPI{t: t, began: time.Now(), accepts: make(chan net.Conn), dir: t.TempDir()}
	api.server = httptest.NewUnstartedServer(http.HandlerFunc(api.serve))
	_ = api.server.Listener.Close()
	api.server.Listener = &pipeListener{api: api, closed: make(chan struct{})}
	api.server.EnableHTTP2 = true
	api.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	api.server.StartTLS()
	t.Cleanup(api.server.Close)
	api.write("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.server.Certificate().Raw})))
	api.write("server", "https://example.com:6443\n")
	api.write("token", "secret-1\n")
	return api
}

func (a *fakeAPI) write(name, text string) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// client speaks to the fake API; its chance is always the middle.
func (a *fakeAPI) client() *Client {
	a.t.Helper()
	c, err := New(Options{Node: "node-a", Version: "1.2.3", CredentialDir: a.dir})
	if err != nil {
		a.t.Fatal(err)
	}
	c.jitter = func() float64 { return 0.5 }
	c.connect = a.dial
	a.t.Cleanup(c.CloseIdle)
	return c
}

func (a *fakeAPI) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a.mu.Lock()
	a.dials++
	down, frozen := a.down, a.frozen
	a.mu.Unlock()
	if down != nil {
		return nil, down
	}
	if frozen {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ours, theirs := net.Pipe()
	select {
	case a.accepts <- &gate{Conn: theirs, api: a}:
		return &gate{Conn: ours, api: a}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// gate swallows what is written while the network is frozen, as a router does that has lost its route.
type gate struct {
	net.Conn
	api *fakeAPI
}

func (g *gate) Write(b []byte) (int, error) {
	g.api.mu.Lock()
	frozen := g.api.frozen
	g.api.mu.Unlock()
	if frozen {
		return len(b), nil
	}
	return g.Conn.Write(b)
}

type pipeListener struct {
	api    *fakeAPI
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.api.accepts:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 6443} }

func (a *fakeAPI) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.at = append(a.at, time.Since(a.began))
	a.asked = append(a.asked, r.Method+" "+r.URL.RequestURI())
	answer := a.answer
	a.mu.Unlock()
	answer(w, r)
}

// answers sets what the server does from now on.
func (a *fakeAPI) answers(h http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = h
}

func (a *fakeAPI) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// requests returns what was asked so far, shortened: "list", "get", "watch 5", or the request itself.
func (a *fakeAPI) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var short []string
	for _, line := range a.asked {
		switch _, uri, _ := strings.Cut(line, " "); {
		case strings.HasPrefix(uri, objects+"?") && strings.Contains(uri, "watch=true"):
			_, version, _ := strings.Cut(uri, "resourceVersion=")
			version, _, _ = strings.Cut(version, "&")
			short = append(short, "watch "+version)
		case uri == objects+"?fieldSelector=metadata.name%3Dnode-a":
			short = append(short, "list")
		case uri == objects+"/node-a":
			short = append(short, "get")
		default:
			short = append(short, line)
		}
	}
	return short
}

func (a *fakeAPI) times() []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]time.Duration(nil), a.at...)
}

// object is a node's object as JSON, with one more field of its spec.
func object(version int, more string) string {
	if more != "" {
		more = "," + more
	}
	return fmt.Sprintf(`{"apiVersion":"multinic.io/v1","kind":"MultiNicNodeConfig","metadata":{"name":"node-a","namespace":"multinic-system","uid":"uid-a","generation":%[1]d,"resourceVersion":"%[1]d","managedFields":[{"manager":"kubectl"}]},"spec":{"nodeName":"node-a"%[2]s}}`, version, more)
}

func listOf(version int, items ...string) string {
	return fmt.Sprintf(`{"apiVersion":"multinic.io/v1","kind":"MultiNicNodeConfigList","metadata":{"resourceVersion":"%d"},"items":[%s]}`, version, strings.Join(items, ","))
}

func event(kind, object string) string { return `{"type":"` + kind + `","object":` + object + "}\n" }

func bookmark(version int) string {
	return event("BOOKMARK", fmt.Sprintf(`{"kind":"MultiNicNodeConfig","apiVersion":"multinic.io/v1","metadata":{"resourceVersion":"%d","creationTimestamp":null},"spec":{}}`, version))
}

func status(w http.ResponseWriter, code int, reason, more string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"it is %s","reason":"%s","code":%d%s}`, reason, reason, code, more)
}

func notFound(w http.ResponseWriter) {
	status(w, http.StatusNotFound, "NotFound", `,"details":{"name":"node-a","group":"multinic.io","kind":"multinicnodeconfigs"}`)
}

func isWatch(r *http.Request) bool { return r.URL.Query().Get("watch") == "true" }
func isList(r *http.Request) bool  { return r.URL.Path == objects && !isWatch(r) }

// flush sends what is written; that the client may be gone already is part of the tests.
func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// hold keeps the answer open, its head sent, until the client goes away.
func hold(w http.ResponseWriter, r *http.Request) {
	flush(w)
	<-r.Context().Done()
}

// stream is a watch that a test feeds.
type stream struct{ events chan string }

func (s *stream) serve(w http.ResponseWriter, r *http.Request) {
	flush(w)
	for {
		select {
		case e, ok := <-s.events:
			if !ok {
				return
			}
			_, _ = io.WriteString(w, e)
			flush(w)
		case <-r.Context().Done():
			return
		}
	}
}

// watching is a running Watch or Poll.
type watching struct {
	mu   sync.Mutex
	seen []Observation
	stop func()
}

// watch runs c.Watch until the test ends.
func watch(t *testing.T, c *Client) *watching { return observe(t, c, c.Watch) }

func observe(t *testing.T, c *Client, run func(context.Context, func(Observation)) error) *watching {
	w := &watching{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- run(ctx, func(o Observation) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.seen = append(w.seen, o)
		})
	}()
	var once sync.Once
	w.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v, want context.Canceled", err)
			}
			c.CloseIdle()
		})
	}
	t.Cleanup(w.stop)
	return w
}

// told returns what was notified, in short, once everything has come to rest.
func (w *watching) told() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var short []string
	for _, o := range w.seen {
		short = append(short, brief(o))
	}
	return short
}

func (w *watching) last() Observation {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) == 0 {
		return Observation{}
	}
	return w.seen[len(w.seen)-1]
}

func brief(o Observation) string {
	switch {
	case o.Err != nil && o.Object == nil && !o.Absent:
		return string(ClassOf(o.Err))
	case o.Absent && o.Object == nil && o.Err == nil:
		return "absent"
	case o.Object != nil && o.Err == nil && !o.Absent:
		return fmt.Sprintf("generation %d", o.Object.Generation)
	}
	return fmt.Sprintf("broken: %+v", o)
}

// after lets d pass.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
