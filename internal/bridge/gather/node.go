package gather

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// NodeShell is a Node of which only the metadata is read.
func NodeShell() *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}}
}

// ID names an object: its kind, namespace and name.
func ID(o client.Object) string {
	return fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName())
}

// Found reads an object, by its name, into itself; false where there is none.
func Found(ctx context.Context, c client.Reader, o client.Object) (bool, error) {
	err := c.Get(ctx, client.ObjectKeyFromObject(o), o)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", ID(o), err)
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
