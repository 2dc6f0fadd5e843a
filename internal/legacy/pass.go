package legacy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
)

// loop is what runs for ever. It is for one goroutine.
type loop struct {
	Options
	meters *meters
	cache  cache.Cache
	mapper meta.RESTMapper
	// direct reads and writes at the API server itself.
	direct client.Client
	wake   chan struct{}
	// watched are the groups in which there is the older kind.
	watched map[string]bool
	// wrote is when the status of an older object was written last, and said what was last said
	// about an entry.
	wrote map[types.UID]time.Time
	// policies are looked at now and then, and fault is what was found last.
	policies *policies
	fault    error
	said     map[string]string
}

// pass reads, judges, writes objects and then statuses. It gives how long nothing has to be done if
// nothing changes.
func (l *loop) pass(ctx context.Context, now time.Time) (time.Duration, error) {
	w, err := l.look(ctx)
	if err != nil {
		return 0, err
	}
	l.fault = l.policies.look(ctx, now)
	entries := w.Judge()
	next := resync
	if l.fault != nil {
		next = lookSoon
	}
	if l.ReadOnly {
		entries = Freeze(entries)
	} else {
		behind, err := l.publish(ctx, w, entries)
		if err != nil {
			return 0, err
		}
		if behind {
			next = retry
		}
	}
	l.tell(w, entries)
	for _, old := range w.Old {
		wait, err := l.status(ctx, old, entries, w.Objects, now)
		if err != nil {
			return 0, err
		}
		next = min(next, wait)
	}
	return next, nil
}

// look reads the world from the cache. A kind that cannot be read is an error: without it two entries
// about one node would seem to be one.
func (l *loop) look(ctx context.Context) (World, error) {
	var w World
	for _, group := range []string{v1.Group, FieldGroup} {
		old, err := l.older(ctx, group)
		if err != nil {
			return w, fmt.Errorf("listing the older objects of %s: %w", group, err)
		}
		w.Old = append(w.Old, old...)
	}
	var nodes corev1.NodeList
	if err := l.cache.List(ctx, &nodes); err != nil {
		return w, fmt.Errorf("listing the Nodes: %w", err)
	}
	for i := range nodes.Items {
		w.Machines = append(w.Machines, MachineOf(&nodes.Items[i]))
	}
	var objects v1.MultiNicNodeConfigList
	if err := l.cache.List(ctx, &objects, client.InNamespace(v1.SystemNamespace)); err != nil {
		return w, fmt.Errorf("listing the objects: %w", err)
	}
	for i := range objects.Items {
		w.Objects = append(w.Objects, &objects.Items[i])
	}
	return w, nil
}

// older lists the older objects of a group, sorted by name; none if the group does not have the kind.
func (l *loop) older(ctx context.Context, group string) ([]*v1.MultiNicBizConfig, error) {
	kind := schema.GroupVersionKind{Group: group, Version: v1.Version, Kind: v1.BizConfigKind}
	if !l.watched[group] {
		switch _, err := l.mapper.RESTMapping(kind.GroupKind(), kind.Version); {
		case meta.IsNoMatchError(err) && group != v1.Group:
			return nil, nil
		case err != nil:
			return nil, err
		}
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(kind)
		if err := l.watch(ctx, o); err != nil {
			return nil, err
		}
		if l.watched == nil {
			l.watched = map[string]bool{}
		}
		l.watched[group] = true
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(v1.BizConfigKind + "List"))
	if err := l.cache.List(ctx, list, client.InNamespace(v1.SystemNamespace)); err != nil {
		return nil, err
	}
	var out []*v1.MultiNicBizConfig
	for _, item := range list.Items {
		o := &v1.MultiNicBizConfig{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, o); err != nil {
			return nil, fmt.Errorf("reading %s: %w", item.GetName(), err)
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b *v1.MultiNicBizConfig) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// publish writes the objects that are not as their entries say, and puts into the entries what became
// of that. It says whether the cache was behind: then there is another pass.
func (l *loop) publish(ctx context.Context, w World, entries []Entry) (behind bool, err error) {
	var wishes []publish.Wish
	var of []int
	for i, e := range entries {
		if e.Action == publish.Created || e.Action == publish.Changed {
			wishes, of = append(wishes, e.Wish), append(of, i)
		}
	}
	if len(wishes) == 0 {
		return false, nil
	}
	writer := publish.Writer{Owner: owner, Client: l.direct, Directory: func(context.Context) (*publish.Directory, error) {
		return publish.NewDirectory(w.Machines), nil
	}}
	results, err := writer.Publish(ctx, wishes, false)
	if err != nil {
		return false, err
	}
	for k, r := range results {
		e := &entries[of[k]]
		switch {
		case r.Reason == publish.Outdated || r.Action == publish.Unchanged:
			behind = true // the entry stays one that is not done
			continue
		case r.Action == publish.Refused:
			behind = behind || r.Reason.Temporary()
			e.Object = nil
		default:
			l.Log.Info("wrote the object", "node", e.Node, "generation", r.Generation, "action", string(r.Action), "diff", r.Diff)
		}
		l.meters.objects.WithLabelValues(string(r.Action)).Inc()
		e.Result = r
	}
	return behind, nil
}

// tell logs what is new about entries, and counts them.
func (l *loop) tell(w World, entries []Entry) {
	next := map[string]string{}
	l.meters.entries.Reset()
	for _, e := range entries {
		what := "Applied"
		if e.Action == publish.Refused {
			what = string(e.Reason)
			key := fmt.Sprintf("%s[%d] %s", e.Old.Name, e.Index, e.title())
			next[key] = what + ": " + e.Message
			if next[key] != l.said[key] {
				l.Log.Warn("an entry is left out", "object", e.Old.Name, "entry", e.Index, "node", e.title(), "reason", what, "message", e.Message)
			}
		}
		l.meters.entries.WithLabelValues(what).Inc()
	}
	l.said = next
	l.meters.unguarded.Set(0)
	if l.fault != nil {
		l.meters.unguarded.Set(1)
	}
	l.meters.orphans.Set(float64(len(w.Orphans(entries))))
}

// status writes the status of an older object if it is another one. It gives how long it takes until
// there is something to do.
func (l *loop) status(ctx context.Context, old *v1.MultiNicBizConfig, entries []Entry, objects []*v1.MultiNicNodeConfig, now time.Time) (time.Duration, error) {
	next := Aggregate(old, entries, objects, now)
	unguarded(old, &next, l.fault, now)
	if equality.Semantic.DeepEqual(old.Status, next) {
		return resync, nil
	}
	if wait := l.StatusInterval - now.Sub(l.wrote[old.UID]); wait > 0 {
		return wait, nil
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": old.APIVersion, "kind": old.Kind, "status": next,
		"metadata": map[string]any{"name": old.Name, "namespace": old.Namespace, "uid": old.UID},
	})
	if err != nil {
		return 0, err
	}
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(old.APIVersion)
	o.SetKind(old.Kind)
	o.SetName(old.Name)
	o.SetNamespace(old.Namespace)
	patch := client.RawPatch(types.ApplyPatchType, body)
	err = l.direct.Status().Patch(ctx, o, patch, client.FieldOwner(owner.Name), client.ForceOwnership)
	if apierrors.IsNotFound(err) { // the field's kind may have no such subresource
		err = l.direct.Patch(ctx, o, patch, client.FieldOwner(owner.Name), client.ForceOwnership)
	}
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err): // gone, or another one of that name
		return retry, nil
	case err != nil:
		return 0, fmt.Errorf("writing the status of %s: %w", old.Name, err)
	}
	if l.wrote == nil {
		l.wrote = map[types.UID]time.Time{}
	}
	l.wrote[old.UID] = now
	l.meters.statuses.Inc()
	return resync, nil
}
