package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"multinicd/host/survey"
	"multinicd/test/bed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/rootfs"
	"multinicd/test/bed/testhost"
)

// kind is a kind of host, by who configures its links.
type kind struct {
	name    string
	flavour testhost.Flavour
	suite   string
	toml    string // more of multinicd.toml's [backend]
	backend string // that a NIC gets there
	files   string // of ours, for NIC 1, once it is configured and before a boot
	long    bool   // for test-all
	cloud   bool   // as the cloud made it, else prepared
}

// Names of kinds that the short run has where it cannot have all.
const (
	netplan12  = "netplan, Debian 12"
	keyfiles12 = "keyfiles, Debian 12"
	netplan13  = "netplan, Debian 13"
	asTheCloud = ", as the cloud made it"
)

// prepared are hosts on which nobody has configured any NIC but the primary one.
var prepared = []kind{
	{name: netplan12, flavour: testhost.Networkd, suite: "bookworm", backend: survey.Netplan, files: "/etc/netplan/90-multinic1.yaml"},
	{name: netplan13, flavour: testhost.Networkd, suite: "trixie", backend: survey.Netplan, files: "/etc/netplan/90-multinic1.yaml", long: true},
	{name: keyfiles12, flavour: testhost.NetworkManager, suite: "bookworm", backend: survey.NetworkManager,
		files: "/etc/NetworkManager/system-connections/multinic1.nmconnection /etc/systemd/network/10-multinic1.link"},
	{name: "keyfiles, Debian 13", flavour: testhost.NetworkManager, suite: "trixie", backend: survey.NetworkManager,
		files: "/etc/NetworkManager/system-connections/multinic1.nmconnection /etc/systemd/network/10-multinic1.link"},
	{name: "netplan, Debian testing", flavour: testhost.Networkd, suite: rootfs.Testing, backend: survey.Netplan, files: "/etc/netplan/90-multinic1.yaml", long: true},
	{name: "keyfiles, Debian testing", flavour: testhost.NetworkManager, suite: rootfs.Testing, backend: survey.NetworkManager, long: true,
		files: "/etc/NetworkManager/system-connections/multinic1.nmconnection /etc/systemd/network/10-multinic1.link"},
	{name: "ifcfg files", flavour: testhost.Ifcfg, suite: "bookworm", toml: "name = \"ifcfg\"\n", backend: survey.Ifcfg,
		files: "/etc/sysconfig/network-scripts/ifcfg-multinic1 /etc/sysconfig/network-scripts/route-multinic1 /etc/systemd/network/10-multinic1.link"},
	{name: "netplan for NetworkManager, Debian 12", flavour: testhost.NetplanNetworkManager, suite: "bookworm", backend: survey.NetplanNetworkManager,
		files: "/etc/netplan/90-multinic1.yaml /run/NetworkManager/system-connections/netplan-0-multinic1.nmconnection"},
	{name: "netplan for NetworkManager, Debian 13", flavour: testhost.NetplanNetworkManager, suite: "trixie", backend: survey.NetplanNetworkManager,
		files: "/etc/netplan/90-multinic1.yaml /run/NetworkManager/system-connections/netplan-0-multinic1.nmconnection", long: true},
	{name: "ifcfg plugin and keyfiles", flavour: testhost.Ifcfg, suite: "bookworm", backend: survey.NetworkManager, long: true,
		files: "/etc/NetworkManager/system-connections/multinic1.nmconnection /etc/systemd/network/10-multinic1.link"},
}

// kinds are those, prepared and as the cloud made them. Of the latter the short run has what images
// mostly are.
var kinds = append(prepared, made(prepared)...)

func made(prepared []kind) (out []kind) {
	for _, k := range prepared {
		k.cloud, k.long = true, k.name != netplan13 && k.name != keyfiles12
		k.name += asTheCloud
		out = append(out, k)
	}
	return out
}

// options are those of a host of the kind. The cloud has told cloud-init of the first of its NICs.
func (k kind) options(nics ...testhost.NIC) testhost.Options {
	o := testhost.Options{Flavour: k.flavour, Suite: k.suite, NICs: nics}
	if k.cloud {
		o.Cloud = &testhost.Cloud{}
		if len(nics) > 0 {
			o.Cloud.Ports = []string{nics[0].MAC}
		}
	}
	return o
}

// nth is what the kernel calls the nth NIC beside the primary one.
func (k kind) nth(n int) string {
	if k.cloud {
		return fmt.Sprintf("ens%d", 3+n)
	}
	return fmt.Sprintf("eth%d", n)
}

// givenBack waits until the NIC of a MAC, the nth, is as nobody's: free, or, where the cloud made
// the host, up without anything of ours; after a boot it has a lease there.
func (n *node) givenBack(k kind, nth int, mac string, booted bool) {
	n.t.Helper()
	if !k.cloud {
		n.wantLinkStays(mac, k.nth(nth)+" "+k.free()+" mtu 1500")
		return
	}
	n.wantStays("the NIC that was given back", k.nth(nth)+" up mtu 1500", func() string {
		words := strings.Fields(n.link(mac))
		rest := slices.DeleteFunc(words[min(4, len(words)):], func(a string) bool { return n.leased(a) })
		return strings.Join(append(words[:min(4, len(words))], rest...), " ")
	})
	if booted {
		n.eventually("its default route", "dhcp", func() string { return n.defaults(k.nth(nth)) })
	}
}

// leased tells whether an address is one of those that the DHCP servers of kindNode give away.
func (n *node) leased(address string) bool {
	a, err := netip.ParsePrefix(address)
	if err != nil || !a.Addr().Is4() {
		return false
	}
	last := a.Addr().As4()[3]
	return last >= 100 && last < 200
}

// defaults is who made the IPv4 default routes of a link.
func (n *node) defaults(link string) string {
	n.t.Helper()
	return strings.TrimSpace(n.must("sh", "-c", "ip -4 route show default dev "+link+" 2>/dev/null | grep -o 'proto [a-z0-9]*' | cut -d ' ' -f 2"))
}

// free is how a link is that nobody has configured: NetworkManager sets all up that it manages, to see whether there is a carrier.
func (k kind) free() string {
	if k.flavour == testhost.Networkd && !k.cloud {
		return "down"
	}
	return "up"
}

// all kinds of a run: those that take long only in the long one.
func all() (out []kind) {
	for _, k := range kinds {
		if !k.long || len(prerequisite.Long(k)) > 0 {
			out = append(out, k)
		}
	}
	return out
}

// brief are the prepared kinds of these names, and in the long run all prepared ones.
func brief(names ...string) []kind { return among(prepared, names) }

// both are the kinds of these names, prepared or as the cloud made them, and in the long run all.
func both(names ...string) []kind { return among(kinds, names) }

// onDebian are the releases on which a test runs that says its own host: this one, and in the long run both.
func onDebian(suite string) []string {
	if long := prerequisite.Long("bookworm", "trixie"); long != nil {
		return long
	}
	return []string{suite}
}

func among(kinds []kind, names []string) (out []kind) {
	if long := prerequisite.Long(kinds...); long != nil {
		return long
	}
	for _, k := range kinds {
		if slices.Contains(names, k.name) {
			out = append(out, k)
		}
	}
	return out
}

// everyKind runs a test on a host of each kind, several at once.
func everyKind(t *testing.T, test func(t *testing.T, k kind)) {
	t.Helper()
	onKinds(t, all(), test)
}

func onKinds(t *testing.T, kinds []kind, test func(t *testing.T, k kind)) {
	t.Helper()
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, k)
		})
	}
}

// owner is what the log calls that which configures the links.
func (k kind) owner() string {
	if k.flavour == testhost.Networkd {
		return "systemd-networkd"
	}
	return "NetworkManager (process "
}

// restart is how that is started anew which configures the links.
func (k kind) restart() string {
	if k.flavour == testhost.Networkd {
		return "systemctl restart systemd-networkd"
	}
	return "systemctl restart NetworkManager; nm-online -qs -t 90"
}

// segments are those of NICs 1 to 3 in most tests. Where the cloud made the host, a DHCP server is
// on each, which is the router too.
var segments = map[string]string{"data1": "192.168.100.0/24", "data2": "192.168.200.0/24", "data3": "192.168.3.0/24"}

// serve starts the DHCP servers of a bed whose hosts are as the cloud made them. Nothing is renewed
// while a test runs.
func (k kind) serve(b *bed.Bed) {
	if !k.cloud {
		return
	}
	for segment, network := range segments {
		b.DHCP(segment, testhost.DHCP{Network: netip.MustParsePrefix(network), Lease: 24 * time.Hour})
	}
}

// kindNode is fileNode on a host of some kind. As the cloud made it, each NIC is leased an address
// and a default route before the test begins, and the kubelet has been told which address is the
// node's.
func kindNode(t *testing.T, b *bed.Bed, k kind, nics ...testhost.NIC) *node {
	t.Helper()
	k.serve(b)
	n := newNode(t, b, k.options(nics...), settings("worker-node-01", fromFile)+k.toml)
	n.must("systemctl", "--quiet", "disable", "multinicd")
	if k.cloud {
		n.file("/var/lib/kubelet/kubeadm-flags.env", "KUBELET_KUBEADM_ARGS=\"--node-ip="+n.Address.Addr().String()+"\"\n")
		for i := range nics {
			n.eventually("the lease of NIC "+nics[i].MAC, "dhcp", func() string { return n.defaults(k.nth(i + 1)) })
		}
	}
	return n
}

// folders are all in which a file of ours may be.
const folders = "/etc/netplan /run/systemd/network /etc/systemd/network /etc/NetworkManager/system-connections /run/NetworkManager/system-connections /etc/sysconfig/network-scripts /etc/sysctl.d"

// profiles lists the files of ours in them, and not NetworkManager's notes of what it has found on a link.
func (n *node) profiles() string {
	n.t.Helper()
	return strings.Join(strings.Fields(n.must("sh", "-c", "find "+folders+" -name '*multinic*' -exec grep -L '^nm-generated=true' {} + 2>/dev/null | sort || true")), " ")
}

// keepForeign keeps networkd from deleting what others have made. It does so whenever it configures any
// link, and a NIC that is given back to an image's catch-all is one; docs/activation.md has these lines.
func (n *node) keepForeign() {
	n.t.Helper()
	if err := n.WriteFile("/etc/systemd/networkd.conf.d/10-multinic.conf", []byte(keepForeign), 0o644); err != nil {
		n.t.Fatal(err)
	}
	n.must("systemctl", "restart", "systemd-networkd")
	n.quiet()
}

// The main job on every kind of host, on one host each: what is configured is so at once, after a boot, and after each change; the same again does nothing;
// nothing else is touched; what is wanted no more is gone.
func TestTheMainJobOnEveryKindOfHost(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind) {
		n := kindNode(t, bed.New(t), k, bed.NICs(mac1, mac2)...)
		files := k.files
		if k.cloud && k.flavour == testhost.Networkd {
			n.keepForeign()
			files += " /run/systemd/network/10-netplan-0-multinic1.network" // networkd is told of it, and so forgets its own
		}
		n.must("sh", "-ec", testhost.Bystanders)
		n.quiet()
		others := n.others()
		kernel, err := n.MonitorKernel()
		if err != nil {
			t.Fatal(err)
		}
		defer kernel.Stop()
		route := "routes: [{to: 10.20.0.0/16, via: 192.168.100.1}]"
		first, second := nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1400", route), nicYAML(2, mac2, "192.168.200.10/24", "addresses: [\"2001:db8:2::1/64\"]")
		const link1, link2 = "multinic1 up mtu 1400 192.168.100.10/24", "multinic2 up mtu 1500 192.168.200.10/24 2001:db8:2::1/64"

		out := n.apply(exitDone, nodeObject(first))
		n.wantLink(mac1, link1)
		if got := n.profiles(); got != files {
			t.Errorf("files of ours: %s, want %s\n%s", got, files, out)
		}
		n.sameAgainDoesNothing("multinicd", "apply", "-f", objectFile)

		// A NIC is added, and one that must not be had is refused.
		refused := n.apply(exitRefused, nodeObject(first, second, nicYAML(9, n.PrimaryMAC, "10.9.9.9/24")))
		if !strings.Contains(refused, "ProtectedLink") {
			t.Errorf("the primary NIC was not refused for what it is:\n%s", refused)
		}
		n.wantLink(mac1, link1)
		n.wantLink(mac2, link2)

		// One waits; the daemon takes it as soon as it is plugged in.
		n.start(nodeObject(first, second, nicYAML(3, mac3, "192.168.3.10/24")))
		n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured, multinic3 Pending WaitingForNIC")
		if err := n.Plug(testhost.NIC{MAC: mac3, Segment: "data3"}); err != nil {
			t.Fatal(err)
		}
		n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured, multinic3 Configured Configured")
		n.wantLink(mac3, "multinic3 up mtu 1500 192.168.3.10/24")
		s, err := n.status()
		if err != nil || len(s.NICs) != 3 || s.NICs[2].Backend != k.backend || len(s.NICs[2].Evidence) < 3 {
			t.Errorf("the status does not say by what NIC 3 is configured, and why: %v %+v", err, s.NICs)
		}
		n.sameAgainDoesNothing("systemctl", "restart", "multinicd")
		n.must("systemctl", "stop", "multinicd")

		// A change of all that a NIC has.
		changed := nicYAML(1, mac1, "192.168.101.10/24", "mtu: 1300")
		const link1Changed = "multinic1 up mtu 1300 192.168.101.10/24"
		n.apply(exitDone, nodeObject(changed, second))
		n.wantLinksStay(map[string]string{mac1: link1Changed, mac2: link2})
		if got := strings.Replace(n.link(mac3), " up ", " down ", 1); !strings.HasPrefix(got, k.nth(3)+" down mtu 1500") || got != k.nth(3)+" down mtu 1500" && !k.cloud { // as it was found: NetworkManager may have set it up by then
			t.Errorf("NIC 3 was not given back: %s", got)
		}
		if out := n.must("ip", "route", "show", "10.20.0.0/16"); out != "" {
			t.Errorf("a route of the old is left: %s", out)
		}
		if after := n.others(); after != others {
			t.Errorf("the rest of the host is\n%s\nwas\n%s", after, others)
		}
		events, err := kernel.Events()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range foreign(events) {
			t.Errorf("something else was touched: %s", e)
		}

		// A boot without us, and one more change behind it.
		n.reboot()
		n.wantLinksStay(map[string]string{mac1: link1Changed, mac2: link2})
		n.sameAgainDoesNothing("multinicd", "apply", "-f", objectFile)
		n.apply(exitDone, nodeObject(first, second))
		n.wantLinksStay(map[string]string{mac1: link1, mac2: link2})
		if out := n.must("ip", "route", "show", "10.20.0.0/16"); !strings.Contains(out, "via 192.168.100.1 dev multinic1") {
			t.Errorf("the route is not there: %q", out)
		}

		n.apply(exitDone, nodeObject())
		n.givenBack(k, 1, mac1, false)
		n.givenBack(k, 2, mac2, false)
		if got := n.profiles(); got != "" {
			t.Errorf("files of ours are left: %s", got)
		}
		n.reboot()
		n.givenBack(k, 1, mac1, true)
	})
}
