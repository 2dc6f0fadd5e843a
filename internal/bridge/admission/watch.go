package admission

import (
	"context"
	"slices"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// Watcher opens a watch. client.WithWatch is one.
type Watcher interface {
	Watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error)
}

// How long to wait until a watch that has ended is opened again: twice as long each time, unless it
// lasted.
const (
	watchSoon = time.Second
	watchLate = admissionEvery
)

// Start looks now and then, until ctx ends: more often as long as it is too early to warn, and at
// once after a change. An API server goes by a changed policy a moment later, so it looks once more
// then. However much changes, it looks for that reason once in settles at most.
func (g *PolicyGuard) Start(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	news := make(chan struct{}, 1)
	tell := func() {
		select {
		case news <- struct{}{}:
		default: // Start has yet to take the last one
		}
	}
	for _, one := range g.watched() {
		all.Go(func() { g.follow(ctx, one, tell) })
	}
	pause := settles // after a look that has learnt nothing
	for owed := 0; ; {
		began := g.now()
		after := began.Add(-admissionFresh)
		if owed > 0 {
			after = began
		}
		err := g.inForce(ctx, after) // which has told about it
		every := admissionEvery
		switch {
		case err != nil && Grace(err) < 0 && pause < admissionEvery:
			every, pause = pause, 2*pause
		case owed > 1:
			every, owed = began.Add(settles).Sub(g.now()), owed-1
		default:
			owed, pause = 0, settles
		}
		if g.mayWait() {
			every = min(every, admissionFresh)
		}
		next := time.NewTimer(every)
		select {
		case <-ctx.Done():
		case <-next.C:
		case <-news:
			owed = 2
			sleep(ctx, began.Add(settles).Sub(g.now()))
		}
		next.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// mayWait is waits for those that have not locked g.mu.
func (g *PolicyGuard) mayWait() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waits()
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// one is an object that a look depends on. Each has a watch of its own: who may watch an object by
// its name sees no others.
type one struct {
	kind            schema.GroupVersionKind
	namespace, name string
}

func (g *PolicyGuard) watched() []one {
	if g.Watcher == nil {
		return nil
	}
	var out []one
	for _, p := range g.want.policies {
		out = append(out, one{kind: admissionv1.SchemeGroupVersion.WithKind(policyKind), name: p.Name})
	}
	for _, b := range g.want.bindings {
		out = append(out, one{kind: admissionv1.SchemeGroupVersion.WithKind(bindingKind), name: b.Name})
	}
	for _, p := range g.told {
		cm := one{kind: corev1.SchemeGroupVersion.WithKind("ConfigMap"), namespace: v1.SystemNamespace, name: p.ConfigMap}
		if !slices.Contains(out, cm) {
			out = append(out, cm)
		}
	}
	return out
}

// follow tells of each change of an object until ctx ends.
func (g *PolicyGuard) follow(ctx context.Context, o one, tell func()) {
	version, pause, refused := "", watchSoon, false
	for {
		began := g.now()
		var err error
		version, err = g.followOnce(ctx, o, version, tell)
		if apierrors.IsForbidden(err) && !refused {
			refused = true
			g.log.Warn("no right to watch what the admission policies stand on; it is looked at now and then", "kind", o.kind.Kind, "name", o.name)
		}
		if g.now().Sub(began) >= watchLate {
			pause = watchSoon
		}
		sleep(ctx, pause)
		if ctx.Err() != nil {
			return
		}
		pause = min(2*pause, watchLate)
	}
}

// followOnce is follow until the watch ends. It goes on from a version, and returns the one that it
// has come to. Without one nobody knows what has changed meanwhile, so it tells of that.
func (g *PolicyGuard) followOnce(ctx context.Context, o one, version string, tell func()) (string, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(o.kind.GroupVersion().WithKind(o.kind.Kind + "List"))
	events, err := g.Watcher.Watch(ctx, list, &client.ListOptions{
		Namespace: o.namespace, FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, o.name),
		Raw: &metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true},
	})
	if err != nil {
		return "", err
	}
	defer events.Stop()
	if version == "" {
		tell()
	}
	for {
		select {
		case <-ctx.Done():
			return "", nil
		case e, more := <-events.ResultChan():
			if !more {
				return version, nil
			}
			have, ok := e.Object.(client.Object)
			if e.Type == watch.Error || !ok {
				return "", nil // the version is too old, for example
			}
			version = have.GetResourceVersion()
			if e.Type != watch.Bookmark {
				tell()
			}
		}
	}
}
