package credential

import (
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

func TestAKubeletGetsItsNodeAToken(t *testing.T) {
	c := newCluster(t)
	c.bridge(nil)
	const node = "by-kubelet"
	c.node(node)
	o := c.object(node)
	kubelet, key := c.kubelet(node), newKey(t)
	r := c.ask(kubelet, node, v1.DoorKubelet, key)
	as := c.bearer(open(t, key, r))

	got := &v1.MultiNicNodeConfig{ObjectMeta: o.ObjectMeta}
	if err := as.Get(t.Context(), client.ObjectKeyFromObject(got), got); err != nil {
		t.Errorf("the node reads its object: %v", err)
	}
	if err := renew(t.Context(), as, node, r.UID); err != nil {
		t.Errorf("the node renews its Lease: %v", err)
	}
	c.gone(r)
	c.event(v1.NodesNamespace, node, "NodeJoined", "system:node:"+node)
	c.event(v1.SystemNamespace, node, "TokenSealed", "system:node:"+node)

	// It renews the token by itself, bound to its Node.
	own := &corev1.ServiceAccount{ObjectMeta: inNodes(v1.ServiceAccountName(node))}
	next := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Node", Name: node},
	}}
	if err := as.SubResource("token").Create(t.Context(), own, next); err != nil {
		t.Fatalf("the node renews its token: %v", err)
	}
	if err := c.bearer(next.Status.Token).Get(t.Context(), client.ObjectKeyFromObject(got), got); err != nil {
		t.Errorf("the renewed token reads the object: %v", err)
	}
}
