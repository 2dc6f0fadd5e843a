package e2e

import (
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
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

func TestAMisspeltFileChangesNothing(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	good := strings.ReplaceAll(example(t), "mtu: 1500", "mtu: 1400")
	bad := strings.ReplaceAll(good, "mtu: 1400", "mtuu: 1400")
	says := func(n *node, want string) {
		t.Helper()
		n.eventually("status", "it says so", func() string {
			if out := n.must("multinicd", "status"); !strings.Contains(out, want) || !strings.Contains(out, `mtuu: there is no such field: did you mean "mtu"?`) {
				return out
			}
			return "it says so"
		})
	}
	n := newNode(t, b, testhost.Options{}, settings("worker-node-01", fromFile))
	n.start(bad)
	says(n, "no object was known before")
	if got := n.link(mac1); !strings.HasPrefix(got, "eth1 ") {
		t.Errorf("it has changed the link: %s", got)
	}
	n.file(objectFile, good)
	small := "multinic1 up mtu 1400 192.168.100.10/24"
	n.wantLink(mac1, small)
	n.file(objectFile, bad)
	says(n, "Configured, 2/2 NICs ready, what is in force is kept")
	n.wantLinkStays(mac1, small)
	n.must("systemctl", "restart", "multinicd")
	says(n, "Configured, 2/2 NICs ready, what is in force is kept")
	n.wantLinkStays(mac1, small)
	n.must("systemctl", "stop", "multinicd")
	for _, command := range []string{"plan", "apply"} {
		if code, out := n.exit("multinicd", command, "-f", objectFile); code != exitFailed || !strings.Contains(out, objectFile+":") || !strings.Contains(out, `did you mean "mtu"?`) {
			t.Errorf("%s ends with %d:\n%s", command, code, out)
		}
	}
	n.wantLink(mac1, small)
}
