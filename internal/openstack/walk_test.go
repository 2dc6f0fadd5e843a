package openstack

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// neutron is a Keystone and a Neutron that lie as they are told. What the real ones say is asked for
// in test/suite/openstack.
type neutron struct {
	*httptest.Server
	mu       sync.Mutex
	ports    []map[string]any
	requests []string
	tokens   int
	// lie changes an answer, or gives another one: the number of the request for ports is from 1.
	lie func(n int, w http.ResponseWriter, r *http.Request, page []map[string]any) bool
	// credential is what Keystone says of the application credential; nil: the token is of none.
	credential func() (int, string)
}

func newNeutron(t *testing.T, ports int) *neutron {
	n := &neutron{}
	for i := range ports {
		n.ports = append(n.ports, map[string]any{
			"id": fmt.Sprintf("port-%03d", i), "name": "", "mac_address": fmt.Sprintf("FA:16:3E:00:00:%02X", i), "network_id": "data", "device_id": "instance-1",
			"device_owner": "compute:nova", "project_id": project, "status": "ACTIVE", "tags": []string{}, "created_at": "2026-11-29T10:00:00Z",
			"fixed_ips": []map[string]string{{"subnet_id": "data-4", "ip_address": fmt.Sprintf("10.0.1.%d", i)}},
		})
	}
	n.Server = httptest.NewServer(http.HandlerFunc(n.serve))
	t.Cleanup(n.Close)
	return n
}

func (n *neutron) serve(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	answer := func(v any) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			panic(err)
		}
	}
	if r.URL.Path == "/v3/auth/tokens" {
		n.tokens++
		w.Header().Set("X-Subject-Token", fmt.Sprint("token-", n.tokens))
		w.WriteHeader(http.StatusCreated)
		by := map[string]string{}
		if n.credential != nil {
			by["id"] = "i"
		}
		answer(map[string]any{"token": map[string]any{
			"user": map[string]string{"id": "u"}, "application_credential": by,
			"expires_at": "2030-01-01T00:00:00.000000Z", "project": map[string]any{"id": project, "name": "p"},
			"catalog": []any{map[string]any{"type": "network", "name": "neutron", "endpoints": []any{map[string]any{"interface": "public", "region": "RegionOne", "region_id": "RegionOne", "url": n.URL + "/network"}}}},
		}})
		return
	}
	if r.URL.Path == "/v3/users/u/application_credentials/i" {
		status, text := n.credential()
		write(w, status, text)
		return
	}
	if r.URL.Path == "/network/" {
		answer(map[string]any{"versions": []any{map[string]any{"id": "v2.0", "status": "CURRENT"}}})
		return
	}
	path, q := strings.TrimPrefix(r.URL.Path, "/network/v2.0/"), r.URL.Query()
	n.requests = append(n.requests, path)
	if id, one := strings.CutPrefix(path, "ports/"); one {
		for _, p := range n.ports {
			if p["id"] == id {
				answer(map[string]any{"port": p})
				return
			}
		}
		http.NotFound(w, r)
		return
	}
	if path != "ports" {
		answer(map[string]any{path: []any{}})
		return
	}
	page, limit := []map[string]any{}, 1000
	if l, err := strconv.Atoi(q.Get("limit")); err == nil {
		limit = l
	}
	for _, p := range n.ports {
		if fmt.Sprint(p["id"]) > q.Get("marker") && len(page) < limit && (len(q["device_id"]) == 0 || slices.Contains(q["device_id"], fmt.Sprint(p["device_id"]))) {
			page = append(page, p)
		}
	}
	if n.lie != nil && n.lie(len(slices.DeleteFunc(slices.Clone(n.requests), func(s string) bool { return s != "ports" })), w, r, page) {
		return
	}
	answer(map[string]any{"ports": page})
}

// client is a client for it, by a clouds.yaml.
func (n *neutron) client(t *testing.T) *cloud {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clouds.yaml")
	text := fmt.Sprintf("clouds:\n  c:\n    auth_type: v3applicationcredential\n    region_name: RegionOne\n    auth: {auth_url: %s/v3, application_credential_id: i, application_credential_secret: s}\n", n.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &cloud{name: "c", file: file, agent: "test", timeout: 2 * time.Second, page: 3, meters: newMeters()}
	if err := c.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func write(w http.ResponseWriter, status int, body string) bool {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // the client may be gone
	return true
}

func TestWhatOfAnAnswerIsBelieved(t *testing.T) {
	const all = 7
	second := func(f func(w http.ResponseWriter, page []map[string]any) bool) func(int, http.ResponseWriter, *http.Request, []map[string]any) bool {
		return func(n int, w http.ResponseWriter, _ *http.Request, page []map[string]any) bool {
			return n == 2 && f(w, page)
		}
	}
	instead := func(status int, body string) func(int, http.ResponseWriter, *http.Request, []map[string]any) bool {
		return second(func(w http.ResponseWriter, _ []map[string]any) bool { return write(w, status, body) })
	}
	without := func(field string) func(int, http.ResponseWriter, *http.Request, []map[string]any) bool {
		return second(func(w http.ResponseWriter, page []map[string]any) bool {
			less := map[string]any{}
			for k, v := range page[0] {
				if k != field {
					less[k] = v
				}
			}
			body, _ := json.Marshal(map[string]any{"ports": []any{less}})
			return write(w, 200, string(body))
		})
	}
	for _, row := range []struct {
		name    string
		lie     func(n int, w http.ResponseWriter, r *http.Request, page []map[string]any) bool
		want    int    // ports
		wantErr string // of an error, in place of them
	}{
		{"pages to the empty one", nil, all, ""},
		{"the cloud makes pages shorter than was asked", func(_ int, w http.ResponseWriter, _ *http.Request, page []map[string]any) bool {
			body, _ := json.Marshal(map[string]any{"ports": page[:min(2, len(page))]})
			return write(w, 200, string(body))
		}, all, ""},
		{"401 for ever", func(_ int, w http.ResponseWriter, _ *http.Request, _ []map[string]any) bool {
			return write(w, 401, `{}`)
		}, 0, "401 Unauthorized"},
		{"a token that has ended", instead(401, `{}`), all, ""},
		{"403", instead(403, `{}`), 0, "403 Forbidden"},
		{"429 with a time to wait", second(func(w http.ResponseWriter, _ []map[string]any) bool {
			w.Header().Set("Retry-After", "0")
			return write(w, 429, "")
		}), all, ""},
		{"503 in plain text", instead(503, "The Keystone service is temporarily unavailable"), 0, "503 Service Unavailable"},
		{"503 that says when", second(func(w http.ResponseWriter, _ []map[string]any) bool {
			w.Header().Set("Retry-After", "0")
			return write(w, 503, "")
		}), all, ""},
		{"204", instead(204, ""), 0, "204 No Content"},
		{"an empty object", instead(200, `{}`), 0, "no list of them"},
		{"no list", instead(200, `{"ports": null}`), 0, "no list of them"},
		{"a text for a list", instead(200, `{"ports": "none"}`), 0, "no list of them"},
		{"cut JSON", instead(200, `{"ports": [{"id"`), 0, "unexpected end"},
		{"a page that was cut short in the middle of the body", second(func(w http.ResponseWriter, _ []map[string]any) bool {
			w.Header().Set("Content-Length", "4000")
			return write(w, 200, `{"ports": [`)
		}), 0, "unexpected EOF"},
		{"a port without its id", without("id"), 0, "fields are missing"},
		{"a port without its device", without("device_id"), 0, "fields are missing"},
		{"a port without its tags", without("tags"), 0, "fields are missing"},
		{"a port without its addresses", without("fixed_ips"), 0, "fields are missing"},
		{"an unknown field's name: empty objects", instead(200, `{"ports": [{}]}`), 0, "fields are missing"},
		{"the query was lost: all ports, of anybody", second(func(w http.ResponseWriter, page []map[string]any) bool {
			page[0]["device_id"] = "somebody-else"
			body, _ := json.Marshal(map[string]any{"ports": page})
			return write(w, 200, string(body))
		}), 0, "was not asked for"},
		{"a port of another project", second(func(w http.ResponseWriter, page []map[string]any) bool {
			page[0]["project_id"] = "another"
			body, _ := json.Marshal(map[string]any{"ports": page})
			return write(w, 200, string(body))
		}), 0, "was not asked for"},
		{"the same page again", func(n int, w http.ResponseWriter, r *http.Request, page []map[string]any) bool {
			if n == 1 {
				return false
			}
			return write(w, 200, `{"ports": [`+onePort+`]}`)
		}, 0, "comes twice"},
		{"the port that ended the page was deleted", instead(404, `{"NeutronError": {}}`), all, ""},
		{"and is deleted again and again", func(_ int, w http.ResponseWriter, r *http.Request, _ []map[string]any) bool {
			return r.URL.Query().Has("marker") && write(w, 404, "{}")
		}, 0, "404 Not Found"},
		{"slower than the client waits", func(n int, _ http.ResponseWriter, r *http.Request, _ []map[string]any) bool {
			if n == 2 {
				<-r.Context().Done()
			}
			return n == 2
		}, 0, "GET /ports: Get "},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			n := newNeutron(t, all)
			c := n.client(t)
			n.lie = row.lie
			got, err := c.walker().ports(t.Context(), project, []string{"instance-1"})
			if row.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), row.wantErr) {
					t.Errorf("got %d ports and %v, want %q", len(got), err, row.wantErr)
				}
				return
			}
			if err != nil || len(got) != row.want {
				t.Errorf("got %d ports and %v, want %d", len(got), err, row.want)
			}
		})
	}
}

const onePort = `{"id": "port-000", "name": "", "mac_address": "fa:16:3e:00:00:00", "network_id": "data", "device_id": "instance-1", "device_owner": "compute:nova", "project_id": "project-1", "status": "", "tags": [], "fixed_ips": []}`

func TestFewIdsAreAskedForAtOnce(t *testing.T) {
	n := newNeutron(t, 3)
	c := n.client(t)
	var ids []string
	for i := range 700 {
		ids = append(ids, fmt.Sprintf("instance-%d", i))
	}
	n.lie = func(_ int, _ http.ResponseWriter, r *http.Request, _ []map[string]any) bool {
		if len(r.URL.String()) > 8000 {
			t.Errorf("a URL of %d bytes", len(r.URL.String()))
		}
		return false
	}
	if got, err := c.walker().ports(t.Context(), project, ids); err != nil || len(got) != 3 {
		t.Errorf("%d ports, %v", len(got), err)
	}
}

// The body of a 404 is not read: Neutron of 2022 puts the port into it that it hides.
func TestAPortThatIsHiddenIsNotThere(t *testing.T) {
	n := newNeutron(t, 1)
	c := n.client(t)
	p, err := c.walker().port(t.Context(), "port-000")
	if err != nil || p == nil || p.MACAddress != "fa:16:3e:00:00:00" || p.Cloud != "c" {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := c.walker().port(t.Context(), "port-001"); err != nil || p != nil {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestCredentialsAreReadAgainWhenTheyChange(t *testing.T) {
	n := newNeutron(t, 1)
	c := n.client(t)
	for range 2 {
		if err := c.open(t.Context()); err != nil || n.tokens != 1 {
			t.Errorf("the same file: %d tokens, %v", n.tokens, err)
		}
	}
	text, err := os.ReadFile(c.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.file, []byte(strings.ReplaceAll(string(text), "secret: s", "secret: other")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.open(t.Context()); err != nil || n.tokens != 2 {
		t.Errorf("another secret: %d tokens, %v", n.tokens, err)
	}
	if err := os.WriteFile(c.file, []byte("clouds: {}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.open(t.Context()); err == nil || !strings.Contains(err.Error(), "not found in clouds.yaml") {
		t.Errorf("no such cloud: %v", err)
	}
}

func TestHowLongARequestWaits(t *testing.T) {
	for _, row := range []struct {
		status int
		header string
		try    int
		want   time.Duration
	}{
		{429, "", 0, 2 * time.Second}, {429, "", 2, 8 * time.Second}, {429, "7", 0, 7 * time.Second}, {429, "86400", 0, time.Minute}, {429, "0", 3, 100 * time.Millisecond},
		{503, "", 0, 0}, {503, "3", 0, 3 * time.Second}, {500, "3", 0, 0}, {401, "3", 0, 0},
	} {
		if got := wait(row.status, http.Header{"Retry-After": {row.header}}, row.try); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
	if got := wait(429, http.Header{"Retry-After": {time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat)}}, 0); got < 15*time.Second || got > 20*time.Second {
		t.Errorf("a date: %v", got)
	}
}

func TestThePauseBetweenWalks(t *testing.T) {
	for _, row := range []struct {
		failed int
		chance float64
		want   time.Duration
	}{
		{0, 0.5, 30 * time.Second}, {0, 0, 24 * time.Second}, {0, 1, 36 * time.Second}, {1, 0.5, time.Minute}, {50, 0.5, 4 * time.Minute},
	} {
		if got := pause(30*time.Second, row.failed, row.chance).Round(time.Millisecond); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
}
