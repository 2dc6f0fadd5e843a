package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/internal/bridge/rollout"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/product"
)

// faulty stands between a bridge and the API server, and answers some requests
// as a server in trouble does. It counts what it was asked.
type faulty struct {
	on    atomic.Bool
	asked atomic.Int64 // but for watches
	mu    sync.Mutex
	did   map[string]int
}

// wrap gives the configuration by which a client asks through the faults.
func (f *faulty) wrap(c *cluster, cfg *rest.Config) *rest.Config {
	c.t.Helper()
	target, err := url.Parse(c.URL)
	if err != nil {
		c.t.Fatal(err)
	}
	direct, err := rest.TransportFor(c.Config())
	if err != nil {
		c.t.Fatal(err)
	}
	f.did = map[string]int{}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     direct,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(proxy, w, r) }))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	c.t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return &rest.Config{Host: server.URL, Impersonate: cfg.Impersonate, UserAgent: cfg.UserAgent}
}

func (f *faulty) serve(proxy http.Handler, w http.ResponseWriter, r *http.Request) {
	if !f.on.Load() {
		proxy.ServeHTTP(w, r)
		return
	}
	if r.URL.Query().Get("watch") != "" {
		// A watch ends in the middle after a while: what came meanwhile has to be asked for.
		ctx, cancel := context.WithTimeout(r.Context(), time.Second+rand.N(4*time.Second))
		defer cancel()
		proxy.ServeHTTP(w, r.WithContext(ctx))
		return
	}
	f.asked.Add(1)
	status := func(code int, reason string) {
		f.note(reason)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":"made by the test","code":%d}`, reason, code)
	}
	switch rand.N(12) {
	case 0:
		w.Header().Set("Retry-After", "1")
		status(http.StatusTooManyRequests, "TooManyRequests")
	case 1:
		status(http.StatusInternalServerError, "InternalError")
	case 2:
		if r.Method == http.MethodGet {
			status(http.StatusServiceUnavailable, "ServiceUnavailable")
			return
		}
		status(http.StatusConflict, "Conflict")
	case 3: // it is done, and the answer is lost
		f.note("answer lost")
		proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	default:
		proxy.ServeHTTP(w, r)
	}
}

// faults are those that were made so far, and how often.
func (f *faulty) faults() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.did)
}

func (f *faulty) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did[what]++
}

// What the API server does to the bridge delays a status, and neither loses nor
// turns one.
func TestStatusSurvivesAnAPIServerInTrouble(t *testing.T) {
	const nodes = 10
	rounds := 6
	for _, more := range prerequisite.Long(50) {
		rounds = more
	}
	c := newCluster(t)
	f := newFleet(c, "fault", nodes)
	trouble := &faulty{}
	way := map[string]*rest.Config{}
	for _, account := range []string{v1.BridgeAccount, v1.CredentialsAccount} {
		way[account] = trouble.wrap(c, c.asBridge(account))
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() {
		as := func(account string) *rest.Config { return way[account] }
		done <- product.RunBridge(ctx, as, bridge.Options{Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Rollout: rollout.Options{Max: "100%"}})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the bridge ended: %v", err)
		}
	}()
	f.play()
	f.settle("map[Configured Configured:10]")
	trouble.on.Store(true) // a bridge that cannot even start ends, and Kubernetes starts it again
	before := trouble.asked.Load()
	began := time.Now()
	for round := range rounds {
		hash := fmt.Sprint("round-", round)
		if round%5 == 3 {
			hash = "bad"
		}
		f.publish(hash)
		time.Sleep(rand.N(500 * time.Millisecond)) // the next may come in the middle
	}
	f.publish("last")
	f.settle("map[Configured Configured:10]")
	for _, o := range f.objects() {
		s := o.Status
		if s.ObservedSpecHash != "last" || s.ReleasedGeneration != o.Generation || !strings.Contains(brief(s), "Ready=True AllInterfacesConfigured 1/1") {
			t.Errorf("%s: %s, hash %s, released %d of %d", o.Name, brief(s), s.ObservedSpecHash, s.ReleasedGeneration, o.Generation)
		}
	}
	asked, changes := trouble.asked.Load()-before, int64((rounds+1)*nodes)
	t.Logf("%d changes in %s: %d requests, faults %v", changes, time.Since(began).Round(time.Millisecond), asked, trouble.faults())
	// Three writes a change with the brake, half as many again for the faults, what lists cost after cut watches, and what other tests' nodes leave.
	if most := 10*changes + 100*int64(time.Since(began)/time.Second+1); asked > most {
		t.Errorf("%d requests for %d changes, want at most %d", asked, changes, most)
	}
	time.Sleep(time.Second) // for what was begun before
	quiet := trouble.asked.Load()
	time.Sleep(2 * time.Second) // in which nothing is to happen
	if n := trouble.asked.Load() - quiet; n > 200 {
		t.Errorf("%d requests within 2 s although nothing changes", n)
	}
}
