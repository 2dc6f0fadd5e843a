package e2e

import (
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// What an operator sees of a rollback by hand, and how it ends.
func TestARollbackIsShownEverywhereAndEnds(t *testing.T) {
	t.Parallel()
	n := newNode(t, bed.New(t), testhost.Options{}, settings("worker-node-01", fromFile))
	const first, second = "multinic1 up mtu 1500 192.168.100.10/24", "multinic1 up mtu 1500 192.168.100.11/24"
	want := func(command string, code int, texts ...string) {
		t.Helper()
		got, out := n.exit(append([]string{"multinicd"}, strings.Fields(command)...)...)
		for _, text := range texts {
			if got != code || !strings.Contains(out, text) {
				t.Errorf("multinicd %s ends with %d, want %d and %q:\n%s", command, got, code, text, out)
			}
		}
	}
	n.start(nodeObject(nicYAML(1, mac1, "192.168.100.10/24")))
	n.wantLink(mac1, first)
	want("rollback", 1, "nothing to roll back to")
	n.file(objectFile, strings.Replace(nodeObject(nicYAML(1, mac1, "192.168.100.10/24")), "spec:", "spec:\n  specHash: another", 1))
	n.must("systemctl", "restart", "multinicd")
	n.wantNICs("multinic1 Configured Configured")
	want("rollback", 1, "nothing to roll back to")
	want("status", 0, " Configured, 1/1 NICs ready")

	n.file(objectFile, nodeObject(nicYAML(1, mac1, "192.168.100.11/24")))
	n.wantLink(mac1, second)
	n.wantNICs("multinic1 Configured Configured")
	want("rollback --dry-run", 0, "back to the configuration before it", "+ address 192.168.100.10/24")
	n.wantLink(mac1, second)
	want("rollback", 0, "is held back: it was rolled back by hand")
	n.wantLink(mac1, first)
	want("rollback", 1, "rolled back already", "rollback --undo")
	want("status", 0, "held back, the one before in force", "multinicd rollback --undo")
	want("plan -f "+objectFile, 6, "is held back", "multinic1 ("+mac1+"): nothing")
	want("plan", 6, "is held back") // the file that the configuration names
	if _, out := n.exit("multinicd", "doctor"); !strings.Contains(out, "held-back") {
		t.Errorf("doctor does not say so:\n%s", out)
	}
	if log := n.Journal(t.Context()); !strings.Contains(log, "rolled back by hand; the object is held back until it changes") {
		t.Errorf("the journal does not say so:\n%s", log)
	}
	n.must("systemctl", "restart", "multinicd")
	n.wantLinkStays(mac1, first)
	want("rollback --undo --dry-run", 0, "+ address 192.168.100.11/24")
	want("rollback --undo", 0, " Configured, 1/1 NICs ready")
	n.wantLink(mac1, second)
	want("rollback --undo", 1, "nothing is rolled back")
	n.must("systemctl", "stop", "multinicd")
	want("rollback", 0, "is held back") // without a daemon the command does it
	n.wantLink(mac1, first)
	want("rollback --undo", 0, " Configured, 1/1 NICs ready")
	n.wantLink(mac1, second)
}

func TestAPlanEndsWithTheCodeOfApply(t *testing.T) {
	t.Parallel()
	n := newNode(t, bed.New(t), testhost.Options{}, `instance_id = "i-0123456789abcdef0"`+"\n"+settings("worker-node-01", ""))
	other := strings.Replace(nodeObject(nicYAML(1, mac1, "192.168.100.10/24")), "spec:", "spec:\n  instanceId: i-0123456789abcdef1", 1)
	for _, row := range []struct {
		name, text string
		code       int
	}{
		{"a NIC that is not plugged in", nodeObject(nicYAML(1, mac1, "192.168.100.10/24"), nicYAML(3, mac3, "192.168.103.10/24")), exitWaiting},
		{"a subnet that covers the primary's gateway", nodeObject(nicYAML(1, mac1, "192.168.100.10/24"), nicYAML(2, mac2, "192.0.2.100/25")), exitRefused},
		{"an object for another machine", other, exitRefused},
		{"a file that cannot be used", "kind: Nonsense\n", exitFailed},
		{"all as it should be", nodeObject(nicYAML(1, mac1, "192.168.100.10/24")), exitDone},
	} {
		n.file(objectFile, row.text)
		for _, command := range []string{"plan", "apply --dry-run", "apply", "plan"} {
			argv := append([]string{"multinicd"}, append(strings.Fields(command), "-f", objectFile)...)
			if code, out := n.exit(argv...); code != row.code {
				t.Errorf("%s: %s ends with %d, want %d:\n%s", row.name, command, code, row.code, out)
			}
		}
	}
}
