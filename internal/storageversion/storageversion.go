// Package storageversion writes stored objects anew in the version in which their CRD stores them
// now, so that an older version of the CRD can go one day.
//
// In go a client and the name of a CRD; out comes what was written and what was left, by name. An
// object is written as it was read: its meaning, generation and status stay as they are. The API
// server converts what it stores whenever it writes; that is all that this leans on, as the
// StorageVersionMigration of Kubernetes does.
//
// Start reading at Migrate.
package storageversion

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Result is what became of the objects of one CRD.
type Result struct {
	CRD     string
	Version string   // in which the objects are stored from now on
	Was     []string // status.storedVersions before
	Seen    int      // objects
	Written int      // by us; those that somebody else wrote or deleted meanwhile are not among them
	Left    []string // "namespace/name: why", of those that are still stored as they were
	Done    bool     // status.storedVersions is Version alone
}

const (
	page = 500 // objects of one answer: 1 MiB or less
	// walks is how often the list is begun anew where the API server has forgotten the place.
	walks = 5
	// tries is how often the status of the CRD is written where somebody else writes it too.
	tries = 5
)

var crdKind = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

// definition is what counts here of a CRD.
type definition struct {
	object *unstructured.Unstructured
	kind   schema.GroupVersionKind // of its objects, in the version that is stored
	stored []string
}

// Migrate writes all objects of a CRD anew, unless all are in its version already, and then says in
// the status of the CRD that no other version is stored. It may be broken off anywhere and begun
// anew. Objects that the API server refuses to write are left and named in the result, and the
// status of the CRD stays as it was. With dry set nothing is changed.
//
// An error means that the work is not done: the API server could not be asked, or somebody changed
// the CRD meanwhile. The result then has what was done before it.
func Migrate(ctx context.Context, c client.Client, crd string, dry bool) (Result, error) {
	r := Result{CRD: crd}
	d, err := read(ctx, c, crd)
	if err != nil {
		return r, err
	}
	r.Version, r.Was = d.kind.Version, d.stored
	if d.only() {
		r.Done = true
		return r, nil
	}
	if err := r.walk(ctx, c, d.kind, dry); err != nil || dry || len(r.Left) > 0 {
		return r, err
	}
	for range tries {
		now, err := read(ctx, c, crd)
		if err != nil {
			return r, err
		}
		if now.kind != d.kind || now.object.GetUID() != d.object.GetUID() || now.object.GetGeneration() != d.object.GetGeneration() {
			return r, fmt.Errorf("migrating %s: somebody changed the CRD meanwhile; run it again", crd)
		}
		if err := unstructured.SetNestedStringSlice(now.object.Object, []string{d.kind.Version}, "status", "storedVersions"); err != nil {
			return r, fmt.Errorf("migrating %s: %w", crd, err)
		}
		err = c.Status().Update(ctx, now.object)
		if err == nil {
			r.Done = true
			return r, nil
		}
		if !apierrors.IsConflict(err) {
			return r, fmt.Errorf("writing the status of the CRD %s: %w", crd, err)
		}
	}
	return r, fmt.Errorf("writing the status of the CRD %s: somebody else wrote it %d times meanwhile; run it again", crd, tries)
}

// only says whether no other version is stored.
func (d definition) only() bool { return len(d.stored) == 1 && d.stored[0] == d.kind.Version }

func read(ctx context.Context, c client.Client, crd string) (definition, error) {
	d := definition{object: &unstructured.Unstructured{}}
	d.object.SetGroupVersionKind(crdKind)
	if err := c.Get(ctx, client.ObjectKey{Name: crd}, d.object); err != nil {
		return d, fmt.Errorf("reading the CRD %s: %w", crd, err)
	}
	field := func(path ...string) string {
		s, _, _ := unstructured.NestedString(d.object.Object, path...)
		return s
	}
	d.kind = schema.GroupVersionKind{Group: field("spec", "group"), Kind: field("spec", "names", "kind")}
	versions, _, _ := unstructured.NestedSlice(d.object.Object, "spec", "versions")
	for _, v := range versions {
		if m, ok := v.(map[string]any); ok && m["storage"] == true {
			d.kind.Version, _ = m["name"].(string)
		}
	}
	d.stored, _, _ = unstructured.NestedStringSlice(d.object.Object, "status", "storedVersions")
	if d.kind.Version == "" || len(d.stored) == 0 {
		return d, fmt.Errorf("reading the CRD %s: it does not say yet which versions are stored", crd)
	}
	return d, nil
}

// walk writes every object anew. A list that is too old to go on with begins anew.
func (r *Result) walk(ctx context.Context, c client.Client, kind schema.GroupVersionKind, dry bool) error {
	for try := 1; ; try++ {
		r.Seen, r.Written, r.Left = 0, 0, nil
		err := r.once(ctx, c, kind, dry)
		if err == nil || !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) || try == walks {
			slices.Sort(r.Left)
			return err
		}
	}
}

func (r *Result) once(ctx context.Context, c client.Client, kind schema.GroupVersionKind, dry bool) error {
	for next := ""; ; {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		if err := c.List(ctx, list, client.Limit(page), client.Continue(next)); err != nil {
			return fmt.Errorf("listing the objects of %s: %w", r.CRD, err)
		}
		for i := range list.Items {
			o := &list.Items[i]
			r.Seen++
			if dry {
				continue
			}
			if err := r.write(ctx, c, o); err != nil {
				return fmt.Errorf("writing %s/%s: %w", o.GetNamespace(), o.GetName(), err)
			}
		}
		if next = list.GetContinue(); next == "" {
			return nil
		}
	}
}

// write stores one object as it was read. Who wrote it meanwhile has stored it in the version of
// today, too.
func (r *Result) write(ctx context.Context, c client.Client, o *unstructured.Unstructured) error {
	err := c.Update(ctx, o)
	switch {
	case err == nil:
		r.Written++
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err), apierrors.IsBadRequest(err):
		r.Left = append(r.Left, fmt.Sprintf("%s/%s: %v", o.GetNamespace(), o.GetName(), err))
	default:
		return err
	}
	return nil
}
