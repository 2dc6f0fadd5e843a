package e2e

import (
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

func TestChangesTouchNothingElse(t *testing.T) {
	t.Parallel()
	n := fileNode(t, bed.New(t), testhost.Options{NICs: bed.NICs(mac1, mac2, mac3)}, nil)
	n.must("sh", "-ec", testhost.Bystanders)
	n.quiet()
	before := n.others()
	kernel, err := n.MonitorKernel()
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Stop()

	n.start(nodeObject(nicYAML(1, mac1, "192.168.100.10/24"), nicYAML(2, mac2, "192.168.200.10/24")))
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	n.wantLink(mac1, example1)
	n.wantLink(mac2, example2)
	second := nicYAML(2, mac2, "192.168.200.10/24")
	for _, change := range []struct {
		interfaces []string
		nics       string
		mac, want  string
	}{
		{[]string{nicYAML(1, mac1, "192.168.101.10/24", "mtu: 1400"), second}, "multinic1 Configured Configured, multinic2 Configured Configured", mac1, "multinic1 up mtu 1400 192.168.101.10/24"},
		{[]string{nicYAML(1, mac1, "192.168.101.10/24", "mtu: 1400", "routes: [{to: 10.20.0.0/16, via: 192.168.101.1}]"), second, nicYAML(3, mac3, "2001:db8::1/64")}, "multinic1 Configured Configured, multinic2 Configured Configured, multinic3 Configured Configured", mac3, "multinic3 up mtu 1500 2001:db8::1/64"},
		{[]string{nicYAML(1, mac1, "192.168.101.10/24")}, "multinic1 Configured Configured", mac3, "eth3 down mtu 1500"},
		{nil, "", mac1, "eth1 down mtu 1500"},
	} {
		n.file(objectFile, nodeObject(change.interfaces...))
		n.must("systemctl", "restart", "multinicd")
		n.wantNICs(change.nics)
		n.wantLink(change.mac, change.want)
	}
	if after := n.others(); after != before {
		t.Errorf("the rest of the host is\n%s\nwas\n%s", after, before)
	}
	events, err := kernel.Events()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range foreign(events) {
		t.Errorf("something else was touched: %s", e)
	}
}
