package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"multinicd/test/bed"
	"multinicd/test/bed/kubelet"
	"multinicd/test/bed/testhost"
)

// definitions are the NetworkAttachmentDefinitions of docs/pods.md: what a plugin is given, by the plugin's name.
func definitions(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile(bed.Path(t, "docs/pods.md"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for i, block := range strings.Split(string(page), "```yaml\n") {
		if i == 0 {
			continue
		}
		text, _, _ := strings.Cut(block, "```")
		var d struct {
			Metadata struct{ Name string }
			Spec     struct{ Config string }
		}
		if err := yaml.UnmarshalStrict([]byte(text), &struct {
			APIVersion, Kind *string
			Metadata, Spec   any
		}{}); err != nil {
			t.Fatalf("docs/pods.md: %v\n%s", err, text)
		}
		if err := yaml.Unmarshal([]byte(text), &d); err != nil {
			t.Fatal(err)
		}
		var c map[string]any
		if err := json.Unmarshal([]byte(d.Spec.Config), &c); err != nil {
			t.Fatalf("docs/pods.md: %s: %v", d.Metadata.Name, err)
		}
		c["name"] = d.Metadata.Name // as Multus does where the definition has none
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		out[fmt.Sprint(c["type"])] = string(b)
	}
	return out
}

// pod is one of the node: a network namespace, in which the real plugins do what Multus has them do.
type pod struct {
	*node
	name string
}

func (n *node) pod(name string) pod {
	n.must("ip", "netns", "add", name)
	return pod{n, name}
}

// plugin runs a plugin for the Pod, and gives its exit code and what it says.
func (p pod) plugin(command, config string) (int, string) {
	p.t.Helper()
	var c struct{ Type string }
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		p.t.Fatal(err)
	}
	return p.exit("env", "CNI_COMMAND="+command, "CNI_CONTAINERID="+p.name, "CNI_NETNS=/run/netns/"+p.name, "CNI_IFNAME=net1", "CNI_PATH="+kubelet.PluginDir,
		"sh", "-c", "printf %s \"$1\" | "+kubelet.PluginDir+"/"+c.Type, "sh", config)
}

func (p pod) does(command, config string) {
	p.t.Helper()
	if code, said := p.plugin(command, config); code != 0 {
		p.t.Fatalf("%s %s ended with %d:\n%s", command, config, code, said)
	}
}

// talks has the Pod ask a neighbour for an echo, with a packet as large as the MTU allows.
func (p pod) talks(when, neighbour string, mtu int) {
	p.t.Helper()
	p.eventually("an answer to the Pod "+when, "yes", func() string {
		if code, said := p.exit("ip", "netns", "exec", p.name, "ping", "-c1", "-W1", "-M", "do", "-s", fmt.Sprint(mtu-28), neighbour); code != 0 {
			return said
		}
		return "yes"
	})
}

func (p pod) mtu() string {
	p.t.Helper()
	return strings.TrimSpace(p.must("ip", "netns", "exec", p.name, "cat", "/sys/class/net/net1/mtu"))
}

// What docs/pods.md says, with the definitions that stand there, by the real plugins.
func TestPodsTalkOverTheNICsOfTheirNode(t *testing.T) {
	t.Parallel()
	plugins, err := kubelet.PodPlugins(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	b := bed.New(t)
	n := fileNode(t, b, testhost.Options{NICs: bed.NICs(mac1, mac2), Over: plugins}, nil)
	const router1, router2 = "192.168.100.1", "192.168.200.1"
	for segment, address := range map[string]string{"data1": router1, "data2": router2} {
		if err := b.World.AddAddress(segment, netip.MustParsePrefix(address+"/24")); err != nil {
			t.Fatal(err)
		}
	}
	wanted := func(first string, more ...string) string {
		return nodeObject(nicYAML(1, mac1, first, more...), nicYAML(2, mac2, "192.168.200.10/24"))
	}
	const configured = "multinic1 Configured Configured, multinic2 Configured Configured"
	conf := definitions(t)
	early := n.pod("early")
	if code, said := early.plugin("ADD", conf["macvlan"]); code == 0 || !strings.Contains(said, "Link not found") {
		t.Errorf("before there is a NIC the plugin ended with %d:\n%s", code, said)
	}
	n.start(wanted("192.168.100.10/24"))
	n.wantNICs(configured)

	// This kernel has no ipvlan; with one, the plugin is asked in the same way.
	storage := n.pod("storage")
	storage.does("ADD", conf["macvlan"])
	storage.talks("with macvlan", router1, 1500)
	n.must("sh", "-ec", "ip link add br9 type bridge; ip link add v9 type veth peer name v9peer; ip link set v9 master br9")
	if code, said := early.plugin("ADD", strings.Replace(conf["macvlan"], "multinic1", "v9", 1)); code == 0 || !strings.Contains(said, "device or resource busy") {
		t.Errorf("macvlan on a link that a bridge has ended with %d:\n%s", code, said)
	}

	// The NIC changes below the Pod.
	n.file(objectFile, wanted("192.168.100.11/24", "mtu: 1400"))
	n.wantLink(mac1, "multinic1 up mtu 1400 192.168.100.11/24")
	n.wantNICs(configured)
	storage.talks("with a smaller MTU", router1, 1400)
	if got := storage.mtu(); got != "1400" {
		t.Errorf("the Pod's link has MTU %s, and the NIC 1400", got)
	}
	n.file(objectFile, wanted("192.168.100.10/24"))
	n.wantLink(mac1, "multinic1 up mtu 1500 192.168.100.10/24")
	n.wantNICs(configured)
	storage.talks("with the larger MTU", router1, 1400)
	if got := storage.mtu(); got != "1400" {
		t.Errorf("the Pod's link has MTU %s, and had 1400 before the NIC got a larger one", got)
	}
	n.must("systemctl", "restart", "multinicd")
	n.wantNICs(configured)
	n.file(objectFile, strings.Replace(wanted("192.168.100.10/24"), "id: 1", "id: 7", 1))
	n.wantLink(mac1, "multinic7 up mtu 1500 192.168.100.10/24")
	storage.talks("below which the NIC has another name", router1, 1400)
	n.file(objectFile, wanted("192.168.100.10/24"))
	n.wantNICs(configured)

	// The whole NIC.
	whole := n.pod("whole")
	whole.does("ADD", conf["host-device"])
	n.wantNICs("multinic1 Configured Configured, multinic2 Pending WaitingForNIC")
	whole.talks("that has the NIC", router2, 1500)
	whole.does("DEL", conf["host-device"])
	n.wantNICs(configured)
	n.wantLinkStays(mac2, "multinic2 up mtu 1500 192.168.200.10/24")

	// Detached, and back.
	if err := n.Unplug(mac1); err != nil {
		t.Fatal(err)
	}
	n.wantNICs("multinic1 Pending WaitingForNIC, multinic2 Configured Configured")
	if links := n.must("ip", "-n", storage.name, "-brief", "link"); strings.Contains(links, "net1") {
		t.Errorf("the NIC is gone, and the Pod has:\n%s", links)
	}
	if err := n.Plug(testhost.NIC{MAC: mac1, Segment: "data1"}); err != nil {
		t.Fatal(err)
	}
	n.wantNICs(configured)
	storage.does("ADD", conf["macvlan"])
	storage.talks("that was made anew", router1, 1500)

	// Given back, it is down as it was found: nobody can see the Pod's link on it.
	n.file(objectFile, nodeObject(nicYAML(2, mac2, "192.168.200.10/24")))
	n.wantNICs("multinic2 Configured Configured")
	n.eventually("the Pod's link without a carrier", "", func() string {
		if link := n.must("ip", "-n", storage.name, "-brief", "link", "show", "net1"); !strings.Contains(link, "DOWN") {
			return link
		}
		return ""
	})
	if journal := n.Journal(t.Context()); strings.Contains(journal, "DriftFighting") {
		t.Errorf("the daemon has seen a fight:\n%s", journal)
	}
}
