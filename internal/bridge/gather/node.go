package gather

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// NodeShell is a Node of which only the metadata is read.
func NodeShell() *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}}
}

// ID names an object: its kind, namespace and name.
func ID(o client.Object) string {
	return fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName())
}

// one reads an object into o. It gives nil if there is no such object.
func one[T client.Object](ctx context.Context, c client.Reader, o T, key client.ObjectKey) (T, error) {
	var none T
	if err := c.Get(ctx, key, o); apierrors.IsNotFound(err) {
		return none, nil
	} else if err != nil {
		o.SetNamespace(key.Namespace)
		o.SetName(key.Name)
		return none, fmt.Errorf("reading %s: %w", ID(o), err)
	}
	return o, nil
}

// Object reads the object of a node; nil if there is none.
func Object(ctx context.Context, c client.Reader, node string) (*v1.MultiNicNodeConfig, error) {
	return one(ctx, c, &v1.MultiNicNodeConfig{}, client.ObjectKey{Namespace: v1.SystemNamespace, Name: node})
}

// Node reads the metadata of a Node; nil if there is none.
func Node(ctx context.Context, c client.Reader, node string) (*metav1.PartialObjectMetadata, error) {
	return one(ctx, c, NodeShell(), client.ObjectKey{Name: node})
}

// Account reads a ServiceAccount of the nodes' namespace, by the account's own name; nil if there
// is none.
func Account(ctx context.Context, c client.Reader, name string) (*corev1.ServiceAccount, error) {
	return one(ctx, c, &corev1.ServiceAccount{}, client.ObjectKey{Namespace: v1.NodesNamespace, Name: name})
}

// Lease reads the Lease of a node; nil if there is none.
func Lease(ctx context.Context, c client.Reader, node string) (*coordinationv1.Lease, error) {
	return one(ctx, c, &coordinationv1.Lease{}, client.ObjectKey{Namespace: v1.NodesNamespace, Name: v1.LeaseName(node)})
}

// Known is how the cluster knows a node.
type Known struct {
	Name string
	// Node and Object are the uids of the Node and of the node's object. Each is "" if there is
	// none.
	Node, Object types.UID
	// Account is the node's ServiceAccount; nil if there is none. It is not changed.
	Account *corev1.ServiceAccount
}
