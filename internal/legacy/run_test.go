package legacy

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
)

func TestAHeartbeatOfANodeIsNoNews(t *testing.T) {
	node := func(version, provider, system string) *corev1.Node {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1", ResourceVersion: version}}
		n.Spec.ProviderID, n.Status.NodeInfo.SystemUUID = provider, system
		return n
	}
	was := node("1", "openstack:///a", "A")
	for name, test := range map[string]struct {
		was, is any
		want    bool
	}{
		"a heartbeat":             {was, node("2", "openstack:///a", "A"), false},
		"the provider's id":       {was, node("2", "openstack:///b", "A"), true},
		"the machine's own id":    {was, node("2", "openstack:///a", "B"), true},
		"an object of a node":     {&v1.MultiNicNodeConfig{}, &v1.MultiNicNodeConfig{}, true},
		"what is of another type": {was, &v1.MultiNicNodeConfig{}, true},
	} {
		if got := news(test.was, test.is); got != test.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
