package e2e

import (
	"fmt"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// lent is what a CNI plugin does with a NIC when a Pod begins (host-device of containernetworking/plugins), and returned when
// the Pod ends. Each command must succeed, but where the machine has kept the plugin from its last one for as long as the daemon waits (pace.MotionEnds):
// it gives the NIC its name then. %[1]s is what it waits between two commands.
const (
	lent = `
		ip link set multinic1 down; %[1]s
		ip link set multinic1 name dev-tmp; %[1]s
		ip link set dev-tmp netns pod1; %[1]s
		ip -n pod1 link set dev-tmp name net1; %[1]s
		ip -n pod1 link set net1 up`
	returned = `
		ip -n pod1 link set net1 down; %[1]s
		ip -n pod1 link set net1 name dev-tmp2; %[1]s
		at=$(date +%%s%%N); ip -n pod1 link set dev-tmp2 netns 1; %[1]s
		ip link set dev-tmp2 name multinic1 || [ $(($(date +%%s%%N) - at)) -gt 300000000 ]`
)

// No command of a plugin fails because of a repair in between, and no repair is a fight.
func TestANICThatAPluginGivesToAPodAndTakesBack(t *testing.T) {
	t.Parallel()
	n := fileNode(t, bed.New(t), testhost.Options{NICs: bed.NICs(mac1)}, nil)
	const there, rounds = "multinic1 up mtu 1500 192.168.100.10/24", 25
	n.start(nodeObject(nicYAML(1, mac1, "192.168.100.10/24")))
	n.wantNICs("multinic1 Configured Configured")
	n.must("ip", "netns", "add", "pod1")
	for _, pause := range []string{":", "sleep 0.005"} {
		for round := range rounds {
			n.must("sh", "-exc", fmt.Sprintf(lent, pause))
			if round == 0 {
				n.wantNICs("multinic1 Pending WaitingForNIC")
			}
			n.must("sh", "-exc", fmt.Sprintf(returned, pause))
			n.wantLink(mac1, there)
		}
	}
	n.wantNICs("multinic1 Configured Configured")
	n.wantLinkStays(mac1, there)
	if journal := n.Journal(t.Context()); strings.Contains(journal, "DriftFighting") {
		t.Errorf("the daemon has seen a fight:\n%s", journal)
	}
}
