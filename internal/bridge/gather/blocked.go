package gather

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// Blocked says whether an administrator has blocked a node. c asks the API server: what is decided
// by this cannot be taken back.
func Blocked(ctx context.Context, c client.Reader, node string) (bool, error) {
	list, err := one(ctx, c, &corev1.ConfigMap{}, client.ObjectKey{Namespace: v1.NodesNamespace, Name: v1.BlockedName})
	if err != nil || list == nil {
		return false, err
	}
	_, is := list.Data[node]
	return is, nil
}
