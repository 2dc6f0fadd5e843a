package openstack

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"multinicd/test/bed"
	"multinicd/test/bed/openstack"
	"multinicd/test/bed/prerequisite"
)

var noTime time.Time

// walks waits until the publisher has made n walks more.
func (s *stage) walks(n int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), bed.Patience)
	defer cancel()
	s.must(s.way.Walks(ctx, n))
}

// instead answers every request of a path with this.
func instead(path string, status int, body string, header ...string) func(http.Handler) http.Handler {
	return func(real http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, path) {
				real.ServeHTTP(w, r)
				return
			}
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body) // the publisher may have gone
		})
	}
}

// changed has the real answer to a list of ports changed.
func changed(f func(ports []any) any) func(http.Handler) http.Handler {
	return func(real http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2.0/ports" {
				real.ServeHTTP(w, r)
				return
			}
			answer := httptest.NewRecorder()
			real.ServeHTTP(answer, r)
			var body struct {
				Ports []any `json:"ports"`
			}
			if json.Unmarshal(answer.Body.Bytes(), &body) != nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			w.WriteHeader(answer.Code)
			_ = json.NewEncoder(w).Encode(f(body.Ports)) // the publisher may have gone
		})
	}
}

// Each lie is told for some walks, in which both ports of a node are there. Nothing may go, nor change. Afterwards the publisher goes on by itself.
func TestNothingGoesBecauseNeutronLies(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	i := s.instance("lies-1")
	first, second := i.port(31), i.port(32)
	const want = "0=10.20.0.31/24 1=10.20.0.32/24"
	without := func(hidden ...string) func(http.Handler) http.Handler {
		return changed(func(ports []any) any {
			return openstack.Thing{"ports": slices.DeleteFunc(ports, func(p any) bool {
				port, ok := p.(map[string]any)
				return ok && slices.Contains(hidden, fmt.Sprint(port["id"]))
			})}
		})
	}
	type row struct {
		name  string
		fails bool // the walk, so that the next one comes later
		lie   func(s *stage)
	}
	lie := func(f func(http.Handler) http.Handler) func(*stage) { return func(s *stage) { s.way.Lie(f) } }
	p := s.publish("--removal-age", "1s")
	s.becomes("lies-1", want)
	failed := func() int { return strings.Count(p.Log(), "a walk was not whole") }
	rows := []row{ // one that fails by turns, since the pause grows while walks fail
		{"an empty list", false, lie(instead("/v2.0/ports", 200, `{"ports": []}`))},
		{"an empty object", true, lie(instead("/v2.0/ports", 200, `{}`))},
		{"a list without one port, which is there if it is asked for", false, lie(without(second))},
		{"503 in plain text", true, lie(instead("/v2.0/ports", 503, "The Keystone service is temporarily unavailable"))},
		{"a list without the primary port", false, lie(without(i.primary))},
		{"429 that ends soon, again and again", true, lie(instead("/v2.0/ports", 429, "", "Retry-After", "0"))},
		{"all ports but the primary one hidden, also one by one", false, lie(func(real http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/v2.0/ports/") {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				without(first, second)(real).ServeHTTP(w, r)
			})
		})},
		{"no subnet can be read", false, lie(instead("/v2.0/subnets", 200, `{"subnets": []}`))},
		{"no network can be read", false, lie(instead("/v2.0/networks", 200, `{"networks": []}`))},
		{"the role is taken, really: the credential has ended with it", true, func(s *stage) {
			s.must(s.cloud.Grant(s.t.Context(), s.tenant, "nothing", true))
			s.must(s.cloud.Grant(s.t.Context(), s.tenant, "reader", false))
			s.way.Lie(instead("/v2.0/ports", 503, "")) // else Neutron believes the token for five minutes more
			bed.Eventually(s.t, "that a walk asks for another token", "true", func() string { return fmt.Sprint(strings.Contains(p.Log(), "asking the cloud")) })
			s.way.Lie(nil)
		}},
		{"a role without rights, really: there is a list, and it is empty", false, func(s *stage) {
			s.must(s.cloud.Credential(s.t.Context(), s.tenant, openstack.Rules(), noTime))
			s.writeClouds()
		}},
	}
	last := len(rows) - 2 // after it there is no credential
	rows = append(append(rows[:last:last], prerequisite.Long(
		row{"403 for networks", true, lie(instead("/v2.0/networks", 403, `{}`))},
		row{"cut JSON", true, lie(instead("/v2.0/ports", 200, `{"ports": [{"id": "`))},
		row{"204", true, lie(instead("/v2.0/ports", 204, ""))},
		row{"401", true, lie(instead("/v2.0/ports", 401, `{}`))},
		row{"403", true, lie(instead("/v2.0/ports", 403, `{}`))},
		row{"slower than the patience of a request", true, lie(func(http.Handler) http.Handler {
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		})},
		row{"a list for a text", true, lie(instead("/v2.0/ports", 200, `{"ports": "none"}`))},
	)...), rows[last:]...)
	for _, row := range rows {
		generation := s.object("lies-1").Generation
		row.lie(s)
		before := failed()
		if row.fails {
			bed.Eventually(t, "that a walk fails because of "+row.name, "true", func() string { return fmt.Sprint(failed() > before) })
		} else {
			s.walks(2)
		}
		if got := s.object("lies-1"); s.nics("lies-1") != want || got.Generation != generation {
			t.Errorf("%s: the NICs are %s, generation %d of %d", row.name, s.nics("lies-1"), got.Generation, generation)
		}
		s.way.Lie(nil)
	}
	s.must(s.cloud.Grant(t.Context(), s.tenant, "reader", true))
	s.must(s.cloud.Credential(t.Context(), s.tenant, openstack.Rules(), noTime)) // the old one ended with the role
	s.writeClouds()
	third := i.port(33)
	s.becomes("lies-1", want+" 2=10.20.0.33/24")
	s.remove(third)
	s.becomes("lies-1", want)
}
