package openstack

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/openstack"
	"multinicd/test/bed/testhost"
)

// The whole way: a port is made and plugged in, and the host configures the NIC; the port is deleted, and the host gives the NIC back.
func TestAPortBecomesANICOfAHost(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	s := newStageIn(t, b, b.OpenStack())
	const name, mac = "host-1", "02:00:00:00:0a:01"
	n := s.product.Member(testhost.Options{Name: name, NICs: []testhost.NIC{}}, installed.Settings(name, "", "fast"))
	i := &instance{s: s, name: name, id: uuid()}
	i.primary = s.portOn(i, s.mgmt, n.Addr().String(), openstack.Thing{"mac_address": n.PrimaryMAC})
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.must(s.kube.Patch(t.Context(), node, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"providerID":"`+s.providerID(i.id)+`"}}`))))
	s.at(node, n.Addr().String())
	s.publish()
	s.must(n.StartDaemon(t.Context()))

	port := s.portOn(i, s.data, "10.20.0.91", openstack.Thing{"mac_address": mac})
	s.must(n.Plug(testhost.NIC{MAC: mac, Segment: "data1"}))
	bed.Eventually(t, "the link", "multinic0 up mtu 1450 10.20.0.91/24", func() string { return n.Link(mac) })
	bed.Eventually(t, "the state", "Configured 1/1", func() string { return s.product.State(name) })

	s.remove(port)
	bed.Eventually(t, "that the NIC is given back", "true", func() string {
		link := n.Link(mac)
		if !strings.HasPrefix(link, "multinic") && !strings.Contains(link, "10.20.0.91") {
			return "true"
		}
		return link
	})
	bed.Eventually(t, "the state", "Configured 0/0", func() string { return s.product.State(name) })
}
