package openstack

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	v1 "multinicd/api/v1"
	publishing "multinicd/internal/openstack"
	"multinicd/test/bed/product"
)

// publisher is the product's own publisher inside of the test, with the rights of its manifest, so that it can be killed at a write and walk at once. When
// it has died another one starts, as its Deployment would have it.
type publisher struct {
	mu    sync.Mutex
	left  int // writes until it dies; 0: it lives
	after bool
	died  int
}

// arm has the publisher die at the nth write of an object from now on: before the API server gets it, or before it gets the answer. 0 lets it live.
func (p *publisher) arm(n int, after bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.after = n, after
}

func (p *publisher) deaths() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.died
}

// supervise runs publishers until the test ends.
func (s *stage) supervise(page int) *publisher {
	s.t.Helper()
	token, err := product.Token(s.t.Context(), s.cluster, v1.SystemNamespace, v1.PublisherOpenStack)
	s.must(err)
	p, done := &publisher{}, make(chan struct{})
	ctx, stop := context.WithCancel(s.t.Context())
	s.t.Cleanup(func() { stop(); <-done })
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			life, die := context.WithCancel(ctx)
			cfg := rest.AnonymousClientConfig(s.cluster.Config())
			cfg.BearerToken = token
			cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &mortal{p: p, next: next, life: life, die: die} })
			err := publishing.Run(life, cfg, publishing.Options{
				Log: slog.New(slog.DiscardHandler), CloudsFile: s.clouds, Clouds: []string{s.tenant.Name}, Interval: 2 * time.Second, Timeout: 30 * time.Second,
				PageSize: page, Agent: "test", Rules: publishing.Rules{Networks: []string{s.data.id}, Provider: "openstack", MTU: true},
			})
			if err != nil && life.Err() == nil {
				s.t.Errorf("the publisher ended: %v", err)
				stop()
			}
			die()
		}
	}()
	return p
}

// mortal is the way of one publisher to the API server.
type mortal struct {
	p    *publisher
	next http.RoundTripper
	life context.Context
	die  context.CancelFunc
}

var errKilled = errors.New("killed")

func (m *mortal) RoundTrip(r *http.Request) (*http.Response, error) {
	if m.life.Err() != nil {
		return nil, errKilled
	}
	if (r.Method != http.MethodPost && r.Method != http.MethodPatch) || !strings.Contains(r.URL.Path, "/multinicnodeconfigs") {
		return m.next.RoundTrip(r)
	}
	m.p.mu.Lock()
	now := m.p.left == 1
	if m.p.left > 0 {
		m.p.left--
	}
	after := m.p.after
	if now {
		m.p.died++
	}
	m.p.mu.Unlock()
	if !now {
		return m.next.RoundTrip(r)
	}
	if after {
		if answer, err := m.next.RoundTrip(r); err == nil {
			answer.Body.Close()
		}
	}
	m.die()
	return nil, errKilled
}
