package e2e

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// finding is one of the doctor's that a person has to do something about.
type finding struct{ ID, Severity, Subject, Evidence, Advice string }

// alarms are the doctor's findings that are more than how it is, sorted: "warning rp-filter multinic1".
// The kernel of these tests belongs to the machine below, and nobody keeps its clock for the host.
func (n *node) alarms() (text string, all []finding) {
	n.t.Helper()
	_, out := n.exit("multinicd", "doctor", "-o", "json")
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		n.t.Fatalf("%v:\n%s", err, out)
	}
	var alarms []string
	for _, f := range all {
		if f.Severity != "info" && f.ID != "clock-unsynchronised" {
			alarms = append(alarms, strings.TrimSpace(f.Severity+" "+f.ID+" "+f.Subject))
		}
	}
	slices.Sort(alarms)
	return strings.Join(alarms, ", "), all
}

// wantAlarms compares, and looks for words in the texts of all findings.
func (n *node) wantAlarms(when, want string, says ...string) {
	n.t.Helper()
	got, all := n.alarms()
	if got != want {
		n.t.Errorf("%s: got %q, want %q", when, got, want)
	}
	text, err := json.Marshal(all)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, word := range says {
		if !strings.Contains(string(text), word) {
			n.t.Errorf("%s: nothing says %q:\n%s", when, word, text)
		}
	}
}

// An alarm that is on everywhere is read nowhere: on a host as the cloud made it, with a lease on each
// port, the doctor has none. Where cloud-init's hot-plug is on, it has that one.
func TestTheDoctorIsStillOnAStockCloudImage(t *testing.T) {
	onKinds(t, both(keyfiles12+asTheCloud), func(t *testing.T, k kind) {
		b := bed.New(t)
		k.serve(b)
		n := newNode(t, b, k.options(testhost.NIC{MAC: mac1, Segment: "data1"}), settings("worker-node-01", fromFile)+k.toml)
		n.eventually("the lease of the NIC", "dhcp", func() string { return n.defaults(k.nth(1)) })
		n.start(nodeObject())
		n.wantNICs("")
		n.file("/etc/cloud/cloud.cfg", "cloud_final_modules:\n  - scripts_user\n  - install_hotplug\n  - final_message\n")
		n.file("/usr/lib/udev/rules.d/10-cloud-init-hook-hotplug.rules", "# as some packages ship it\n")
		n.wantAlarms("as the cloud made it", "", "spare-default-route")
		n.file(objectFile, nodeObject(nicYAML(1, mac1, "192.168.100.10/24")))
		n.must("systemctl", "restart", "multinicd")
		n.wantNICs("multinic1 Configured Configured")
		n.wantAlarms("with the NIC configured", "", "claimed-too", "written by cloud-init", "taken over from")
		n.file("/etc/cloud/cloud.cfg.d/99-disable-network-hotplug.cfg", "updates:\n  network:\n    when: [boot-new-instance]  # no hotplug here\n")
		n.wantAlarms("with hot-plug switched off", "")
		const rule = "/etc/udev/rules.d/10-cloud-init-hook-hotplug.rules"
		n.file(rule, "# installed by cloud-init\n")
		n.wantAlarms("with cloud-init's rule", "warning other-agent cloud-init", rule)
	})
}

// What a new NIC means to the rest of the host: each fault is one finding, with advice for this NIC alone.
func TestTheDoctorSaysWhatANewNICMeans(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	n := fileNode(t, b, testhost.Options{}, nil)
	n.must("sh", "-ec", "mkdir -p /etc/systemd/networkd.conf.d; printf '[Network]\\nManageForeignRoutes=no\\nManageForeignRoutingPolicyRules=no\\n' >/etc/systemd/networkd.conf.d/10-x.conf; chmod -R a+rX /etc/systemd/networkd.conf.d; systemctl restart systemd-networkd")
	n.file("/var/lib/kubelet/kubeadm-flags.env", "KUBELET_KUBEADM_ARGS=\"--node-ip="+n.Address.Addr().String()+"\"\n")
	n.start(nodeObject(nicYAML(1, mac1, "192.168.100.10/24")))
	n.wantNICs("multinic1 Configured Configured")
	n.wantAlarms("a NIC of ours", "", "open-ports", "NodePorts")

	n.must("sh", "-ec", "mkdir -p /etc/cni/net.d; echo any content >/etc/cni/net.d/10-calico.conflist")
	n.wantAlarms("Calico", "warning container-network Calico", "IP_AUTODETECTION_METHOD=kubernetes-internal-ip")
	n.must("rm", "/etc/cni/net.d/10-calico.conflist")

	n.must("sysctl", "-qw", "net.ipv4.conf.multinic1.rp_filter=1", "net.ipv4.conf.all.rp_filter=1")
	n.wantAlarms("a strict filter", "warning rp-filter multinic1", "net.ipv4.conf.multinic1.rp_filter = 2")
	if _, all := n.alarms(); slices.ContainsFunc(all, func(f finding) bool { return strings.Contains(f.Advice, "conf.all.rp_filter") }) {
		t.Error("the advice changes all links, which ends Calico")
	}
	n.must("sysctl", "-qw", "net.ipv4.conf.multinic1.rp_filter=2") // the advice
	n.wantAlarms("with the advice followed", "")

	// The address of a trunk's subport on its parent: nobody there is the gateway.
	n.file(objectFile, nodeObject(nicYAML(1, mac1, "192.168.100.10/24"), nicYAML(2, mac2, "192.168.200.10/24", "gateway: 192.168.200.1")))
	n.must("systemctl", "restart", "multinicd")
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	n.wantAlarms("no gateway", "warning gateway-silent multinic2", "192.168.200.1 does not answer")
	if err := b.World.AddAddress("data2", netip.MustParsePrefix("192.168.200.1/24")); err != nil {
		t.Fatal(err)
	}
	n.wantAlarms("with its gateway", "")

	// A container network that came later.
	n.must("ip", "route", "add", "192.168.100.64/26", "via", n.Address.Addr().Next().String(), "dev", "eth0", "proto", "80")
	n.wantAlarms("a Pod network in our subnet", "warning overlapping-networks multinic1 eth0", "192.168.100.64/26")
}
