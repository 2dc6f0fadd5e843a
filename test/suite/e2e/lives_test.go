package e2e

import (
	"net/netip"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/product"
	"multinicd/test/bed/testhost"
)

// What the node lives by is refused before anything is touched, with adopt too. Each row undoes what it has set up.
func TestWhatTheNodeLivesByIsRefusedWithAdoptToo(t *testing.T) {
	t.Parallel()
	n := fileNode(t, bed.New(t), testhost.Options{}, nil)
	wish := nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "adopt: true"))
	n.must("sh", "-ec", "ip link set eth1 up; ip address add 10.9.0.5/24 dev eth1; ip route show default dev eth0 >/tmp/default")
	for _, c := range []struct{ name, set, undo, says string }{
		{"the only default route", "ip route del default dev eth0; ip route add default via 10.9.0.1 dev eth1 proto dhcp metric 100",
			"ip route del default; ip route add dev eth0 $(cat /tmp/default)", "the default route of IPv4 that counts, since it is the only one"},
		{"the default route of the lowest metric, without a cluster", "ip route del default; ip route add default via 192.0.2.1 dev eth0 metric 400; ip route add default via 10.9.0.1 dev eth1 metric 50",
			"ip route flush exact 0.0.0.0/0; ip route add dev eth0 $(cat /tmp/default)", "since its metric is the lowest (default via 10.9.0.1 metric 50)"},
		{"the default route of a table that everybody looks up", "ip route add default via 10.9.0.1 dev eth1 table 100; ip rule add fwmark 7 lookup 100; ip rule add from 10.9.0.5 lookup 100",
			"ip rule del fwmark 7; ip rule del from 10.9.0.5; ip route flush table 100", "IPv4 in table 100"},
		{"the kubelet's address", "mkdir -p /var/lib/kubelet; echo 'KUBELET_KUBEADM_ARGS=\"--node-ip=10.9.0.5\"' >/var/lib/kubelet/kubeadm-flags.env",
			"rm /var/lib/kubelet/kubeadm-flags.env", "holds 10.9.0.5, the node's address"},
		{"the parent of a macvlan with the kubelet's address", "ip link add link eth1 name mv0 type macvlan mode bridge; ip link set mv0 up; ip address add 10.8.0.5/24 dev mv0; echo 'KUBELET_KUBEADM_ARGS=\"--node-ip=10.8.0.5\"' >/var/lib/kubelet/kubeadm-flags.env",
			"rm /var/lib/kubelet/kubeadm-flags.env; ip link del mv0", "lies below mv0, which holds 10.8.0.5, the node's address"},
		{"the parent of a macvlan with the only default route", "ip link add link eth1 name mv0 type macvlan mode bridge; ip link set mv0 up; ip address add 10.8.0.5/24 dev mv0; ip route del default; ip route add default via 10.8.0.1 dev mv0",
			"ip link del mv0; ip route add dev eth0 $(cat /tmp/default)", "lies below mv0, which has the default route of IPv4 that counts"},
	} {
		n.must("sh", "-ec", c.set)
		before := n.footprint()
		out := n.apply(exitRefused, wish)
		if !strings.Contains(out, "ProtectedLink") || !strings.Contains(out, c.says) {
			t.Errorf("%s: %q is not said:\n%s", c.name, c.says, out)
		}
		if after := n.footprint(); after != before {
			t.Errorf("%s: refused, but it is\n%s\nwas\n%s", c.name, after, before)
		}
		n.must("sh", "-ec", c.undo)
	}
	// And so it is not for a default route that does not count.
	n.must("sh", "-ec", "ip route add default via 10.9.0.1 dev eth1 metric 4000")
	n.apply(exitDone, wish)
}

// The lease of the extra NIC came first, so that the kernel leads to the API server by it. With the
// primary's router dead the NIC is all that the node has. Once that router answers, the NIC is taken
// over, and the node's traffic leaves by the primary.
func TestThePathToTheAPIServerMovesOnlyToWhereItAnswers(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	c := newCluster(t, b)
	if err := b.World.AddAddress("data1", netip.MustParsePrefix("10.9.0.1/24")); err != nil {
		t.Fatal(err)
	}
	n := &node{Node: c.Member(testhost.Options{Name: "two-leases"}, settings("two-leases", "")), t: t, bed: b}
	if err := product.Join(t.Context(), c.Cluster.Cluster, n.Host, "two-leases", b.APIBehind().URL()); err != nil {
		t.Fatal(err)
	}
	// Its name puts it behind the primary's; nobody reloads anything, so that only what is set here is live.
	n.file("/etc/netplan/60-extra.yaml", `network: {version: 2, ethernets: {extra: {match: {macaddress: "`+mac1+`"}, addresses: [10.9.0.5/24]}}}`+"\n")
	routes := func(gateway string) {
		n.must("sh", "-ec", `ip route flush exact 0.0.0.0/0
			ip route add default via 10.9.0.1 dev eth1 proto dhcp metric 100
			ip route append default via `+gateway+` dev eth0 proto dhcp metric 100`)
	}
	n.must("sh", "-ec", "ip link set eth1 up; ip address add 10.9.0.5/24 dev eth1")
	wish := strings.ReplaceAll(nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "adopt: true")), "worker-node-01", "two-leases")
	way := func() string {
		return strings.TrimSpace(n.must("sh", "-c", "ip route get "+testhost.Behind.String()+" | grep -o 'dev [^ ]*'"))
	}

	routes("192.0.2.250") // where nobody is
	before := n.footprint()
	out := n.apply(exitRefused, wish)
	if !strings.Contains(out, "ProtectedLink") || !strings.Contains(out, "no answer through eth0") {
		t.Errorf("it is not said that the primary leads nowhere:\n%s", out)
	}
	if after, by := n.footprint(), way(); after != before || by != "dev eth1" {
		t.Errorf("refused, but it is\n%s\n(%s) was\n%s", after, by, before)
	}

	routes(testhost.Gateway.String())
	if by := way(); by != "dev eth1" {
		t.Fatalf("the kernel leads to the API server by %s: nothing is shown", by)
	}
	// A strict filter drops what comes in by another link than the one that the kernel prefers.
	n.must("sysctl", "-q", "-w", "net.ipv4.conf.eth0.rp_filter=1")
	if out := n.apply(exitRefused, wish); !strings.Contains(out, "no answer through eth0") {
		t.Errorf("the filter is said to hinder nothing:\n%s", out)
	}
	n.must("sysctl", "-q", "-w", "net.ipv4.conf.eth0.rp_filter=2")
	n.apply(exitDone, wish)
	n.wantLink(mac1, "multinic1 up mtu 1500 192.168.100.10/24")
	if by := way(); by != "dev eth0" {
		t.Errorf("the API server is reached by %s", by)
	}
	if got := strings.TrimSpace(n.must("ip", "route", "show", "default")); !strings.HasPrefix(got, "default via "+testhost.Gateway.String()+" dev eth0") || strings.Contains(got, "\n") {
		t.Errorf("default routes are\n%s", got)
	}
}
