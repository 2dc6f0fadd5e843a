package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// Watch shows the nodes, and again when an object or a report changes, until ctx ends. Each of the
// four lists is read once and then watched. look lists by the reader that it is given.
func Watch(ctx context.Context, w io.Writer, cfg *rest.Config, scheme *runtime.Scheme, selector labels.Selector, look func(client.Reader) ([]Node, error)) error {
	in := func(component string) cache.ByObject {
		return cache.ByObject{Namespaces: map[string]cache.Config{v1.NodesNamespace: {}}, Label: labels.SelectorFromSet(labels.Set{v1.ComponentLabel: component})}
	}
	var away trouble
	all, err := cache.New(cfg, cache.Options{Scheme: scheme, DefaultWatchErrorHandler: away.note, DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1.MultiNicNodeConfig{}: {Namespaces: map[string]cache.Config{v1.SystemNamespace: {}}, Label: selector},
			&corev1.ConfigMap{}:      in(v1.ComponentReport), &coordinationv1.Lease{}: in(v1.ComponentLease), &corev1.ServiceAccount{}: in(v1.ComponentNode),
		}})
	if err != nil {
		return fmt.Errorf("setting up the watch: %w", err)
	}
	wake := make(chan struct{}, 1)
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
	ended := make(chan error, 1)
	defer func() { cancel(); <-ended }()
	go func() { ended <- all.Start(ctx) }()
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

// trouble is that the API server does not answer. Reflectors try again within half a minute.
type trouble struct {
	mu   sync.Mutex
	err  error
	last time.Time
}

func (t *trouble) note(_ context.Context, _ *toolscache.Reflector, err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return // every watch ends so
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err, t.last = err, time.Now()
}

func (t *trouble) text(p layout.Page) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil || time.Since(t.last) > time.Minute {
		return ""
	}
	return p.Item(0, layout.Bad("what is shown may be old: "+terminal.Line(t.err.Error(), 500)))
}
