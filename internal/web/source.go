package web

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// The sources: what is watched, each of them once for all pages.
const (
	objects = iota
	reports
	leases
	accounts
	requests
	events
	blocked
	sourceCount
)

// kind is how a source is asked, and what is kept of its objects.
type kind struct {
	what      string // plural, as a sentence has it
	lost      string // what a page cannot show without it
	namespace string
	labels    labels.Selector
	fields    fields.Selector
	list      func() client.ObjectList
	object    client.Object
	// take is the node that an object is about, and what is kept of it. "" is about no node: the
	// object is ignored if the value is nil, and is about all nodes otherwise.
	take func(client.Object) (node string, value any)
}

func component(of string) labels.Selector {
	return labels.SelectorFromSet(labels.Set{v1.ComponentLabel: of})
}

var tokenComponents = func() labels.Selector {
	s, err := labels.Parse(v1.ComponentLabel + " in (" + v1.ComponentNode + "," + v1.ComponentJoin + ")")
	if err != nil {
		panic(err) // the text is constant
	}
	return s
}()

// kinds are the sources; selector chooses among the objects.
func kinds(selector labels.Selector) [sourceCount]kind {
	return [sourceCount]kind{
		objects: {what: "MultiNicNodeConfigs", lost: "Nodes cannot be shown", namespace: v1.SystemNamespace, labels: selector,
			list: func() client.ObjectList { return &v1.MultiNicNodeConfigList{} }, object: &v1.MultiNicNodeConfig{},
			take: func(o client.Object) (string, any) { return o.GetName(), o }},
		reports: {what: "ConfigMaps", lost: "Versions cannot be shown, nor what became of nodes without an object", namespace: v1.NodesNamespace, labels: component(v1.ComponentReport),
			list: func() client.ObjectList { return &corev1.ConfigMapList{} }, object: &corev1.ConfigMap{}, take: takeReport},
		leases: {what: "Leases", lost: "Leases cannot be shown", namespace: v1.NodesNamespace, labels: component(v1.ComponentLease),
			list: func() client.ObjectList { return &coordinationv1.LeaseList{} }, object: &coordinationv1.Lease{}, take: takeLease},
		accounts: {what: "ServiceAccounts", lost: "Identities and join tokens cannot be shown", namespace: v1.NodesNamespace, labels: tokenComponents,
			list: func() client.ObjectList { return &corev1.ServiceAccountList{} }, object: &corev1.ServiceAccount{}, take: takeAccount},
		requests: {what: "NodeTokenRequests", lost: "Requests for a token cannot be shown", namespace: v1.NodesNamespace,
			list: func() client.ObjectList { return &v1.NodeTokenRequestList{} }, object: &v1.NodeTokenRequest{}, take: takeRequest},
		events: {what: "Events", lost: "Events cannot be shown", namespace: v1.SystemNamespace, fields: fields.OneTermEqualSelector("involvedObject.kind", v1.NodeConfigKind),
			list: func() client.ObjectList { return &corev1.EventList{} }, object: &corev1.Event{}, take: takeEvent},
		blocked: {what: "the ConfigMap " + v1.BlockedName, lost: "Whether a node is blocked cannot be shown", namespace: v1.NodesNamespace, fields: fields.OneTermEqualSelector("metadata.name", v1.BlockedName),
			list: func() client.ObjectList { return &corev1.ConfigMapList{} }, object: &corev1.ConfigMap{},
			take: func(o client.Object) (string, any) { return "", o }},
	}
}

// as is o as a T. The reflector lets no other type through.
func as[T client.Object](o client.Object) (T, bool) { t, ok := o.(T); return t, ok }

func takeReport(o client.Object) (string, any) {
	node, ok := strings.CutPrefix(o.GetName(), v1.ReportName(""))
	cm, is := as[*corev1.ConfigMap](o)
	if !ok || !is {
		return "", nil
	}
	r, err := v1.ParseReport([]byte(cm.Data[v1.ReportKey]))
	if err != nil || r.Node != node {
		return node, v1.Report{} // the node has a report, but nobody can use it
	}
	return node, r
}

func takeLease(o client.Object) (string, any) {
	node, ok := strings.CutPrefix(o.GetName(), v1.LeaseName(""))
	l, is := as[*coordinationv1.Lease](o)
	if !ok || !is {
		return "", nil
	}
	if l.Spec.RenewTime == nil {
		return node, time.Time{}
	}
	return node, l.Spec.RenewTime.Time
}

// join is the ServiceAccount of a join token.
type join struct {
	replace bool
	ends    time.Time // zero: not known
}

func takeAccount(o client.Object) (string, any) {
	if node, ok := strings.CutPrefix(o.GetName(), v1.ServiceAccountName("")); ok {
		return node, o.GetCreationTimestamp().Time
	}
	node, ok := strings.CutPrefix(o.GetName(), v1.JoinAccountName(""))
	if !ok {
		return "", nil
	}
	j := join{replace: o.GetAnnotations()[v1.ReplaceAnnotation] == "true"}
	if at, err := time.Parse(time.RFC3339, o.GetAnnotations()[v1.ExpiresAnnotation]); err == nil {
		j.ends = at
	}
	return node, j
}

func takeRequest(o client.Object) (string, any) {
	r, is := as[*v1.NodeTokenRequest](o)
	if !is {
		return "", nil
	}
	kept := *r
	kept.Status.SealedToken = nil // nobody here needs it
	return r.Name, &kept
}

func takeEvent(o client.Object) (string, any) {
	e, is := as[*corev1.Event](o)
	if !is || e.InvolvedObject.Kind != v1.NodeConfigKind {
		return "", nil
	}
	return e.InvolvedObject.Name, e
}

// mapper knows where the kinds are served, so that nobody has to be asked.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for _, k := range []string{v1.NodeConfigKind, v1.TokenRequestKind} {
		m.Add(v1.GroupVersion.WithKind(k), meta.RESTScopeNamespace)
	}
	for _, k := range []string{"ConfigMap", "ServiceAccount", "Event"} {
		m.Add(corev1.SchemeGroupVersion.WithKind(k), meta.RESTScopeNamespace)
	}
	m.Add(coordinationv1.SchemeGroupVersion.WithKind("Lease"), meta.RESTScopeNamespace)
	return m
}

// lists is a source that is listed first and watched then. The other way, a watch that begins with all
// objects, decodes each of them by itself, which takes three times as long for ten thousand nodes; and
// while it waits for its next try it does not hear that it shall end (client-go 0.37).
type lists struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is asked by the reflector.
func (lists) IsWatchListSemanticsUnSupported() bool { return true }

// again is how long a reflector waits after failures: longer each time, half a minute at most.
var again = wait.Backoff{Duration: 800 * time.Millisecond, Cap: 20 * time.Second, Steps: 25, Factor: 2, Jitter: 0.5}

// follow keeps the hub's copy of a source until ctx ends.
func (h *hub) follow(ctx context.Context, source int) {
	if source != objects && source != reports && !h.first(ctx) {
		return
	}
	k := h.kinds[source]
	options := func(raw metav1.ListOptions) *client.ListOptions {
		return &client.ListOptions{Namespace: k.namespace, LabelSelector: k.labels, FieldSelector: k.fields, Raw: &raw}
	}
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
			list := k.list()
			err := h.client.List(ctx, list, options(raw))
			h.tried(ctx, source, false, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (watch.Interface, error) {
			w, err := h.client.Watch(ctx, k.list(), options(raw))
			h.tried(ctx, source, true, err)
			return w, err
		},
	}
	silent, backoff := logr.Discard(), again // the pages say what fails
	r := cache.NewReflectorWithOptions(lists{lw}, k.object, &store{h, source}, cache.ReflectorOptions{Logger: &silent, Name: k.what, Backoff: &backoff})
	r.RunWithContext(klog.NewContext(ctx, silent))
}

// first waits until the sources of the table have come, or cannot be read: nobody waits for the rest.
// It is false if ctx ends before.
func (h *hub) first(ctx context.Context) bool {
	for {
		h.mu.Lock()
		changed, settled := h.changed, h.settled()
		h.mu.Unlock()
		if settled {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// trouble is what keeps a source from being read.
type trouble struct {
	list, watch error
	answered    bool // the source was read, or nobody could read it
	read        bool // the source was read, at some time
}

// tried notes how a call ended.
func (h *hub) tried(ctx context.Context, source int, watching bool, err error) {
	if ctx.Err() != nil {
		return // our own end is no trouble of the API server
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t := &h.trouble[source]
	before := h.notice(source)
	switch {
	case watching:
		t.watch = err
		if err == nil {
			t.list = nil
		}
	default:
		t.list = err
	}
	if err != nil && !(watching && apierrors.IsForbidden(err)) { // a list follows a watch that is forbidden
		t.answered = true
	}
	if h.notice(source) != before {
		h.common++
	}
	h.wake()
}

// Notice is a sentence about what a page cannot show.
type Notice struct {
	Kind string `json:"kind"` // away or rights
	Text string `json:"text"`
}

// notice is what there is to say about a source; zero: nothing.
func (h *hub) notice(source int) Notice {
	t, k := h.trouble[source], h.kinds[source]
	err := t.list
	if err == nil {
		err = t.watch
	}
	switch {
	case err == nil:
		return Notice{}
	case !apierrors.IsForbidden(err):
		return Notice{"away", unanswered(err) + " What is shown may be old. The next try comes in half a minute at most."}
	case t.list == nil && t.read:
		return Notice{"rights", fmt.Sprintf("Changes of %s in %s are seen every half a minute only, because you may not watch them: %s", k.what, k.namespace, line(err.Error()))}
	}
	return Notice{"rights", fmt.Sprintf("%s, because you may not read %s in %s: %s", k.lost, k.what, k.namespace, line(err.Error()))}
}

// unanswered is a sentence about an API server that does not answer, or answers something else.
func unanswered(err error) string {
	var answer apierrors.APIStatus
	if errors.As(err, &answer) {
		return "The API server answers: " + line(err.Error()) + "."
	}
	var asking *url.Error
	if errors.As(err, &asking) {
		err = asking.Err // the address of the request tells nobody anything
	}
	return "The API server does not answer: " + line(err.Error()) + "."
}

// notices are all sentences, each once.
func (h *hub) notices() []Notice {
	out := []Notice{}
	told := false
	for source := range sourceCount {
		n := h.notice(source)
		if n.Kind == "" || n.Kind == "away" && told {
			continue
		}
		told = told || n.Kind == "away"
		out = append(out, n)
	}
	return out
}

// store is where a reflector puts what it reads.
type store struct {
	h      *hub
	source int
}

func (s *store) Add(o any) error    { return s.h.put(s.source, o) }
func (s *store) Update(o any) error { return s.h.put(s.source, o) }
func (s *store) Resync() error      { return nil }

func (s *store) Delete(o any) error {
	if object, ok := o.(client.Object); ok {
		s.h.drop(s.source, object.GetName())
	}
	return nil
}

func (s *store) Replace(all []any, _ string) error {
	s.h.replace(s.source, all)
	return nil
}

// Transformer makes objects smaller before they are collected.
func (s *store) Transformer() cache.TransformFunc {
	return func(o any) (any, error) {
		if object, ok := o.(client.Object); ok {
			object.SetManagedFields(nil)
		}
		return o, nil
	}
}
