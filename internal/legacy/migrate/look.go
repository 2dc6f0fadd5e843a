package migrate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/legacy"
)

// page is how many objects of a kind one answer has: a Node is some 10 KiB.
const page = 500

// Look reads the world from the cluster. A kind whose CRD is not there has no objects. The sentences
// say what in the older objects is known to nobody.
func Look(ctx context.Context, c client.Reader) (legacy.World, []string, error) {
	var w legacy.World
	var lost []string
	for _, group := range []string{v1.Group, legacy.FieldGroup} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: v1.Version, Kind: v1.BizConfigKind + "List"})
		err := pages(ctx, c, list, func() error {
			for _, item := range list.Items {
				data, err := json.Marshal(item.Object)
				if err != nil {
					return err
				}
				old, unknown, err := legacy.ReadOlder(item.GetName(), data)
				if err != nil {
					return err
				}
				w.Old, lost = append(w.Old, old), append(lost, unknown...)
			}
			return nil
		}, client.InNamespace(v1.SystemNamespace))
		if err != nil && !meta.IsNoMatchError(err) {
			return w, nil, fmt.Errorf("listing the older objects of %s: %w", group, err)
		}
	}
	slices.SortStableFunc(w.Old, func(a, b *v1.MultiNicBizConfig) int { return cmp.Compare(a.Name, b.Name) })
	var nodes corev1.NodeList
	err := pages(ctx, c, &nodes, func() error {
		for i := range nodes.Items {
			w.Machines = append(w.Machines, legacy.MachineOf(&nodes.Items[i]))
		}
		return nil
	})
	if err != nil {
		return w, nil, fmt.Errorf("listing the Nodes: %w", err)
	}
	var objects v1.MultiNicNodeConfigList
	err = pages(ctx, c, &objects, func() error {
		for i := range objects.Items {
			w.Objects = append(w.Objects, objects.Items[i].DeepCopy())
		}
		return nil
	}, client.InNamespace(v1.SystemNamespace))
	if err != nil {
		return w, nil, fmt.Errorf("listing the objects of nodes: %w", err)
	}
	return w, lost, nil
}

// pages lists a kind, page by page, and asks an API server in trouble for each page anew. A list that
// is too old to go on with is an error.
func pages(ctx context.Context, c client.Reader, list client.ObjectList, each func() error, where ...client.ListOption) error {
	for next := ""; ; {
		err := again(ctx, func() error { return c.List(ctx, list, append(where, client.Limit(page), client.Continue(next))...) })
		if err != nil {
			return err
		}
		if err := each(); err != nil {
			return err
		}
		if next = list.GetContinue(); next == "" {
			return nil
		}
	}
}

// unstructuredOf is the name of an older object, in the group in which it was read.
func unstructuredOf(old *v1.MultiNicBizConfig) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(old.APIVersion)
	o.SetKind(v1.BizConfigKind)
	o.SetNamespace(old.Namespace)
	o.SetName(old.Name)
	return o
}
