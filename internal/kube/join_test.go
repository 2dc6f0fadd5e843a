package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "multinicd/api/v1"
	"multinicd/internal/kube/credential"
)

// joinFor joins for at most d, by the token or by the kubelet.
func (f *fakeCluster) joinFor(t *testing.T, d time.Duration, kubelet bool) (*Joined, error) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, fmt.Errorf("no answer within %s", d))
	defer cancel()
	j := Joining{Server: "https://example.com:6443", File: v1.JoinFile{Token: "a.join.token", CA: f.ca()}}
	if kubelet {
		j = Joining{Kubeconfig: f.kubelet()}
	}
	opts, err := (Options{Node: "node-a"}).filled()
	if err != nil {
		t.Fatal(err)
	}
	return join(ctx, opts, j, f.dial)
}

func TestJoiningAsksOnceAndThenOnlyGets(t *testing.T) {
	for name, kubelet := range map[string]bool{"by a join token": false, "by the kubelet": true} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(t *testing.T, f *fakeCluster) {
				f.gone = true
				go func() {
					time.Sleep(20 * time.Second)
					f.mu.Lock()
					defer f.mu.Unlock()
					f.gone = false
				}()
				got, err := f.joinFor(t, time.Minute, kubelet)
				if err != nil {
					t.Fatal(err)
				}
				asked := map[string]int{}
				for _, line := range f.fakeAPI.requests() {
					asked[line]++
				}
				gets := asked["GET "+requestsPath+"/node-a"]
				delete(asked, "GET "+requestsPath+"/node-a")
				if diff := cmp.Diff(map[string]int{"POST " + requestsPath: 1, "get": 1}, asked); diff != "" || gets < 8 || gets > 20 {
					t.Errorf("got %d times in 20 s, and asked (-want +got):\n%s", gets, diff)
				}
				if got.Request != "request-1" || got.Server != "https://example.com:6443" || !strings.HasSuffix(got.token.Reveal(), "SIGNATURE") {
					t.Errorf("got %+v", got)
				}
			})
		})
	}
}

func TestFaultsOfJoining(t *testing.T) {
	forbidden := func(w http.ResponseWriter) { status(w, 403, "Forbidden", "") }
	isCreate := func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Path == requestsPath }
	isTry := func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, objects) }
	tests := map[string]struct {
		prepare func(f *fakeCluster)
		want    string // "": it joins
		is      error
		most    int // requests at the most
	}{
		"the answer to the request is lost": {func(f *fakeCluster) {
			lost := false
			f.fail = func(w http.ResponseWriter, r *http.Request) bool {
				if lost || !isCreate(r) {
					return false
				}
				lost = true
				f.create(&nowhere{}, r, "a.join.token")
				status(w, 504, "Timeout", "")
				return true
			}
		}, "", nil, 10},
		"another machine is joining": {func(f *fakeCluster) {
			f.request = &v1.NodeTokenRequest{Spec: v1.NodeTokenRequestSpec{PublicKey: make([]byte, v1.PublicKeySize)}}
			f.request.UID = "other"
			f.request.Name = "node-a"
			f.request.CreationTimestamp.Time = time.Now()
			f.gone = true
		}, "the request was made at 2000-01-01T00:00:00Z", ErrRequestTaken, 3},
		"an earlier request was refused and is still there": {func(f *fakeCluster) {
			f.request = &v1.NodeTokenRequest{Spec: v1.NodeTokenRequestSpec{PublicKey: make([]byte, v1.PublicKeySize)}}
			f.request.UID = "other"
			f.request.Name = "node-a"
			f.request.Status.Reason = v1.ReasonNodeAlreadyJoined
		}, "NodeAlreadyJoined", ErrRefused, 3},
		"the bridge says no": {func(f *fakeCluster) { f.refuse = v1.ReasonNodeNotExpected },
			"NodeNotExpected: it says no [31m; publish a MultiNicNodeConfig", ErrRefused, 3},
		"the policies are missing at first": {func(f *fakeCluster) {
			f.refuse = v1.ReasonAdmissionMissing
			go func() {
				time.Sleep(10 * time.Second)
				f.mu.Lock()
				defer f.mu.Unlock()
				f.refuse, f.request.Status.Reason = "", ""
			}()
		}, "", nil, 30},
		"the policies are missing": {func(f *fakeCluster) { f.refuse = v1.ReasonAdmissionMissing },
			"AdmissionMissing", ErrRefused, 60},
		"no bridge": {func(f *fakeCluster) { f.gone = true }, "is multinic-bridge running?", nil, 60},
		"the request is taken away": {func(f *fakeCluster) {
			f.gone = true
			go func() {
				time.Sleep(5 * time.Second)
				f.bridgeCleansUp()
				f.mu.Lock()
				defer f.mu.Unlock()
				f.gone = false
			}()
		}, "", nil, 20},
		"it is taken away each time": {func(f *fakeCluster) {
			f.gone = true
			f.fail = func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet && r.URL.Path == requestsPath+"/node-a" {
					f.request = nil
				}
				return false
			}
		}, "removed before it was answered", ErrRefused, 2 * asksAtMost},
		"another request takes its place": {func(f *fakeCluster) {
			f.gone = true
			go func() {
				time.Sleep(5 * time.Second)
				f.mu.Lock()
				defer f.mu.Unlock()
				f.request.UID = "other"
			}()
		}, "another machine", ErrRequestTaken, 20},
		"the token is sealed to another request": {func(f *fakeCluster) {
			f.fail = func(_ http.ResponseWriter, r *http.Request) bool {
				if f.request != nil && len(f.request.Status.SealedToken) == 0 && r.Method == http.MethodGet {
					sealed, err := v1.SealToken(f.request.Spec.PublicKey, "node-a", "other", "a.b.c")
					if err != nil {
						panic(err)
					}
					f.request.Status.SealedToken = sealed
				}
				return false
			}
		}, "cannot be opened", v1.ErrSealed, 3},
		"the right to ask comes late": {func(f *fakeCluster) {
			f.fail = func(w http.ResponseWriter, r *http.Request) bool {
				if !isCreate(r) || time.Since(f.began) > 10*time.Second {
					return false
				}
				forbidden(w)
				return true
			}
		}, "", nil, 20},
		"there is no right to ask": {func(f *fakeCluster) {
			f.fail = func(w http.ResponseWriter, r *http.Request) bool { forbidden(w); return true }
		}, "is there a Node, a MultiNicNodeConfig or a join token named node-a", nil, 30},
		"the join token has ended": {func(f *fakeCluster) {
			f.fail = func(w http.ResponseWriter, r *http.Request) bool { status(w, 401, "Unauthorized", ""); return true }
		}, "Unauthorized; the join token has been used, revoked or has ended", nil, 1},
		"no such API": {func(f *fakeCluster) {
			f.fail = func(w http.ResponseWriter, r *http.Request) bool {
				http.Error(w, "404 page not found", http.StatusNotFound)
				return true
			}
		}, "404", nil, 1},
		"a proxy that answers with HTML": {func(f *fakeCluster) {
			f.fail = func(w http.ResponseWriter, r *http.Request) bool { _, _ = io.WriteString(w, "<html>"); return true }
		}, "not the answer of an API server", nil, 1},
		"a server that fails at first": {func(f *fakeCluster) {
			f.fail = func(w http.ResponseWriter, r *http.Request) bool {
				if time.Since(f.began) > 10*time.Second {
					return false
				}
				status(w, 503, "ServiceUnavailable", "")
				return true
			}
		}, "", nil, 30},
		"a server that cannot be reached": {func(f *fakeCluster) { f.down = errors.New("no route to host") }, "no route to host", nil, 0},
		"the new token is not known everywhere yet": {func(f *fakeCluster) {
			tries := 0
			f.fail = func(w http.ResponseWriter, r *http.Request) bool {
				if tries++; !isTry(r) || tries > 6 {
					return false
				}
				status(w, 401, "Unauthorized", "")
				return true
			}
		}, "", nil, 12},
		"the new token is no good": {func(f *fakeCluster) {
			f.fail = func(w http.ResponseWriter, r *http.Request) bool {
				if isTry(r) {
					status(w, 401, "Unauthorized", "")
				}
				return isTry(r)
			}
		}, "trying the new token", nil, 15},
		"the node's object is not there": {func(f *fakeCluster) {
			f.fail = func(w http.ResponseWriter, r *http.Request) bool {
				if isTry(r) {
					notFound(w)
				}
				return isTry(r)
			}
		}, "", nil, 5},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(t *testing.T, f *fakeCluster) {
				tt.prepare(f)
				began := time.Now()
				got, err := f.joinFor(t, time.Minute, false)
				switch {
				case tt.want == "" && err != nil:
					t.Fatal(err)
				case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
					t.Fatalf("got %v (%+v), want an error with %q", err, got, tt.want)
				case tt.is != nil && !errors.Is(err, tt.is):
					t.Errorf("got %v, want one that is %v", err, tt.is)
				}
				if took := time.Since(began); took > time.Minute+time.Second {
					t.Errorf("it took %s", took)
				}
				if n := len(f.fakeAPI.requests()); n > tt.most {
					t.Errorf("it made %d requests, want %d at the most", n, tt.most)
				}
				if err != nil && (strings.Contains(err.Error(), "a.join.token") || strings.Contains(err.Error(), "SIGNATURE") || strings.Contains(err.Error(), "\x1b")) {
					t.Errorf("the error shows what it must not: %q", err)
				}
			})
		})
	}
}

func TestNothingIsSentToAServerOfAnotherCA(t *testing.T) {
	inCluster(t, func(t *testing.T, f *fakeCluster) {
		opts, err := (Options{Node: "node-a"}).filled()
		if err != nil {
			t.Fatal(err)
		}
		j := Joining{Server: "https://example.com:6443", File: v1.JoinFile{Token: "a.join.token", CA: []byte(otherCA)}}
		if _, err := join(t.Context(), opts, j, f.dial); ClassOf(err) != Untrusted {
			t.Errorf("got %v", err)
		}
		if asked := f.fakeAPI.requests(); len(asked) != 0 {
			t.Errorf("asked %v", asked)
		}
	})
}

// nowhere swallows an answer.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header {
	if n.header == nil {
		n.header = http.Header{}
	}
	return n.header
}
func (*nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (*nowhere) WriteHeader(int)             {}

func TestACredentialIsStoredServerLast(t *testing.T) {
	joined := Joined{Server: "https://a", Request: "uid", Door: v1.DoorKubelet, ca: []byte("ca"), token: credential.NewToken("t")}
	tests := map[string]struct {
		present string
		want    []string
	}{
		"on a blank machine":          {"", []string{"ca.crt", "token", "request", "door", "server"}},
		"over one of the same server": {"https://a", []string{"ca.crt", "token", "request", "door"}},
		"over one of another server":  {"https://b", []string{"remove server", "ca.crt", "token", "request", "door", "server"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := &disk{dir: t.TempDir()}
			if tt.present != "" {
				if err := d.Write("server", []byte(tt.present)); err != nil {
					t.Fatal(err)
				}
				d.done = nil
			}
			if err := joined.store(Joining{Credential: d.dir, Store: d}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, d.done); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
			for file, want := range map[string]string{"server": "https://a", "request": "uid", "door": "Kubelet", "token": "t"} {
				if got, err := os.ReadFile(filepath.Join(d.dir, file)); err != nil || strings.TrimSpace(string(got)) != want {
					t.Errorf("%s holds %q (%v)", file, got, err)
				}
			}
		})
	}
	t.Run("a full disk leaves no credential", func(t *testing.T) {
		d := &disk{dir: t.TempDir(), full: true}
		if err := joined.store(Joining{Credential: d.dir, Store: d}); err == nil {
			t.Error("no error")
		}
		if _, err := os.Stat(filepath.Join(d.dir, "server")); err == nil {
			t.Error("there is a server")
		}
	})
}

func TestAKubeconfigThatCannotBeJoinedBy(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct{ cluster, user, want string }{
		"a plugin":          {"server: 'https://a'", "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Never}", "credential plugin"},
		"no CA":             {"server: 'https://a'", "token: x", "no certificate authority"},
		"another name":      {"server: 'https://a', tls-server-name: b, certificate-authority-data: eA==", "token: x", "tls-server-name"},
		"any CA":            {"server: 'https://a', insecure-skip-tls-verify: true", "token: x", "insecure-skip-tls-verify"},
		"a CA that is gone": {"server: 'https://a', certificate-authority: /none", "token: x", "/none"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "kubeconfig")
			text := `{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {` + tt.cluster + `}}], users: [{name: u, user: {` + tt.user + `}}]}`
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, _, _, err := (Joining{Kubeconfig: path}).identity(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}
