package e2e

import (
	"testing"

	"multinicd/test/bed"
	"multinicd/test/testhost"
)

// bystanders is what a node of a cluster has beside its NICs: Pods' links and addresses, routes of a routing daemon, policy rules, a virtual IP.
const bystanders = `
	ip netns add pod
	ip link add cali12345678901 type veth peer name eth0 netns pod
	ip link set cali12345678901 up
	ip -n pod link set eth0 up
	ip route add 10.244.1.7/32 dev cali12345678901 proto static
	ip route add 10.244.2.0/24 via 192.0.2.1 proto bird
	ip route add 10.244.3.0/24 via 192.0.2.1 proto 80
	ip route add blackhole 10.244.4.0/24 proto bird
	ip route add 10.245.0.0/16 via 192.0.2.1 table 100 proto 109
	ip -6 route add 2001:db8:77::/64 dev eth0 proto 80
	ip rule add priority 100 fwmark 0x1/0xf lookup 2004
	ip rule add priority 10500 from 10.244.1.7 lookup 100
	ip -6 rule add priority 200 from 2001:db8:77::/64 lookup 100
	ip address add 192.0.2.200/32 dev eth0
	ip link add cni0 type bridge
	ip link set cni0 up
	ip address add 10.244.0.1/24 dev cni0
`

func TestChangesTouchNothingElse(t *testing.T) {
	t.Parallel()
	n := fileNode(t, bed.New(t), testhost.Options{NICs: bed.NICs(mac1, mac2, mac3)}, nil)
	n.must("sh", "-ec", bystanders)
	n.quiet()
	before := n.others()
	kernel, err := n.MonitorKernel()
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Stop()

	n.start(nodeObject(nicYAML(1, mac1, "192.168.100.10/24"), nicYAML(2, mac2, "192.168.200.10/24")))
	n.wantLink(mac1, example1)
	n.wantLink(mac2, example2)
	second := nicYAML(2, mac2, "192.168.200.10/24")
	for _, change := range []struct {
		interfaces []string
		mac, want  string
	}{
		{[]string{nicYAML(1, mac1, "192.168.101.10/24", "mtu: 1400"), second}, mac1, "multinic1 up mtu 1400 192.168.101.10/24"},
		{[]string{nicYAML(1, mac1, "192.168.101.10/24", "mtu: 1400", "routes: [{to: 10.20.0.0/16, via: 192.168.101.1}]"), second, nicYAML(3, mac3, "2001:db8::1/64")}, mac3, "multinic3 up mtu 1500 2001:db8::1/64"},
		{[]string{nicYAML(1, mac1, "192.168.101.10/24")}, mac3, "eth3 down mtu 1500"},
		{nil, mac1, "eth1 down mtu 1500"},
	} {
		n.file(objectFile, nodeObject(change.interfaces...))
		n.must("systemctl", "restart", "multinicd")
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
