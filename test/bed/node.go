package bed

import (
	"context"
	"fmt"
	"net/netip"

	"multinicd/test/bed/kubelet"
	"multinicd/test/bed/testhost"
)

// Node boots a host with a primary NIC and one NIC per MAC, which is a node of the control plane: containerd and a kubelet run on it, and
// the images of `make image` are there. Nodes of one bed are numbered from 1.
func (b *Bed) Node(name string, number int, macs ...string) *kubelet.Node {
	b.t.Helper()
	ctx := context.WithoutCancel(b.t.Context())
	n, err := b.node(ctx, name, number, macs)
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b *Bed) node(ctx context.Context, name string, number int, macs []string) (*kubelet.Node, error) {
	c := b.Cluster()
	programs, err := kubelet.Programs(ctx, b.t.Logf)
	if err != nil {
		return nil, err
	}
	images, err := kubelet.MakeImages(ctx)
	if err != nil {
		return nil, err
	}
	h := b.HostWith(testhost.Options{Name: name, NICs: NICs(macs...), Over: programs})
	pods, err := netip.ParsePrefix(fmt.Sprintf("10.88.%d.0/24", number))
	if err != nil {
		return nil, err
	}
	if !b.pods {
		if _, err := b.World.ServePods(c.Address); err != nil {
			return nil, err
		}
		b.pods = true
	}
	if err := b.World.AddRoute(pods, h); err != nil {
		return nil, err
	}
	n, err := kubelet.Start(ctx, b.box, c, h, kubelet.Options{
		Server: b.api.URL(), Pods: pods, Images: []string{images.Bridge, images.Multinicd}, Pause: images.Pause, Logf: b.t.Logf,
	})
	if err != nil {
		return nil, err
	}
	b.t.Cleanup(func() {
		if b.t.Failed() {
			b.t.Logf("kubelet on %s:\n%s\ncontainerd:\n%s", name, n.Log("kubelet"), n.Log("containerd"))
		}
	})
	return n, nil
}
