// Package webtest is an API server that a test can take away, and that holds ten thousand nodes
// within seconds. It is for tests only.
//
// In go objects, and what the server shall refuse; out comes the way to a server on loopback, which
// answers lists and watches as the real one does. That the real one does so too is shown by
// test/suite/bridge.
//
// It must not decide anything: no validation, no rights except those that a test takes away.
//
// Start reading at New.
package webtest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// API is the server. It is for several goroutines at once.
type API struct {
	t       testing.TB
	address string

	mu      sync.Mutex
	server  *httptest.Server // nil: it is away
	version int
	stored  map[string]map[string]object // by resource, then namespace/name
	log     []change
	changed chan struct{}
	refused map[string]bool // "list events"
	calls   map[string]int  // the same words: how often it was asked
}

type object struct {
	client.Object
	json []byte
}

type change struct {
	version        int
	resource, verb string
	object         object
}

// New starts a server, which ends with the test.
func New(t testing.TB) *API {
	a := &API{t: t, stored: map[string]map[string]object{}, changed: make(chan struct{}), refused: map[string]bool{}, calls: map[string]int{}}
	a.Start()
	t.Cleanup(a.Stop)
	return a
}

// Start has the server answer again, at its former address.
func (a *API) Start() {
	address := a.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		a.t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(a)
	_ = s.Listener.Close()
	s.Listener = l
	s.Start()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.server, a.address = s, l.Addr().String()
}

// Stop has the server refuse connections, and ends those that are open.
func (a *API) Stop() {
	a.mu.Lock()
	s := a.server
	a.server = nil
	a.mu.Unlock()
	if s == nil {
		return
	}
	closed := make(chan struct{})
	go func() { defer close(closed); s.Close() }() // no new connections, and waits for those that are open
	for {
		s.CloseClientConnections()
		select {
		case <-closed:
			return
		case <-time.After(20 * time.Millisecond): // one may have come meanwhile
		}
	}
}

// Config is the way to the server.
func (a *API) Config() *rest.Config { return &rest.Config{Host: "http://" + a.address, QPS: -1} }

// Refuse has the server answer that the caller has no right to do what the words say, such as "watch
// events". It ends no watch that is open.
func (a *API) Refuse(words ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range words {
		a.refused[w] = true
	}
}

// Allow ends Refuse.
func (a *API) Allow() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.refused)
}

// Calls is how often the server was asked for what the words say.
func (a *API) Calls(words string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[words]
}

// Put creates objects, or changes them.
func (a *API) Put(all ...client.Object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range all {
		resource, _ := resourceOf(a.t, o)
		key := o.GetNamespace() + "/" + o.GetName()
		_, was := a.stored[resource][key]
		verb := "ADDED"
		if was {
			verb = "MODIFIED"
		}
		a.note(resource, key, verb, o)
	}
}

// Delete deletes objects.
func (a *API) Delete(all ...client.Object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range all {
		resource, _ := resourceOf(a.t, o)
		a.note(resource, o.GetNamespace()+"/"+o.GetName(), "DELETED", o)
	}
}

func (a *API) note(resource, key, verb string, o client.Object) {
	a.version++
	o.SetResourceVersion(strconv.Itoa(a.version))
	if o.GetUID() == "" {
		o.SetUID(types.UID("uid-" + o.GetName()))
	}
	_, gvk := resourceOf(a.t, o)
	o.GetObjectKind().SetGroupVersionKind(gvk)
	data, err := json.Marshal(o)
	if err != nil {
		a.t.Fatal(err)
	}
	kept := object{o, data}
	if a.stored[resource] == nil {
		a.stored[resource] = map[string]object{}
	}
	if verb == "DELETED" {
		delete(a.stored[resource], key)
	} else {
		a.stored[resource][key] = kept
	}
	a.log = append(a.log, change{a.version, resource, verb, kept})
	close(a.changed)
	a.changed = make(chan struct{})
}

func resourceOf(t testing.TB, o client.Object) (string, schema.GroupVersionKind) {
	switch o.(type) {
	case *v1.MultiNicNodeConfig:
		return "multinicnodeconfigs", v1.GroupVersion.WithKind(v1.NodeConfigKind)
	case *v1.NodeTokenRequest:
		return "nodetokenrequests", v1.GroupVersion.WithKind(v1.TokenRequestKind)
	case *corev1.ConfigMap:
		return "configmaps", corev1.SchemeGroupVersion.WithKind("ConfigMap")
	case *corev1.ServiceAccount:
		return "serviceaccounts", corev1.SchemeGroupVersion.WithKind("ServiceAccount")
	case *corev1.Event:
		return "events", corev1.SchemeGroupVersion.WithKind("Event")
	case *coordinationv1.Lease:
		return "leases", coordinationv1.SchemeGroupVersion.WithKind("Lease")
	}
	t.Fatalf("the server knows no %T", o)
	return "", schema.GroupVersionKind{}
}

// kinds are by resource.
var kinds = map[string]schema.GroupVersionKind{
	"multinicnodeconfigs": v1.GroupVersion.WithKind(v1.NodeConfigKind), "nodetokenrequests": v1.GroupVersion.WithKind(v1.TokenRequestKind),
	"configmaps": corev1.SchemeGroupVersion.WithKind("ConfigMap"), "serviceaccounts": corev1.SchemeGroupVersion.WithKind("ServiceAccount"),
	"events": corev1.SchemeGroupVersion.WithKind("Event"), "leases": coordinationv1.SchemeGroupVersion.WithKind("Lease"),
}

// ServeHTTP answers /api/v1/namespaces/NS/RESOURCE and its like.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, rest, _ := strings.Cut(r.URL.Path, "/namespaces/")
	namespace, resource, _ := strings.Cut(rest, "/")
	kind, ok := kinds[resource]
	if !ok || r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	q := r.URL.Query()
	verb := "list"
	if q.Get("watch") == "true" || q.Get("watch") == "1" {
		verb = "watch"
	}
	a.mu.Lock()
	words := verb + " " + resource
	a.calls[words]++
	refused := a.refused[words]
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if refused {
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden,
			Message: fmt.Sprintf(`%s is forbidden: User "reader" cannot %s resource "%s" in API group "%s" in the namespace "%s"`, resource, verb, resource, kind.Group, namespace)})
		return
	}
	matches := a.matching(namespace, q.Get("labelSelector"), q.Get("fieldSelector"))
	if verb == "list" {
		a.list(w, resource, kind, matches)
		return
	}
	a.watch(w, r, resource, kind, matches)
}

func (a *API) matching(namespace, byLabels, byFields string) func(object) bool {
	l, err := labels.Parse(byLabels)
	if err != nil {
		a.t.Error(err)
	}
	f, err := fields.ParseSelector(byFields)
	if err != nil {
		a.t.Error(err)
	}
	return func(o object) bool {
		set := fields.Set{"metadata.name": o.GetName()}
		if e, ok := o.Object.(*corev1.Event); ok {
			set["involvedObject.kind"], set["involvedObject.name"] = e.InvolvedObject.Kind, e.InvolvedObject.Name
		}
		return o.GetNamespace() == namespace && l.Matches(labels.Set(o.GetLabels())) && f.Matches(set)
	}
}

func (a *API) list(w http.ResponseWriter, resource string, kind schema.GroupVersionKind, matches func(object) bool) {
	a.mu.Lock()
	items := []json.RawMessage{}
	for _, o := range a.stored[resource] {
		if matches(o) {
			items = append(items, o.json)
		}
	}
	version := a.version
	a.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": kind.Kind + "List", "apiVersion": kind.GroupVersion().String(), "metadata": map[string]string{"resourceVersion": strconv.Itoa(version)}, "items": items})
}

func (a *API) watch(w http.ResponseWriter, r *http.Request, resource string, kind schema.GroupVersionKind, matches func(object) bool) {
	send := func(verb string, data []byte) bool {
		_, err := fmt.Fprintf(w, "{\"type\":%q,\"object\":%s}\n", verb, data)
		return err == nil
	}
	flush := http.NewResponseController(w).Flush
	since, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	a.mu.Lock()
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		var all []object
		for _, o := range a.stored[resource] {
			if matches(o) {
				all = append(all, o)
			}
		}
		since = a.version
		a.mu.Unlock()
		for _, o := range all {
			send("ADDED", o.json)
		}
		send("BOOKMARK", fmt.Appendf(nil, `{"kind":%q,"apiVersion":%q,"metadata":{"resourceVersion":"%d","annotations":{"k8s.io/initial-events-end":"true"}}}`, kind.Kind, kind.GroupVersion(), since))
	} else {
		a.mu.Unlock()
	}
	for {
		if flush() != nil {
			return
		}
		a.mu.Lock()
		changed, log := a.changed, a.log
		a.mu.Unlock()
		for _, c := range log[min(since, len(log)):] { // every change has the number of its place
			since = c.version
			if c.resource == resource && matches(c.object) && !send(c.verb, c.object.json) {
				return
			}
		}
		if flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		}
	}
}
