package bridge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/storageversion"
	"multinicd/test/bed"
)

// fieldGroup stands for multinic.io, whose CRD the other tests of this control plane use.
const (
	fieldGroup = "field.example.com"
	fieldCRD   = "multinicnodeconfigs." + fieldGroup
)

// fieldDefinition is the CRD as the field has it, with v1alpha1 alone, or as it is after ours was put over it.
func fieldDefinition(t *testing.T, versions ...string) string {
	t.Helper()
	return editedCRD(t, func(crd map[string]any, all []map[string]any) (kept []map[string]any) {
		for at, value := range map[string]any{"metadata.name": fieldCRD, "spec.group": fieldGroup,
			"spec.names.shortNames": []any{"fieldmnnc"}, "spec.names.categories": []any{"field"}} {
			if err := unstructured.SetNestedField(crd, value, strings.Split(at, ".")...); err != nil {
				t.Fatal(err)
			}
		}
		for _, version := range all {
			if slices.ContainsFunc(versions, func(name string) bool { return name == version["name"] }) {
				version["storage"] = version["name"] == versions[len(versions)-1]
				kept = append(kept, version)
			}
		}
		return kept
	})
}

// failing fails writes of objects, by their count or their name.
type failing struct {
	client.Client
	before func(o client.Object) error
}

func (f failing) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	if err := f.before(o); err != nil {
		return err
	}
	return f.Client.Update(ctx, o, opts...)
}

// The field's objects are stored as v1alpha1. After our CRD was put over theirs they are written anew, and then v1alpha1 can go.
func TestStoredObjectsAreWrittenInTheVersionOfToday(t *testing.T) {
	c := newCluster(t)
	apply := func(versions ...string) {
		t.Helper()
		if _, err := c.Apply(t.Context(), fieldDefinition(t, versions...)); err != nil {
			t.Fatal(err)
		}
		if err := c.Served(t.Context(), fieldCRD); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _, _ = c.Kubectl(context.WithoutCancel(t.Context()), "delete", "crd", fieldCRD) })
	apply("v1alpha1")
	kind := schema.GroupVersionKind{Group: fieldGroup, Version: "v1alpha1", Kind: v1.NodeConfigKind}
	const count = 20
	object := func(i int) *unstructured.Unstructured {
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(kind)
		o.SetNamespace(v1.SystemNamespace)
		o.SetName(fmt.Sprintf("field-%02d", i))
		return o
	}
	for i := range count {
		o := object(i)
		o.Object["spec"] = map[string]any{"nodeName": o.GetName(), "interfaces": []any{
			map[string]any{"id": int64(i % 5), "macAddress": fmt.Sprintf("02:00:00:00:0f:%02x", i), "address": "10.0.0.7", "cidr": "10.0.0.7/24"}}}
		if err := c.admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		o.Object["status"] = map[string]any{"state": "Configured", "observedGeneration": int64(1)}
		if err := c.admin.Status().Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	all := func() map[string][]any {
		t.Helper()
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(schema.GroupVersionKind{Group: fieldGroup, Version: kind.Version, Kind: kind.Kind + "List"})
		if err := c.admin.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		out := map[string][]any{}
		for _, o := range list.Items {
			out[o.GetName()] = []any{o.GetUID(), o.GetGeneration(), o.Object["spec"], o.Object["status"], o.GetLabels()}
		}
		return out
	}
	was := all()
	if len(was) != count {
		t.Fatalf("%d objects", len(was))
	}
	migrate := func(cl client.Client, dry bool) (storageversion.Result, error) {
		return storageversion.Migrate(t.Context(), cl, fieldCRD, dry)
	}
	want := func(sentence string, got storageversion.Result, written int, done bool) {
		t.Helper()
		if got.Version != "v1" || got.Seen != count || got.Written != written || got.Done != done {
			t.Errorf("%s: got %+v, want %d of %d written, done %v", sentence, got, written, count, done)
		}
	}
	// refused is what the API server says to a CRD without a version that may still be stored.
	refused := func() error {
		_, err := c.Apply(t.Context(), fieldDefinition(t, "v1"))
		return err
	}
	if r, err := migrate(c.admin, false); err != nil || !r.Done || r.Seen != 0 || r.Version != "v1alpha1" {
		t.Errorf("before ours is there: %+v, %v", r, err)
	}
	apply("v1alpha1", "v1")
	if refused() == nil {
		t.Fatal("v1alpha1 could be taken out before the objects were written anew")
	}

	r, err := migrate(c.admin, true)
	if want("dry", r, 0, false); err != nil || !slices.Equal(r.Was, []string{"v1alpha1", "v1"}) {
		t.Errorf("dry: %+v, %v", r, err)
	}
	broken := errors.New("broken off")
	wrote := 0
	r, err = migrate(failing{c.admin, func(client.Object) error {
		if wrote++; wrote > count/2 {
			return broken
		}
		return nil
	}}, false)
	if !errors.Is(err, broken) || r.Done || r.Written != count/2 {
		t.Errorf("broken off: %+v, %v", r, err)
	}
	no := apierrors.NewInvalid(schema.GroupKind{Group: fieldGroup, Kind: kind.Kind}, "field-07", nil)
	r, err = migrate(failing{c.admin, func(o client.Object) error {
		if o.GetName() == "field-07" {
			return no
		}
		return nil
	}}, false)
	if want("one is refused", r, count-1, false); err != nil || len(r.Left) != 1 || !strings.HasPrefix(r.Left[0], "multinic-system/field-07: ") {
		t.Errorf("one is refused: %+v, %v", r, err)
	}
	if refused() == nil {
		t.Fatal("v1alpha1 could be taken out while an object is stored so")
	}
	// One is written by somebody else between the list and our write, and one is deleted.
	kind.Version = "v1"
	r, err = migrate(failing{c.admin, func(o client.Object) error {
		switch o.GetName() {
		case "field-03":
			return c.admin.Patch(t.Context(), object(3), client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"somebody":"else"}}}`)))
		case "field-04":
			return c.admin.Delete(t.Context(), object(4))
		}
		return nil
	}}, false)
	if want("beside others", r, count-2, true); err != nil || len(r.Left) != 0 {
		t.Errorf("beside others: %+v, %v", r, err)
	}
	if err := refused(); err != nil {
		t.Errorf("v1alpha1 cannot be taken out: %v", err)
	}
	delete(was, "field-04")
	changed := slices.Clone(was["field-03"])
	changed[4] = map[string]string{"somebody": "else"}
	was = maps.Clone(was)
	was["field-03"] = changed
	if diff := cmp.Diff(was, all()); diff != "" {
		t.Errorf("the objects have changed (-were +are):\n%s", diff)
	}
	if r, err := migrate(c.admin, false); err != nil || !r.Done || r.Seen != 0 {
		t.Errorf("again: %+v, %v", r, err)
	}

	// The command is about our own CRDs, which have always stored v1 here.
	out, err := exec.CommandContext(t.Context(), bed.Build(t, "./cmd/bridge"), "migrate", "storage", "--kubeconfig", c.Kubeconfig).CombinedOutput()
	if err != nil || strings.Count(string(out), ".multinic.io: all are stored as v1 already\n") != 4 {
		t.Errorf("migrate storage: %v\n%s", err, out)
	}
}
