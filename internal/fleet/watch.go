package fleet

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/terminal"
	"multinicd/internal/terminal/layout"
)

// How often a watched fleet is looked at: when something has changed, and now and then, since ages
// are in it.
const (
	lookEvery = 2 * time.Second
	lookStale = 30 * time.Second
)

// Cluster is the way to the API server.
type Cluster struct {
	Config *rest.Config
	Scheme *runtime.Scheme // of the kinds that are listed
	Mapper meta.RESTMapper // nil: the API server is asked where they are
}

// Watch shows the nodes, and again when an object or a report changes, until ctx ends. Each of the
// four lists is read once and then watched. look lists by the reader that it is given.
func Watch(ctx context.Context, w io.Writer, to Cluster, selector labels.Selector, look func(client.Reader) ([]Node, error)) error {
	in := func(component string) cache.ByObject {
		return cache.ByObject{Namespaces: map[string]cache.Config{v1.NodesNamespace: {}}, Label: labels.SelectorFromSet(labels.Set{v1.ComponentLabel: component})}
	}
	wake := make(chan struct{}, 1)
	away := &trouble{wake: wake, says: map[string]string{}}
	cfg := rest.CopyConfig(to.Config)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { away.next = next; return away })
	all, err := cache.New(cfg, cache.Options{Scheme: to.Scheme, Mapper: to.Mapper, DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1.MultiNicNodeConfig{}: {Namespaces: map[string]cache.Config{v1.SystemNamespace: {}}, Label: selector},
			&corev1.ConfigMap{}:      in(v1.ComponentReport), &coordinationv1.Lease{}: in(v1.ComponentLease), &corev1.ServiceAccount{}: in(v1.ComponentNode),
		}})
	if err != nil {
		return fmt.Errorf("setting up the watch: %w", err)
	}
	// Leases are renewed all the time, and identities say nothing that is urgent: they wake nobody.
	for object, wakes := range map[client.Object]bool{&v1.MultiNicNodeConfig{}: true, &corev1.ConfigMap{}: true, &coordinationv1.Lease{}: false, &corev1.ServiceAccount{}: false} {
		informer, err := all.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("setting up the watch: %w", err)
		}
		if wakes {
			if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
				AddFunc: func(any) { nudge(wake) }, UpdateFunc: func(any, any) { nudge(wake) }, DeleteFunc: func(any) { nudge(wake) },
			}); err != nil {
				return fmt.Errorf("setting up the watch: %w", err)
			}
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer func() { cancel(); running.Wait() }()
	running.Go(func() { _ = all.Start(ctx) }) // it ends with ctx, and only then
	if !all.WaitForCacheSync(ctx) {
		return nil // ctx has ended
	}
	return terminal.Watch{Every: lookEvery, Stale: lookStale, Wake: wake, Look: func(s terminal.Screen) string {
		nodes, err := look(all)
		if err != nil {
			return layout.Bad(terminal.Line(err.Error(), terminal.MaxLine)) + "\n"
		}
		if !s.Terminal {
			return away.text(s.Page(false)) + Lines(nodes)
		}
		return away.text(s.Page(false)) + Screen(nodes, s.Page(false), time.Now())
	}}.Run(ctx, w)
}

func nudge(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// trouble is that the API server does not answer, or answers something else than what was asked for.
// It sees every request and answer: reflectors keep to themselves that they try again.
type trouble struct {
	next http.RoundTripper
	wake chan<- struct{}

	mu   sync.Mutex
	says map[string]string // by the path of the request
}

// RoundTrip notes how a request ended.
func (t *trouble) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.next.RoundTrip(r)
	says := ""
	switch {
	case r.Context().Err() != nil: // our own end is no trouble
	case err != nil:
		says = err.Error()
	case answer.StatusCode >= http.StatusBadRequest && answer.StatusCode != http.StatusGone: // a watch from too old a version is Gone
		says = "the API server answers " + answer.Status
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.says[r.URL.Path] != says {
		t.says[r.URL.Path] = says
		nudge(t.wake)
	}
	return answer, err
}

func (t *trouble) text(p layout.Page) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, path := range slices.Sorted(maps.Keys(t.says)) {
		if says := t.says[path]; says != "" { // one is enough: they have mostly the same cause
			return p.Item(0, layout.Bad("what is shown may be old: "+terminal.Line(says, 500)+"; it is tried again within half a minute"))
		}
	}
	return ""
}
