package kube

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "multinicd/api/v1"
)

func TestPollAsksAtIntervalsAndNotOlderThanBefore(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		api.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, object(3, "")) })
		c := api.client()
		w := observe(t, c, func(ctx context.Context, notify func(Observation)) error {
			return c.Poll(ctx, 30*time.Second, notify)
		})
		after(31 * time.Second)
		api.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, object(4, "")) })
		after(30 * time.Second)
		wantTold(t, w, "generation 3", "generation 3", "generation 4")
		wantAsked(t, api, "get", "GET "+objects+"/node-a?resourceVersion=3", "GET "+objects+"/node-a?resourceVersion=3")
		if diff := cmp.Diff([]time.Duration{0, 30 * time.Second, time.Minute}, api.times()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestPollBelievesTheStoreAloneThatTheObjectIsGone(t *testing.T) {
	tests := map[string]struct {
		cached func(http.ResponseWriter) // the answer to a question by version
		told   string                    // with the store saying absent
	}{
		"a cache that does not have it": {notFound, "absent"},
		"a cache that will never come to that version": {func(w http.ResponseWriter) {
			status(w, 504, "Timeout", `,"details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}]}`)
		}, "absent"},
		"a version that is compacted":   {func(w http.ResponseWriter) { status(w, 410, "Gone", "") }, "absent"},
		"a cache that is not there yet": {func(w http.ResponseWriter) { status(w, 503, "ServiceUnavailable", "") }, "Server"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fakeAPI) {
				first := true
				api.answers(func(w http.ResponseWriter, r *http.Request) {
					switch {
					case first:
						first = false
						_, _ = io.WriteString(w, object(3, ""))
					case r.URL.RawQuery != "":
						tt.cached(w)
					default:
						notFound(w)
					}
				})
				c := api.client()
				w := observe(t, c, func(ctx context.Context, notify func(Observation)) error {
					return c.Poll(ctx, 30*time.Second, notify)
				})
				after(30 * time.Second)
				wantTold(t, w, "generation 3", tt.told)
			})
		})
	}
}

func TestPollComesBackSoonAfterAnOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		api.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, object(3, "")) })
		c := api.client()
		w := observe(t, c, func(ctx context.Context, notify func(Observation)) error {
			return c.Poll(ctx, time.Hour, notify)
		})
		after(time.Minute)
		api.set(func() { api.down = errors.New("connection refused") })
		c.cut()
		after(2 * time.Hour)
		if got := brief(w.last()); got != "Unreachable" {
			t.Errorf("got %s", got)
		}
		api.set(func() { api.down = nil })
		after(30 * time.Second)
		if got := brief(w.last()); got != "generation 3" {
			t.Errorf("30 s after the outage: got %s", got)
		}
	})
}

func TestGet(t *testing.T) {
	tests := map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"the object": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, object(3, "")) }, "generation 3"},
		"a field that we do not know": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, object(3, `"deviceId":"x","subnet":{"a":1}`))
		}, "generation 3"},
		"the older version": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Replace(object(3, ""), "multinic.io/v1", "multinic.io/v1alpha1", 1))
		}, "generation 3"},
		"another kind": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Replace(object(3, ""), "MultiNicNodeConfig", "ConfigMap", 1))
		}, "Malformed"},
		"nothing there":   {func(w http.ResponseWriter, _ *http.Request) { notFound(w) }, "absent"},
		"another path":    {func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, "NotServed"},
		"an empty answer": {func(http.ResponseWriter, *http.Request) {}, "Unexpected"},
		"null":            {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "null") }, "Unexpected"},
		"a wrong type": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, object(3, `"interfaces":[{"macAddress":7}]`))
		}, "Malformed"},
		"a refusal": {func(w http.ResponseWriter, _ *http.Request) { status(w, 401, "Unauthorized", "") }, "Unauthorized"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fakeAPI) {
				api.answers(tt.answer)
				if got := api.client().Get(t.Context()); brief(got) != tt.want {
					t.Errorf("got %s (%v), want %s", brief(got), got.Err, tt.want)
				}
			})
		})
	}
}

func TestPutReportIsOnePatch(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		var kind, accept string
		var body map[string]any
		api.answers(func(w http.ResponseWriter, r *http.Request) {
			kind, accept = r.Header.Get("Content-Type"), r.Header.Get("Accept")
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, "{}")
		})
		report := `{"message":"<&>\u2028 \"quoted\""}`
		if err := api.client().PutReport(t.Context(), []byte(report)); err != nil {
			t.Fatal(err)
		}
		wantAsked(t, api, "PATCH /api/v1/namespaces/multinic-nodes/configmaps/multinic-report-node-a")
		if diff := cmp.Diff(map[string]any{"data": map[string]any{"report.json": report}}, body); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if kind != "application/merge-patch+json" || !strings.HasPrefix(accept, "application/json;as=PartialObjectMetadata") {
			t.Errorf("got %q, %q", kind, accept)
		}
	})
}

func TestPutReportRefusesOneThatNobodyWouldTake(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		err := api.client().PutReport(t.Context(), make([]byte, v1.MaxReportSize+1))
		if err == nil || !strings.Contains(err.Error(), "at most 32768") {
			t.Errorf("got %v", err)
		}
		wantAsked(t, api)
	})
}

func TestRenewLeaseIsOnePatch(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		var body map[string]any
		api.answers(func(w http.ResponseWriter, r *http.Request) {
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, "{}")
		})
		if err := api.client().RenewLease(t.Context(), "node-a_boot-1"); err != nil {
			t.Fatal(err)
		}
		wantAsked(t, api, "PATCH /apis/coordination.k8s.io/v1/namespaces/multinic-nodes/leases/multinic-node-a")
		// The bubble's clock begins at the start of 2000.
		want := map[string]any{"spec": map[string]any{
			"holderIdentity": "node-a_boot-1", "leaseDurationSeconds": 360.0, "renewTime": "2000-01-01T00:00:00.000000Z",
		}}
		if diff := cmp.Diff(want, body); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestWritesTellWhatIsNotThereYetFromWhatIsNotServed(t *testing.T) {
	tests := map[string]struct {
		answer http.HandlerFunc
		class  Class
		absent bool
	}{
		"nobody has made it yet": {func(w http.ResponseWriter, _ *http.Request) {
			status(w, 404, "NotFound", `,"details":{"name":"multinic-report-node-a","kind":"configmaps"}`)
		}, NotFound, true},
		"a path that is not served": {func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, NotServed, false},
		"a conflict":                {func(w http.ResponseWriter, _ *http.Request) { status(w, 409, "Conflict", "") }, Unexpected, false},
		"a refusal by admission":    {func(w http.ResponseWriter, _ *http.Request) { status(w, 422, "Invalid", "") }, Unexpected, false},
		"no answer":                 {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, Unreachable, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fakeAPI) {
				api.answers(tt.answer)
				c := api.client()
				for _, err := range []error{c.PutReport(t.Context(), []byte("{}")), c.RenewLease(t.Context(), "x")} {
					if ClassOf(err) != tt.class || errors.Is(err, ErrNotFound) != tt.absent {
						t.Errorf("got %v of class %s", err, ClassOf(err))
					}
				}
			})
		})
	}
}

func TestPingMakesAConnectionOfItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		api.answers(func(w http.ResponseWriter, r *http.Request) {
			if isWatch(r) {
				hold(w, r)
				return
			}
			_, _ = io.WriteString(w, listOf(10, object(3, "")))
		})
		c := api.client()
		watch(t, c)
		synctest.Wait()
		for range 2 {
			if err := c.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		api.mu.Lock()
		defer api.mu.Unlock()
		if api.dials != 3 {
			t.Errorf("dialled %d times, want once for the watch and once for each ping", api.dials)
		}
	})
}

func TestPingAsksWhetherTheServerCanBeReachedNotWhetherItIsWell(t *testing.T) {
	tests := map[string]struct {
		prepare func(*fakeAPI)
		want    Class // "" means reached
		within  time.Duration
	}{
		"it answers":         {func(*fakeAPI) {}, "", 0},
		"it refuses us":      {func(a *fakeAPI) { a.answers(func(w http.ResponseWriter, _ *http.Request) { status(w, 401, "x", "") }) }, "", 0},
		"it is not ready":    {func(a *fakeAPI) { a.answers(func(w http.ResponseWriter, _ *http.Request) { status(w, 500, "x", "") }) }, "", 0},
		"nothing passes":     {func(a *fakeAPI) { a.frozen = true }, Unreachable, 5 * time.Second},
		"nobody listens":     {func(a *fakeAPI) { a.down = errors.New("connection refused") }, Unreachable, 0},
		"it never answers":   {func(a *fakeAPI) { a.answers(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }) }, Unreachable, 5 * time.Second},
		"somebody else does": {func(a *fakeAPI) { a.write("server", "https://other.example") }, Untrusted, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fakeAPI) {
				api.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
				tt.prepare(api)
				c := api.client()
				began := time.Now()
				err := c.Ping(t.Context())
				if (err == nil) != (tt.want == "") || ClassOf(err) != tt.want {
					t.Errorf("got %v", err)
				}
				if got := time.Since(began); got != tt.within {
					t.Errorf("it took %s, want %s", got, tt.within)
				}
			})
		})
	}
}

func TestAnEndedContextIsNoFaultOfTheServer(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		api.answers(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		ctx, cancel := context.WithCancel(t.Context())
		c := api.client()
		done := make(chan error)
		go func() { done <- c.PutReport(ctx, []byte("{}")) }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || ClassOf(err) != "" {
			t.Errorf("got %v", err)
		}
	})
}

// FuzzRead: whatever an answer holds, there is an object, a reason why it is malformed, or an error.
func FuzzRead(f *testing.F) {
	f.Add([]byte(object(3, "")))
	f.Add([]byte(object(3, `"interfaces":[{"macAddress":"02:00:00:00:01:01","id":1,"mtu":"x"}]`)))
	f.Add([]byte(`{"metadata":{"name":"node-a","resourceVersion":"1","creationTimestamp":7}}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`[]`))
	c := &Client{opts: Options{Node: "node-a"}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, _, err := c.read("reading", raw)
		switch {
		case err != nil && ClassOf(err) == Unexpected:
		case err == nil && o.Object != nil && o.Err == nil && o.Object.Name == "node-a":
		case err == nil && o.Object == nil && ClassOf(o.Err) == Malformed:
		default:
			t.Errorf("got %+v, %v", o, err)
		}
	})
}
