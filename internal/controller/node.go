package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// nodeShell is a Node of which only the metadata is read.
func nodeShell() *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}}
}

// id names an object: its kind, namespace and name.
func id(o client.Object) string {
	return fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName())
}

// found reads an object, by its name, into itself; false where there is none.
func found(ctx context.Context, c client.Reader, o client.Object) (bool, error) {
	err := c.Get(ctx, client.ObjectKeyFromObject(o), o)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", id(o), err)
	}
	return true, nil
}

// Known is how the cluster knows a node.
type Known struct {
	Name string
	// Node and Object are the uids of the Node and of the node's object, "" where
	// there is none.
	Node, Object types.UID
	// Account is the node's ServiceAccount, nil where there is none. It is not
	// changed.
	Account *corev1.ServiceAccount
}
