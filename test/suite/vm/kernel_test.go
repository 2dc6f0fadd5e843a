package vm

import (
	"fmt"
	"strings"
	"testing"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
	"multinicd/test/bed/vm"
)

// What the kernel of the test machine lacks, and what only NICs with a permanent MAC show: VLANs, ipvlans, bonds, VRFs and dummies; the product's own idea of what a NIC
// is (links.virtual_kinds is not set); netplan as it is. Nobody gives leases where the NICs are.
func TestLinksOfAKernelOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, kind := range prerequisite.Long(vm.Kinds[0]) {
		a := newAlone(t, vm.Options{Name: "links", Kind: kind, Bridges: 2}, cloudConfig{})
		a.plug(testhost.NIC{MAC: mac1, Segment: "quiet1"})
		a.plug(testhost.NIC{MAC: mac2, Segment: "quiet2"})
		a.livesBy()
		a.borrowed()
		a.carries()
		a.noNICs()
		a.all64()
	}
}

// entry is that of a NIC on a segment without leases.
func entry(id int, mac string, more ...string) string {
	return installed.Entry(id, mac, fmt.Sprintf("10.50.%d.10/24", id), more...)
}

// kubelet says which address is the node's.
const kubelet = "mkdir -p /var/lib/kubelet; echo 'KUBELET_KUBEADM_ARGS=\"--node-ip=10.8.0.5\"' >/var/lib/kubelet/kubeadm-flags.env; "

// livesBy: a NIC below a link by which the node lives is refused, with adopt too. Each row undoes what it has set up.
func (a *alone) livesBy() {
	const address, byDefault = "ip address add 10.8.0.5/24 dev l0", "ip route add default via 10.8.0.1 dev l0 metric 50"
	for _, c := range []struct{ name, set, says string }{
		{"a VLAN with the node's address", kubelet + "ip link add link ens4 name l0 type vlan id 100; ip link set l0 up; " + address, "ProtectedLink|link ens4 lies below l0, which holds 10.8.0.5, the node's address"},
		{"a VLAN with the default route", "ip link add link ens4 name l0 type vlan id 100; ip link set l0 up; " + address + "; " + byDefault, "ProtectedLink|lies below l0, which has the default route of IPv4 that counts"},
		{"a VLAN in a VLAN", kubelet + "ip link add link ens4 name l1 type vlan id 7; ip link add link l1 name l0 type vlan id 8; ip link set l1 up; ip link set l0 up; " + address, "ProtectedLink|which holds 10.8.0.5"},
		{"a macvlan with the node's address", kubelet + "ip link add link ens4 name l0 type macvlan mode bridge; ip link set l0 up; " + address, "ProtectedLink|lies below l0, which holds 10.8.0.5"},
		{"a bond with the node's address", kubelet + "ip link add l0 type bond mode active-backup; ip link set ens4 down; ip link set ens4 master l0; ip link set l0 up; " + address, "NotPhysical|link ens4 is part of a bond, bridge or VRF"},
		{"a VLAN on a bond", kubelet + "ip link add l1 type bond mode active-backup; ip link set ens4 down; ip link set ens4 master l1; ip link set l1 up; ip link add link l1 name l0 type vlan id 100; ip link set l0 up; " + address, "NotPhysical|part of a bond"},
		{"a VRF", kubelet + "ip link add l0 type vrf table 100; ip link set l0 up; ip link set ens4 master l0; ip address add 10.8.0.5/24 dev ens4", "NotPhysical|part of a bond, bridge or VRF"},
		{"a VLAN in a VRF", kubelet + "ip link add l1 type vrf table 100; ip link set l1 up; ip link add link ens4 name l0 type vlan id 100; ip link set l0 master l1; ip link set l0 up; " + address, "ProtectedLink|lies below l0, which holds 10.8.0.5"},
		{"a dummy with the node's address, and the default route by the NIC", kubelet + "ip link add l0 type dummy; ip link set l0 up; ip address add 10.8.0.5/32 dev l0; ip address add 10.9.0.5/24 dev ens4; ip route add default via 10.9.0.1 dev ens4 metric 50", "ProtectedLink|link ens4 has the default route of IPv4 that counts"},
	} {
		a.Sh("ip link set ens4 up; " + c.set)
		says := strings.Split(c.says, "|")
		a.refused(c.name, says, entry(1, mac1, "adopt: true"))
		a.gone()
	}
}

// gone takes away what a row has set up, and gives the NICs back to the host.
func (a *alone) gone() {
	a.t.Helper()
	a.Sh(`rm -f /var/lib/kubelet/kubeadm-flags.env
for l in l0 l1 l2; do ! [ -e /sys/class/net/$l ] || ip link del $l; done
for l in ens4 ens5; do
	! [ -e /sys/class/net/$l ] || { ip link set $l nomaster; ip address flush dev $l scope global; ip route flush dev $l scope global proto boot; ip link set $l up; }
done`)
}

// noNICs: a MAC that only a virtual link has is no NIC's, and a link that shares its NIC's MAC makes that no riddle.
func (a *alone) noNICs() {
	const mac = "02:00:00:00:0f:01"
	for name, add := range map[string]string{
		"a veth":               "ip link add l0 address " + mac + " type veth peer name l1",
		"a dummy":              "ip link add l0 address " + mac + " type dummy",
		"a macvlan":            "ip link add link ens4 name l0 address " + mac + " type macvlan mode bridge",
		"a trunk's subport":    "ip link add link ens4 name l0 address " + mac + " type vlan id 100",
		"a tap":                "ip tuntap add dev l0 mode tap; ip link set l0 address " + mac,
		"a tunnel's other end": "ip link add l0 address " + mac + " type vxlan id 7 dstport 4789 local 192.0.2.11",
	} {
		a.Sh(add)
		a.refused(name, []string{"NotPhysical", mac, "link l0"}, entry(1, mac, "adopt: true"))
		a.gone()
	}
	a.Sh("ip link add link ens4 name l0 type vlan id 100; ip link add link ens4 name l1 type ipvlan mode l2; ip link set l0 up; ip link set l1 up")
	a.refused("a VLAN and an ipvlan with the NIC's own MAC", []string{"ForeignConfig", "link ens4 carries link l"}, entry(1, mac1))
	a.gone()
}

// borrowed: a bond has the MAC of its first member, and has given it to its second. (The bond is told its MAC, or udev gives it one of its own.) A MAC means the NIC that it is burnt into, a member or free again, and neither
// the bond nor the other member.
func (a *alone) borrowed() {
	a.Sh("ip link add l0 address " + mac1 + ` type bond mode active-backup
for l in ens4 ens5; do ip link set $l down; ip link set $l master l0; done
ip link set l0 up; ip address add 10.8.0.5/24 dev l0`)
	macs := func() string {
		return strings.Join(strings.Fields(a.Sh("cat /sys/class/net/l0/address /sys/class/net/ens4/address /sys/class/net/ens5/address")), " ")
	}
	if got, want := macs(), strings.Join([]string{mac1, mac1, mac1}, " "); got != want {
		a.t.Fatalf("the bond and its members have MACs %s, want %s", got, want)
	}
	a.refused("the first member's MAC", []string{"NotPhysical", "link ens4 is part of a bond"}, entry(1, mac1, "adopt: true"))
	a.refused("the second member's MAC", []string{"NotPhysical", "link ens5 is part of a bond"}, entry(2, mac2, "adopt: true"))

	// The first member leaves, and the bond and the other one keep its MAC.
	a.Sh("ip link set ens4 nomaster; ip link set ens4 up")
	bond := func() string {
		return a.Sh("ip -oneline -details link show dev l0; ip -oneline -details link show dev ens5; ip -4 -oneline address show dev l0; ip -4 route show dev l0")
	}
	if got, want := macs(), strings.Join([]string{mac1, mac1, mac1}, " "); got != want {
		a.t.Fatalf("when a member has left there are MACs %s, want %s", got, want)
	}
	before := bond()
	a.refused("the MAC of the member that is left", []string{"NotPhysical", "link ens5 is part of a bond"}, entry(2, mac2, "adopt: true"))
	a.apply(v1.ExitRefused, entry(1, mac1), entry(2, mac2))
	a.has("ens4", "10.50.1.10/24")
	a.apply(v1.ExitDone)
	a.has("ens4", "")
	if got := bond(); got != before {
		a.t.Errorf("the bond was\n%s\nis\n%s", before, got)
	}
	a.gone()
}

// carries: what lies on NICs of ours loses neither MTU nor carrier, neither address nor route, when the object changes, and when the NICs are given back. The second
// one was down when it was found, and so got its name at once; what lies on it keeps it up, and the name too.
func (a *alone) carries() {
	a.Sh("ip link set ens5 down")
	a.apply(v1.ExitDone, entry(1, mac1), entry(2, mac2))
	a.Sh(`ip link add link ens4 name l0 type vlan id 100
ip link add link ens4 name l1 type macvlan mode bridge
ip link add link multinic2 name l2 type ipvlan mode l2
for i in 0 1 2; do ip link set l$i up; ip address add 10.6$i.0.5/24 dev l$i; ip route add 10.7$i.0.0/16 via 10.6$i.0.1; done`)
	children := func() string {
		return a.Sh("for i in 0 1 2; do ip -oneline link show dev l$i | sed 's/ qdisc.*//'; ip -4 -oneline address show dev l$i; ip -4 route show dev l$i; done")
	}
	before := children()
	if strings.Count(before, "LOWER_UP") != 3 || strings.Count(before, "mtu 1500") != 3 {
		a.t.Fatalf("what lies on the NICs is\n%s", before)
	}
	said := a.apply(v1.ExitDone, installed.Entry(1, mac1, "10.50.1.11/24", "mtu: 1400"), installed.Entry(2, mac2, "10.50.2.11/24", "mtu: 1400"))
	for _, want := range []string{"link l0, which lies on it, needs that", "link l2, which lies on it, needs that"} {
		if !strings.Contains(said, want) {
			a.t.Errorf("%q is not said:\n%s", want, said)
		}
	}
	a.has("ens4", "10.50.1.11/24")
	a.has("multinic2", "10.50.2.11/24")
	if got := children(); got != before {
		a.t.Errorf("the object has changed; what lies on the NICs was\n%s\nis\n%s", before, got)
	}
	said = a.apply(v1.ExitDone)
	if got := children(); got != before {
		a.t.Errorf("the NICs were given back; what lies on them was\n%s\nis\n%s; it was said\n%s", before, got, said)
	}
	a.has("ens4", "")
	a.has("multinic2", "")
	a.gone()
}
