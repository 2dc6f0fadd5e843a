package e2e

import (
	"fmt"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// lent is what a CNI plugin does with a NIC when a Pod begins (host-device of containernetworking/plugins), and returned when
// the Pod ends. Each command must succeed, but where the machine has kept the plugin from its next one for as long as the daemon
// waits (pace.MotionEnds): the daemon repairs the NIC then, and the round ends with "kept".
// The daemon waits from what it sees of a command, which is before the command's end. %[1]s is what the plugin waits between two commands.
const (
	next = `
		at=$(date +%%s%%N)
		next() { now=$(date +%%s%%N); "$@" || { [ $(($(date +%%s%%N) - at)) -gt 300000000 ] || exit 1; echo kept; exit 0; }; at=$now; %[1]s; }
		`
	lent = next + `
		next ip link set multinic1 down
		next ip link set multinic1 name dev-tmp
		next ip link set dev-tmp netns pod1
		ip -n pod1 link set dev-tmp name net1
		ip -n pod1 link set net1 up`
	returned = next + `
		ip -n pod1 link set net1 down
		ip -n pod1 link set net1 name dev-tmp2
		next ip -n pod1 link set dev-tmp2 netns 1
		next ip link set dev-tmp2 name multinic1`
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
		for whole, round := 0, 0; whole < rounds; round++ {
			if round == 4*rounds {
				t.Fatalf("the machine keeps the plugin waiting: %d rounds of %d", whole, round)
			}
			kept := n.must("sh", "-ec", fmt.Sprintf(lent, pause))
			if kept == "" && whole == 0 {
				n.wantNICs("multinic1 Pending WaitingForNIC")
			}
			if kept == "" {
				kept = n.must("sh", "-ec", fmt.Sprintf(returned, pause))
			}
			n.wantLink(mac1, there)
			if kept == "" {
				whole++
			}
		}
	}
	n.wantNICs("multinic1 Configured Configured")
	n.wantLinkStays(mac1, there)
	if journal := n.Journal(t.Context()); strings.Contains(journal, "DriftFighting") {
		t.Errorf("the daemon has seen a fight:\n%s", journal)
	}
}
