package e2e

import (
	"fmt"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// lent is what a CNI plugin does with a NIC when a Pod begins (host-device of containernetworking/plugins), and returned when
// the Pod ends. Where the machine keeps the plugin from its next command for as long as the daemon waits (pace.MotionEnds), the script says "late":
// the daemon may be repairing the NIC from then on, and a command may fail, which ends the round with "kept". Each other command must succeed.
// The daemon waits from what it sees of a command, which is before the command's end. %[1]s is what the plugin waits between two commands.
const (
	next = `
		at=$(date +%%s%%N) was=
		late() { [ $(($(date +%%s%%N) - at)) -le 300000000 ] || { echo late; was=late; }; [ "$was" ]; }
		next() { now=$(date +%%s%%N); "$@" || { late || exit 1; echo kept; exit 0; }; late || :; at=$now; %[1]s; }
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

// No command of a plugin fails because of a repair in between, and the daemon repairs nothing while the plugin is at work.
func TestANICThatAPluginGivesToAPodAndTakesBack(t *testing.T) {
	t.Parallel()
	n := fileNode(t, bed.New(t), testhost.Options{NICs: bed.NICs(mac1)}, nil)
	const there, rounds = "multinic1 up mtu 1500 192.168.100.10/24", 25
	n.start(nodeObject(nicYAML(1, mac1, "192.168.100.10/24")))
	n.wantNICs("multinic1 Configured Configured")
	n.must("ip", "netns", "add", "pod1")
	late, lends := 0, 0
	for _, pause := range []string{":", "sleep 0.005"} {
		for whole, round := 0, 0; whole < rounds; round++ {
			if round == 4*rounds {
				t.Fatalf("the machine keeps the plugin waiting: %d rounds of %d", whole, round)
			}
			lends++
			said := n.must("sh", "-ec", fmt.Sprintf(lent, pause))
			if said == "" && whole == 0 {
				n.wantNICs("multinic1 Pending WaitingForNIC")
			}
			if !strings.Contains(said, "kept") {
				said += n.must("sh", "-ec", fmt.Sprintf(returned, pause))
			}
			n.wantLink(mac1, there)
			n.wantNICs("multinic1 Configured Configured") // the link is as wanted before the daemon has looked at all of it
			late += strings.Count(said, "late")
			if !strings.Contains(said, "kept") {
				whole++
			}
		}
	}
	n.wantLinkStays(mac1, there)
	journal := n.Journal(t.Context())
	// Where the plugin is late and goes on in the midst of the repair, that is repaired once more. And where the NIC was back before the daemon had
	// looked at all, it is one that somebody has set down, for the daemon: it repairs that when the plugin is done.
	unseen := lends - strings.Count(journal, "status=Pending")
	if repairs := strings.Count(journal, "put back what somebody changed"); repairs > 2*late+unseen {
		t.Errorf("the plugin was late %d times, and the NIC was back unseen %d times; the daemon repaired %d times:\n%s", late, unseen, repairs, journal)
	}
}
