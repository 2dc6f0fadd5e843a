package e2e

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// From the command to the kernel and back: what the cluster asks for the daemon does, and the exit code is what it did.
func TestARunReachesTheNodeAndComesBack(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	c := newCluster(t, b)
	n := c.newMember(t, "asked", "", "", testhost.Options{})
	before := n.link(mac1)
	const configured = "multinic1 up mtu 1500 10.1.1.1/24"
	c.Want(object("asked", nicYAML(1, mac1, "10.1.1.1/24")))
	c.wantState("asked", "Configured", "1/1")

	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := c.WriteKubeconfig(kubeconfig, "", "operator", "system:masters"); err != nil {
		t.Fatal(err)
	}
	bridge := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), bed.Build(t, "./cmd/bridge"), append(args, "--kubeconfig", kubeconfig, "--node", "asked", "--wait", "--timeout", "2m")...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("multinic-bridge %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, want, out)
		}
		return string(out)
	}
	t.Log(bridge(0, "trigger"))
	n.wantLink(mac1, configured)
	t.Log(bridge(0, "cleanup"))
	n.wantLink(mac1, before)
	c.wantState("asked", "Pending", "0/1")
	if got := c.get("asked", "{.status.interfaceStatuses[0].reason}"); got != "Removed" {
		t.Errorf("the NIC's reason is %s", got)
	}
	if err := n.RestartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.wantLink(mac1, before)
	t.Log(bridge(0, "trigger"))
	n.wantLink(mac1, configured)
	c.wantState("asked", "Configured", "1/1")

	// The node's last word: it keeps its NICs, whoever orders a cleanup, and says so.
	config, err := n.ReadFile("/etc/multinicd/multinicd.toml")
	if err != nil {
		t.Fatal(err)
	}
	n.file("/etc/multinicd/multinicd.toml", "source.cleanup = false\n"+string(config))
	if err := n.RestartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	degraded := func(want string) {
		t.Helper()
		n.eventually("Degraded", want, func() string {
			return c.get("asked", `{range .status.conditions[?(@.type=="Degraded")]}{.status} {.reason}{end}`)
		})
	}
	if out := bridge(6, "cleanup"); !strings.Contains(out, "CleanupRefused") {
		t.Errorf("it says\n%s", out)
	}
	n.wantLink(mac1, configured)
	c.wantState("asked", "Configured", "1/1")
	degraded("True CleanupRefused")
	if out := n.must("multinicd", "status"); !strings.Contains(out, "CleanupRefused: the cluster asked for a cleanup") {
		t.Errorf("multinicd status says\n%s", out)
	}
	t.Log(bridge(0, "trigger"))
	degraded("False AsExpected")

	c.Want(object("asked", nicYAML(1, mac1, "10.1.1.1/24"), nicYAML(2, mac3, "10.2.2.2/24")))
	c.wantState("asked", "Pending", "1/2")
	if out := bridge(5, "trigger"); !strings.Contains(out, "WaitingForNIC") {
		t.Errorf("it says\n%s", out)
	}
}
