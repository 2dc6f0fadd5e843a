package web

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// Look reads once what a node's page has, for who has no browser: it asks for this node alone. What
// may not be read is said in the second value, a sentence each; the object must be readable.
func Look(ctx context.Context, from client.Reader, node string) (Detail, []string, error) {
	h := &hub{kinds: kinds(labels.Everything()), all: true, rows: map[string]row{}, touched: map[string]uint64{}, changed: make(chan struct{})}
	var missing []string
	for source, k := range h.kinds {
		h.kept[source] = map[string]entry{}
		for _, one := range about(source, node) {
			list := k.list()
			err := from.List(ctx, list, &client.ListOptions{Namespace: k.namespace, LabelSelector: k.labels, FieldSelector: one})
			switch {
			case apierrors.IsForbidden(err) && source != objects:
				missing = append(missing, fmt.Sprintf("%s, because you may not read %s in %s", k.lost, k.what, k.namespace))
			case err != nil:
				return Detail{}, nil, fmt.Errorf("listing %s: %w", k.what, err)
			}
			if err != nil {
				break // the same for the other names
			}
			h.trouble[source].read = true
			_ = meta.EachListItem(list, func(o runtime.Object) error { // it fails only if we do
				if object, ok := o.(client.Object); ok {
					h.keep(source, object)
				}
				return nil
			})
		}
	}
	return h.detailOf(node), missing, nil
}

// about chooses what a source has of a node.
func about(source int, node string) []fields.Selector {
	named := func(names ...string) (out []fields.Selector) {
		for _, n := range names {
			out = append(out, fields.OneTermEqualSelector("metadata.name", n))
		}
		return out
	}
	switch source {
	case reports:
		return named(v1.ReportName(node))
	case leases:
		return named(v1.LeaseName(node))
	case accounts:
		return named(v1.ServiceAccountName(node), v1.JoinAccountName(node))
	case events:
		return []fields.Selector{fields.SelectorFromSet(fields.Set{"involvedObject.kind": v1.NodeConfigKind, "involvedObject.name": node})}
	case blocked:
		return named(v1.BlockedName)
	}
	return named(node)
}
