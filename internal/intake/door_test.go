package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"multinicd/internal/publish"
	"multinicd/internal/terminal"
	"multinicd/internal/terminal/hostile"
)

// played is a writer that says what it is told to say.
type played struct {
	results []publish.Result
	err     error
	mu      sync.Mutex // guards what was asked
	asked   []publish.Wish
	dry     bool
	wait    chan struct{} // answers when it is closed; nil: at once
}

func (p *played) Publish(ctx context.Context, wishes []publish.Wish, dry bool) ([]publish.Result, error) {
	p.mu.Lock()
	p.asked, p.dry = wishes, dry
	p.mu.Unlock()
	if p.wait != nil {
		select {
		case <-p.wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if p.results != nil || p.err != nil {
		return p.results, p.err
	}
	out := make([]publish.Result, len(wishes))
	for i, w := range wishes {
		out[i] = publish.Result{Node: w.Node, Action: publish.Created, Generation: 1, ResourceVersion: "5", Diff: []string{"+ x"}}
		if w.Unread != nil {
			out[i] = publish.Result{Action: publish.Refused, Reason: publish.Unreadable, Message: w.Unread.Error()}
		}
	}
	return out, nil
}

// letIn is a guard that lets everybody in as a user, or refuses.
type letIn struct{ who1, may1 error }

func (g letIn) who(context.Context, *http.Request) (caller, error) {
	return caller{user: authenticationv1.UserInfo{Username: "viola"}}, g.who1
}
func (g letIn) may(context.Context, caller, string) error { return g.may1 }

// recorder has a connection whose deadline can be set.
type recorder struct{ *httptest.ResponseRecorder }

func (recorder) SetReadDeadline(time.Time) error { return nil }

func newRecorder() recorder { return recorder{httptest.NewRecorder()} }

// newDoor is a door whose log goes to w.
func newDoor(p publisher, g guard, w io.Writer) *door {
	return &door{
		log: slog.New(slog.NewTextHandler(w, nil)), guard: g, publisher: p, meters: newMeters(),
		rates: newRates(1000, 1000), places: newPlaces(2, 3), most: 5, body: time.Minute, whole: time.Minute,
	}
}

const oneNode = `[{"nodeName":"worker-1","instanceId":"i-1","interfaces":[{"portId":"p","id":1,"name":"multinic1","macAddress":"02:00:00:00:01:01",` +
	`"address":"192.168.100.10","cidr":"192.168.100.0/24","mtu":1500,"deviceId":"d","networkId":"n","subnetId":"s","deviceName":"x"}]}]`

// post is a request as the field's client sends it.
func post(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, configsPath, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Go-http-client/1.1")
	r.Header.Set(providerHeader, "provider-a")
	return r
}

func with(r *http.Request, name, value string) *http.Request {
	if r.Header.Set(name, value); value == "" {
		r.Header.Del(name)
	}
	return r
}

func twiceIn(r *http.Request, name, value string) *http.Request {
	r.Header.Add(name, value)
	return r
}

func at(r *http.Request, method, path string) *http.Request {
	r.Method, r.URL.Path = method, path
	return r
}

func query(r *http.Request, q string) *http.Request { r.URL.RawQuery = q; return r }

func repeated(n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(`{"nodeName":"n"},`, n), ",") + "]"
}

var (
	storedOne  = publish.Result{Node: "a", Action: publish.Changed, Generation: 2, ResourceVersion: "9"}
	badOne     = publish.Result{Node: "b", Action: publish.Refused, Reason: publish.Invalid, Message: "spec.interfaces[0].mtu: mtu must be 68 to 65535 bytes"}
	waitingOne = publish.Result{Node: "c", Action: publish.Refused, Reason: publish.NotWritten, Message: "the API server is away"}
)

// requests is the table of what is asked, and what is answered. The description of the API is held
// against it, too.
var requests = []struct {
	name    string
	request func() *http.Request
	played  played
	guard   letIn
	status  int
	says    string
	wrongly bool // the description refuses the request as well
}{
	{"as the field's client sends it", func() *http.Request { return post(oneNode) }, played{}, letIn{}, 200, `{"applied":1,"results":[{"nodeName":"worker-1","object":"worker-1","status":"created","resourceVersion":"5","generation":1}]}`, false},
	{"with the slash too many of the field's client", func() *http.Request { return at(post(oneNode), "POST", "/"+configsPath) }, played{}, letIn{}, 200, `"applied":1`, false},
	{"with another parameter of the type", func() *http.Request { return with(post(oneNode), "Content-Type", "application/json; charset=utf-8") }, played{}, letIn{}, 200, `"applied":1`, false},
	{"a dry run shows what would change", func() *http.Request { return query(post(oneNode), "dryRun=All") }, played{}, letIn{}, 200, `"diff":["+ x"]`, false},
	{"a dry run of another kind", func() *http.Request { return query(post(oneNode), "dryRun=yes") }, played{}, letIn{}, 400, "DryRunInvalid", true},
	{"one bad node of two", func() *http.Request { return post(`[{"nodeName":"a"},{"nodeName":"b"}]`) }, played{results: []publish.Result{storedOne, badOne}}, letIn{}, 200, `"errors":[{"nodeName":"b","object":"b","code":"Invalid","message":"spec.interfaces[0].mtu: mtu must be`, false},
	{"nothing but bad nodes", func() *http.Request { return post(`[{"nodeName":"b"}]`) }, played{results: []publish.Result{badOne}}, letIn{}, 422, `"applied":0`, false},
	{"one node that waits, of three", func() *http.Request { return post(`[{"nodeName":"a"},{"nodeName":"b"},{"nodeName":"c"}]`) }, played{results: []publish.Result{storedOne, badOne, waitingOne}}, letIn{}, 503, `"code":"NotWritten"`, false},
	{"the Nodes cannot be read", func() *http.Request { return post(oneNode) }, played{err: errNotReady}, letIn{}, 503, "NotNow", false},
	{"a node that is no object does not stop the other", func() *http.Request { return post(`[5,{"nodeName":"a"}]`) }, played{}, letIn{}, 200, `"message":"spec: it is a number, want an object"`, true},
	{"a value of the wrong type", func() *http.Request {
		return post(`[{"nodeName":"a","interfaces":[{"macAddress":"02:00:00:00:01:01","mtu":"1500"}]}]`)
	}, played{}, letIn{}, 422, `"nodeName":"a","code":"Unreadable","message":"spec.interfaces[0].mtu: it is a string, want a whole number"`, true},
	{"a node without a name", func() *http.Request { return post(`[{}]`) }, played{}, letIn{}, 422, "nodeName is required", false},
	{"a node of another provider than the header's", func() *http.Request { return post(`[{"nodeName":"a","providerId":"b"}]`) }, played{}, letIn{}, 422, "providerId is", false},
	{"too many NICs", func() *http.Request {
		return post(`[{"nodeName":"a","interfaces":[` + strings.TrimSuffix(strings.Repeat("{},", 65), ",") + `]}]`)
	}, played{}, letIn{}, 422, "at most 64", true},
	{"a node that is too long", func() *http.Request { return post(`[{"nodeName":"a","x":"` + strings.Repeat("x", maxEntry) + `"}]`) }, played{}, letIn{}, 422, "at most 262144 are taken", false},
	{"as many nodes as are taken", func() *http.Request { return post(repeated(5)) }, played{}, letIn{}, 200, `"applied":5`, false},
	{"a node too many", func() *http.Request { return post(repeated(6)) }, played{}, letIn{}, 413, "TooMany", false},
	{"a body that is too long", func() *http.Request { return post(strings.Repeat(" ", maxBody) + "[]") }, played{}, letIn{}, 413, "TooLarge", true},
	{"a body that is too long and does not say so", func() *http.Request {
		r := post(strings.Repeat(" ", maxBody) + "[]")
		r.ContentLength = -1
		return r
	}, played{}, letIn{}, 413, "TooLarge", true},
	{"an empty list", func() *http.Request { return post(`[]`) }, played{}, letIn{}, 400, "empty payload", true},
	{"no body", func() *http.Request { return post("") }, played{}, letIn{}, 400, "NotAList", true},
	{"no JSON", func() *http.Request { return post("nodeName: a") }, played{}, letIn{}, 400, "NotAList", true},
	{"a list that is cut off", func() *http.Request { return post(strings.TrimSuffix(oneNode, "]")) }, played{}, letIn{}, 400, "NotAList", true},
	{"something behind the list", func() *http.Request { return post(oneNode + oneNode) }, played{}, letIn{}, 400, "something follows", false},
	{"an object in place of a list", func() *http.Request { return post(`{"nodeName":"a"}`) }, played{}, letIn{}, 400, "it begins with", true},
	{"another type", func() *http.Request {
		return with(post(oneNode), "Content-Type", "application/x-www-form-urlencoded")
	}, played{}, letIn{}, 415, "NotJSON", true},
	{"no type", func() *http.Request { return with(post(oneNode), "Content-Type", "") }, played{}, letIn{}, 415, "NotJSON", true},
	{"a body that is compressed", func() *http.Request { return with(post(oneNode), "Content-Encoding", "gzip") }, played{}, letIn{}, 415, "Encoded", false},
	{"no provider", func() *http.Request { return with(post(oneNode), providerHeader, "") }, played{}, letIn{}, 400, "ProviderMissing", true},
	{"a provider that cannot be one", func() *http.Request { return with(post(oneNode), providerHeader, "a/b") }, played{}, letIn{}, 400, "ProviderInvalid", true},
	{"two providers", func() *http.Request { return twiceIn(post(oneNode), providerHeader, "provider-b") }, played{}, letIn{}, 400, "HeaderTwice", false},
	{"two tokens", func() *http.Request {
		return twiceIn(with(post(oneNode), "Authorization", "Bearer a"), "Authorization", "Bearer b")
	}, played{}, letIn{}, 400, "HeaderTwice", false},
	{"a body that is compressed, in a second header", func() *http.Request {
		return twiceIn(with(post(oneNode), "Content-Encoding", "identity"), "Content-Encoding", "gzip")
	}, played{}, letIn{}, 400, "HeaderTwice", false},
	{"a parameter that there is not", func() *http.Request { return query(post(oneNode), "dryrun=All") }, played{}, letIn{}, 400, "QueryInvalid", false},
	{"parameters that cannot be read", func() *http.Request { return query(post(oneNode), "dryRun=All;") }, played{}, letIn{}, 400, "QueryInvalid", false},
	{"the same key in two NICs", func() *http.Request {
		return post(`[{"nodeName":"a","interfaces":[{"macAddress":"02:00:00:00:01:01"},{"macAddress":"02:00:00:00:01:02","x":{"macAddress":"o"}}]}]`)
	}, played{}, letIn{}, 200, `"applied":1`, false},
	{"a key twice", func() *http.Request { return post(`[{"nodeName":"a","nodeName":"b"},{"nodeName":"c"}]`) }, played{}, letIn{}, 200, `"code":"Unreadable","message":"the key \"nodeName\" stands twice in one object"`, false},
	{"a key twice, in another case", func() *http.Request { return post(`[{"nodeName":"a","interface\u017f":[],"INTERFACES":[]}]`) }, played{}, letIn{}, 422, "stands twice", false},
	{"a key twice, in a NIC", func() *http.Request {
		return post(`[{"nodeName":"a","interfaces":[{"macAddress":"02:00:00:00:01:01","x":[{"y":{}}],"macAddress":"02:00:00:00:01:02"}]}]`)
	}, played{}, letIn{}, 422, "stands twice", false},
	{"a number that no computer has", func() *http.Request { return post(`[{"nodeName":"a","interfaces":[{"macAddress":"m","id":1e999}]}]`) }, played{}, letIn{}, 422, "Unreadable", true},
	{"a list in a list in a list", func() *http.Request { return post(strings.Repeat("[", 20000)) }, played{}, letIn{}, 400, "NotAList", true},
	{"a node that is as deep as a reader goes", func() *http.Request {
		return post(`[{"nodeName":"a","x":` + strings.Repeat("[", 9990) + strings.Repeat("]", 9990) + `}]`)
	}, played{}, letIn{}, 200, `"applied":1`, false},
	{"somebody unknown", func() *http.Request { return post(oneNode) }, played{}, letIn{who1: unauthorized("no")}, 401, "Unauthorized", false},
	{"somebody without a right", func() *http.Request { return post(oneNode) }, played{}, letIn{may1: refuse(403, "Forbidden", "no")}, 403, "Forbidden", false},
	{"the API server is away when it is asked who that is", func() *http.Request { return post(oneNode) }, played{}, letIn{who1: away("asking", errors.New("10.0.0.1: refused"))}, 503, "NotNow", false},
	{"another method", func() *http.Request { return at(post(oneNode), "PUT", configsPath) }, played{}, letIn{}, 405, "POST", true},
	{"the path with GET, as after a redirect", func() *http.Request { return at(post(""), "GET", configsPath) }, played{}, letIn{}, 405, "POST", true},
	{"another path", func() *http.Request { return at(post(oneNode), "POST", "/v1/k8s/multinic") }, played{}, letIn{}, 404, "NotFound", true},
	{"health", func() *http.Request { return at(post(""), "GET", "/healthz") }, played{}, letIn{}, 200, "ok", false},
	{"the description", func() *http.Request { return at(post(""), "GET", "/openapi.yaml") }, played{}, letIn{}, 200, "openapi: 3", false},
	{"a post to health", func() *http.Request { return at(post(""), "POST", "/healthz") }, played{}, letIn{}, 405, "GET", true},
}

func TestWhatIsAskedAndWhatIsAnswered(t *testing.T) {
	for i := range requests {
		row := &requests[i]
		t.Run(row.name, func(t *testing.T) {
			var log bytes.Buffer
			w := newRecorder()
			newDoor(&row.played, row.guard, &log).ServeHTTP(w, row.request())
			if w.Code != row.status || !strings.Contains(w.Body.String(), row.says) {
				t.Errorf("%d %.300s, want %d %s", w.Code, w.Body, row.status, row.says)
			}
			if strings.Contains(w.Body.String(), "10.0.0.1") {
				t.Error("the client is told of the cluster's insides")
			}
			if path := row.request().URL.Path; !strings.Contains(path, "health") && !strings.Contains(path, "openapi") &&
				!strings.Contains(log.String(), fmt.Sprintf("msg=request status=%d", row.status)) {
				t.Errorf("the log has no line of the request:\n%s", &log)
			}
			for name, want := range map[int][2]string{405: {"Allow", ""}, 401: {"WWW-Authenticate", "Bearer"}, 503: {"Retry-After", retryAfter}} {
				if w.Code == name && !strings.HasPrefix(w.Header().Get(want[0]), want[1]) || w.Code == name && w.Header().Get(want[0]) == "" {
					t.Errorf("%s is %q", want[0], w.Header().Get(want[0]))
				}
			}
		})
	}
}

func TestWhatIsReadOfANode(t *testing.T) {
	p := &played{}
	newDoor(p, letIn{}, io.Discard).ServeHTTP(newRecorder(), query(post(oneNode), "dryRun=All"))
	if len(p.asked) != 1 || !p.dry {
		t.Fatalf("asked for %v, dry %t", p.asked, p.dry)
	}
	w := p.asked[0]
	n := w.NICs[0]
	if got := fmt.Sprint(w.Node, w.InstanceID, w.Provider, n.PortID, *n.ID, n.Name, n.MACAddress, n.Address, n.CIDR, *n.MTU); got !=
		fmt.Sprint("worker-1", "i-1", "provider-a", "p", 1, "multinic1", "02:00:00:00:01:01", "192.168.100.10", "192.168.100.0/24", 1500) {
		t.Error(got)
	}
}

// What a client sends must not act on the terminal of whoever reads the log or the answer.
func TestNothingOfAClientActsOnATerminal(t *testing.T) {
	quoted := strings.NewReplacer("\x1b", `\u001b`, "\n", `\n`, "\r", `\r`, "\a", `\u0007`, "\v", `\u000b`, "\t", `\t`, "\x9b", "x").Replace(hostile.Text)
	for name, r := range map[string]*http.Request{
		"its node":     post(`[{"nodeName":"` + quoted + `","interfaces":[{"macAddress":"` + quoted + `"}]}]`),
		"its provider": with(post(oneNode), providerHeader, hostile.Text),
		"its type":     with(post(oneNode), "Content-Type", hostile.Text),
		"its agent":    with(post(oneNode), "User-Agent", hostile.Text),
		"its path":     at(post(oneNode), "POST", "/"+hostile.Text),
		"its method":   at(post(oneNode), hostile.Text, configsPath),
	} {
		t.Run(name, func(t *testing.T) {
			p := &played{}
			if name == "its node" {
				p.results = []publish.Result{{Action: publish.Refused, Reason: publish.Invalid, Message: hostile.Text}}
			}
			var log bytes.Buffer
			w := newRecorder()
			newDoor(p, letIn{}, terminal.Writer(&log)).ServeHTTP(w, r)
			hostile.Check(t, log.String())
			if strings.Contains(w.Body.String(), "FORGED") {
				hostile.Check(t, w.Body.String())
			}
		})
	}
}

func TestRefusedNodesAreLoggedUpToABound(t *testing.T) {
	var log bytes.Buffer
	d := newDoor(&played{}, letIn{}, &log)
	d.most = 100
	d.ServeHTTP(newRecorder(), post("["+strings.TrimSuffix(strings.Repeat("{},", 90), ",")+"]"))
	if n := strings.Count(log.String(), "a node was refused"); n != toldNodes || !strings.Contains(log.String(), "nodes=70") {
		t.Errorf("%d lines:\n%s", n, &log)
	}
}

func TestAPublisherHasARateAndAFewPlaces(t *testing.T) {
	p := &played{wait: make(chan struct{})}
	d := newDoor(p, letIn{}, io.Discard)
	done := make(chan int)
	ask := func() {
		w := newRecorder()
		d.ServeHTTP(w, post(oneNode))
		done <- w.Code
	}
	for range 3 {
		go ask()
	}
	if code := <-done; code != http.StatusTooManyRequests {
		t.Errorf("the third at a time gets %d", code)
	}
	close(p.wait)
	for range 2 {
		if code := <-done; code != http.StatusOK {
			t.Errorf("one of the first two gets %d", code)
		}
	}
	d.rates = newRates(1e-9, 2)
	var codes []int
	for range 3 {
		go ask()
		codes = append(codes, <-done)
	}
	if fmt.Sprint(codes) != "[200 200 429]" {
		t.Errorf("with a burst of two: %v", codes)
	}
	if len(d.places.by) != 0 || d.places.taken != 0 {
		t.Errorf("places are taken: %v", d.places)
	}
}

func TestARequestEndsInTime(t *testing.T) {
	d := newDoor(&played{wait: make(chan struct{})}, letIn{}, io.Discard)
	d.whole = time.Millisecond
	w := newRecorder()
	d.ServeHTTP(w, post(oneNode))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("it ends with %d", w.Code)
	}
}

// The deadline of the body ends with the body: who waits for the answer is no slow client.
func TestTheTimeForTheBodyIsNotThatForTheAnswer(t *testing.T) {
	p := &played{wait: make(chan struct{})}
	d := newDoor(p, letIn{}, io.Discard)
	d.body = 50 * time.Millisecond
	server := httptest.NewServer(d)
	defer server.Close()
	r := post(oneNode)
	r.RequestURI = ""
	var err error
	if r.URL, err = r.URL.Parse(server.URL + configsPath); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(4*d.body, func() { close(p.wait) })
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the answer is %s", response.Status)
	}
}
