package kube

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "multinicd/api/v1"
)

// fakeCluster is a fakeAPI that gives tokens, and that a bridge watches over. Its own clock is that of the bubble.
type fakeCluster struct {
	*fakeAPI
	mu      sync.Mutex
	tokens  map[string]time.Time // until when each is good
	node    bool                 // there is a Node
	renewed []time.Duration      // when, since the start
	bound   []string             // to what
	fail    func(w http.ResponseWriter, r *http.Request) bool

	// The bridge:
	gone    bool // it does not answer
	refuse  string
	request *v1.NodeTokenRequest
	asked   int
	made    int
	keys    map[string]bool // it has seen
}

const (
	requestsPath = "/apis/multinic.io/v1/namespaces/multinic-nodes/nodetokenrequests"
	tokenPath    = "/api/v1/namespaces/multinic-nodes/serviceaccounts/multinic-node-node-a/token"
	hourLong     = time.Hour
)

func newCluster(t *testing.T) *fakeCluster {
	f := &fakeCluster{fakeAPI: newFakeAPI(t), tokens: map[string]time.Time{}, node: true, keys: map[string]bool{}}
	f.answers(f.handle)
	return f
}

// jwt is a token as the API server makes one, issued at a time of its clock.
func (f *fakeCluster) jwt(issued time.Time, span time.Duration, nodeBound bool) string {
	claims := map[string]any{"iat": issued.Unix(), "exp": issued.Add(span).Unix(), "n": len(f.tokens)}
	if nodeBound {
		claims["kubernetes.io"] = map[string]any{"node": map[string]any{"name": "node-a"}}
	}
	text, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	t := "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString(text) + ".SIGNATURE"
	f.tokens[t] = issued.Add(span)
	return t
}

// stored puts a token into the credential folder.
func (f *fakeCluster) stored(issued time.Time, nodeBound bool) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.jwt(issued, hourLong, nodeBound)
	f.write("token", t+"\n")
	return t
}

func (f *fakeCluster) revokeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.tokens)
}

// good says whether the token in the folder is one that the server takes now.
func (f *fakeCluster) good() bool {
	text, err := os.ReadFile(filepath.Join(f.dir, "token"))
	if err != nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Before(f.tokens[strings.TrimSpace(string(text))])
}

func (f *fakeCluster) handle(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil && f.fail(w, r) {
		return
	}
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	door := bearer == "kubelet" || bearer == "a.join.token"
	if !door && !time.Now().Before(f.tokens[bearer]) {
		status(w, 401, "Unauthorized", "")
		return
	}
	switch {
	case door && r.Method == http.MethodPost && r.URL.Path == requestsPath:
		f.create(w, r, bearer)
	case door && r.Method == http.MethodGet && r.URL.Path == requestsPath+"/node-a":
		f.answer()
		if f.request == nil {
			status(w, 404, "NotFound", `,"details":{"name":"node-a","kind":"nodetokenrequests"}`)
			return
		}
		reply(w, 200, f.request)
	case !door && r.Method == http.MethodPost && r.URL.Path == tokenPath:
		f.token(w, r)
	case !door && r.Method == http.MethodGet && r.URL.Path == objects+"/node-a":
		_, _ = io.WriteString(w, object(3, ""))
	default:
		status(w, 403, "Forbidden", "")
	}
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func (f *fakeCluster) create(w http.ResponseWriter, r *http.Request, bearer string) {
	f.asked++
	if f.request != nil {
		status(w, 409, "AlreadyExists", `,"details":{"name":"node-a","kind":"nodetokenrequests"}`)
		return
	}
	var n v1.NodeTokenRequest
	want := map[string]v1.Door{"kubelet": v1.DoorKubelet, "a.join.token": v1.DoorJoinToken}[bearer]
	if err := json.NewDecoder(r.Body).Decode(&n); err != nil || n.Name != "node-a" || n.Spec.Door != want || len(n.Spec.PublicKey) != v1.PublicKeySize {
		status(w, 422, "Invalid", "")
		return
	}
	f.made++
	n.UID = types.UID(fmt.Sprintf("request-%d", f.made))
	n.CreationTimestamp.Time = time.Now()
	f.request = &n
	reply(w, 201, n)
}

// answer is what the bridge does about the request.
func (f *fakeCluster) answer() {
	n := f.request
	if n == nil || f.gone || len(n.Status.SealedToken) > 0 || n.Status.Reason != "" {
		return
	}
	if f.refuse != "" {
		n.Status.Reason, n.Status.Message = f.refuse, "it says no\x1b[31m"
		return
	}
	sealed, err := v1.SealToken(n.Spec.PublicKey, n.Name, n.UID, f.jwt(time.Now(), hourLong, f.node))
	if err != nil {
		panic(err)
	}
	n.Status.SealedToken = sealed
}

// bridgeCleansUp removes the request, as the bridge does once it is through.
func (f *fakeCluster) bridgeCleansUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.request = nil
}

func (f *fakeCluster) token(w http.ResponseWriter, r *http.Request) {
	var n authenticationv1.TokenRequest
	if err := json.NewDecoder(r.Body).Decode(&n); err != nil || n.Spec.BoundObjectRef == nil || *n.Spec.ExpirationSeconds != 3600 || n.Spec.Audiences != nil {
		status(w, 422, "Invalid", "")
		return
	}
	ref := n.Spec.BoundObjectRef
	if ref.Kind == "Node" && !f.node {
		status(w, 404, "NotFound", `,"details":{"name":"node-a","kind":"nodes"}`)
		return
	}
	f.renewed = append(f.renewed, time.Since(f.began))
	f.bound = append(f.bound, ref.Kind+" "+ref.Name)
	n.Status.Token = f.jwt(time.Now(), hourLong, ref.Kind == "Node")
	reply(w, 201, n)
}

// kubelet writes a kubeconfig as a kubelet has one, and gives its path.
func (f *fakeCluster) kubelet() string {
	path := filepath.Join(f.dir, "kubelet.conf")
	f.fakeAPI.write("kubelet.conf", `{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: 'https://example.com:6443', certificate-authority-data: `+base64.StdEncoding.EncodeToString(f.ca())+`}}], users: [{name: u, user: {token: kubelet}}]}`)
	return path
}

func (f *fakeCluster) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw})
}

// disk is a Store that can fail.
type disk struct {
	dir  string
	mu   sync.Mutex
	full bool
	done []string // in order
}

func (d *disk) Lock(context.Context) (func(), error) { return func() {}, nil }

func (d *disk) Write(name string, data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return errors.New("no space left on device")
	}
	d.done = append(d.done, name)
	tmp := filepath.Join(d.dir, ".tmp")
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(d.dir, name))
}

func (d *disk) Remove(name string) error {
	d.done = append(d.done, "remove "+name)
	if err := os.Remove(filepath.Join(d.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// origin is from outside of any bubble: unlike times of a bubble it has a monotonic reading.
var origin = time.Now()

// hostClock is the clock of a host whose wall is off by what off says at the moment.
func hostClock(off func() time.Duration) func() time.Time {
	began := time.Now()
	return func() time.Time {
		t := origin.Add(time.Since(began))
		// The wall alone, as the kernel moves it: a flag, 33 bits of seconds, 30 of nanoseconds (src/time/time.go of Go 1.26).
		wall := began.Add(time.Since(began)).Add(off()).Unix() - t.Unix()
		*(*uint64)(unsafe.Pointer(&t)) += uint64(wall) << 30
		return t
	}
}
