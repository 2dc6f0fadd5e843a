package e2e

import (
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/testhost"
)

func TestApplyFileWithoutACluster(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	n := newNode(t, b, testhost.Options{}, settings("worker-node-01", ""))
	n.file("/root/node.yaml", example(t))

	planned := n.must("multinicd", "plan", "-f", "/root/node.yaml")
	for _, want := range []string{"multinic1 (02:00:00:00:01:01): configure", "~ name eth1 -> multinic1", "+ address 192.168.100.10/24", "file /etc/netplan/90-multinic1.yaml"} {
		if !strings.Contains(planned, want) {
			t.Errorf("plan does not say %q:\n%s", want, planned)
		}
	}
	if got := n.link(mac1); !strings.HasPrefix(got, "eth1 ") {
		t.Fatalf("plan changed the link: %s", got)
	}
	n.must("systemctl", "disable", "multinicd") // what comes back after the boot is the host's own doing
	n.must("multinicd", "apply", "-f", "/root/node.yaml")
	n.wantLink(mac1, example1)
	n.wantLink(mac2, example2)
	n.sameAgainDoesNothing("multinicd", "apply", "-f", "/root/node.yaml")

	if err := n.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.wantLink(mac1, example1)
	n.wantLink(mac2, example2)
	n.sameAgainDoesNothing("multinicd", "apply", "-f", "/root/node.yaml")
}

func TestApplyBesideARunningDaemon(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	n := newNode(t, b, testhost.Options{}, settings("worker-node-01", fromFile))
	n.file(objectFile, example(t))
	if err := n.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	n.wantLink(mac1, example1)
	out, err := n.Run(t.Context(), "sh", "-c", "multinicd apply -f "+objectFile+" 2>&1; echo exit $?")
	if err != nil || !strings.Contains(out, "exit 7") || !strings.Contains(out, "multinicd run") {
		t.Errorf("apply beside the daemon says %q, %v; want exit 7 and who holds the lock", out, err)
	}
	n.sameAgainDoesNothing("systemctl", "restart", "multinicd")
}
