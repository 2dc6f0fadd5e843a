package chart

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"multinicd/test/bed"
)

// install is the command of docs/cluster.md.
var install = []string{"install", "multinic", "charts/multinic", "--namespace", system, "--create-namespace", "--take-ownership", "--wait", "--timeout", "3m"}

func TestTheChartDoesTheMainJob(t *testing.T) {
	c := newCluster(t, "worker-node-01") // the node of the example
	step := c.steps(t)
	step("the chart is installed, and a node's NICs are configured", (*cluster).mainJob)
	step("a plain Job without privileges has the node act, and ends when it has", (*cluster).triggerJob)
	step("the HTTP door is opened: a request over TLS becomes NICs, and a new certificate is shown without a restart", (*cluster).door)
	step("the leader is killed in mid-rollout: nothing is lost, no status goes backwards", (*cluster).killLeader)
	step("no status is ahead of the kernel, watched over many changes", (*cluster).neverAheadByDaemon)
	step("an upgrade and its rollback disturb no node", (*cluster).upgradeAndBack)
	step("the chart is uninstalled: objects, NICs, credentials and policies stay", (*cluster).uninstall)
	step("the plain manifests do the same as the chart", (*cluster).plainManifests)
	step("the chart takes over what kubectl applied", (*cluster).takeOver)
	step("every NIC is given back, as the documentation says", (*cluster).giveBack)
	step("every credential is revoked, as the documentation says", (*cluster).revokeAll)
}

func (c *cluster) mainJob() {
	c.runHelm(install...)
	if running := c.pods(); len(running) != 4 {
		c.t.Errorf("%d replicas run, want 2 of each Deployment: %v", len(running), running)
	}
	eventuallyLogs(c, "admission policies are in force")
	c.join()
	c.kubectl("apply", "-f", "../../../examples/worker-node-01.yaml")
	c.kubectl("wait", "--for=condition=Ready", "--timeout=2m", "-n", system, "mnnc/"+c.name)
	c.hasMTU(1500)
	c.configured()
	described := c.kubectl("describe", "mnnc", "-n", system, c.name)
	for _, line := range []string{"Ready Interfaces:    2/2", "State:               Configured", "All 2 interfaces configured successfully", "AllInterfacesConfigured",
		"Interface configured successfully", "192.168.200.10/24", "multinic2", "Events:"} {
		if !strings.Contains(strings.Join(strings.Fields(described), " "), strings.Join(strings.Fields(line), " ")) {
			c.t.Errorf("kubectl describe does not say %q:\n%s", line, described)
		}
	}
	eventually(c.t, "the fleet is listed with all that is known of the node", func(ctx context.Context) string {
		var fleet []struct {
			Node, State, Ready, Version, Executor string
			LeaseRenewed, CredentialMade          *time.Time
		}
		out, err := exec.CommandContext(ctx, bed.Build(c.t, "./cmd/bridge"), "fleet", "--kubeconfig", c.Kubeconfig, "-o", "json").Output()
		if err == nil {
			err = json.Unmarshal(out, &fleet)
		}
		if n := fleet; err != nil || len(n) != 1 || n[0].Node != c.name || n[0].State != "Configured" || n[0].Ready != "True" || n[0].Executor != "daemon" ||
			n[0].Version == "" || n[0].LeaseRenewed == nil || n[0].CredentialMade == nil {
			return fmt.Sprintf("%s (%v)", out, err)
		}
		return ""
	})
	for link, address := range map[string]string{"multinic1": "192.168.100.10/24", "multinic2": "192.168.200.10/24"} {
		if out, err := c.node.Run(c.t.Context(), "ip", "address", "show", link); err != nil || !strings.Contains(out, "inet "+address) {
			c.t.Errorf("%s does not have %s: %v\n%s", link, address, err, out)
		}
	}
}

func (c *cluster) triggerJob() {
	c.kubectl("apply", "-f", bed.Path(c.t, "examples/trigger-job.yaml"))
	const job, pipelines = "job/multinic-trigger-worker-node-01", "multinic-pipelines"
	if out, err := c.Kubectl(c.t.Context(), "wait", "--for=condition=Complete", "--timeout=2m", "-n", pipelines, job); err != nil {
		c.t.Errorf("%v\n%s\n%s\n%s", err, out, c.kubectl("describe", "-n", pipelines, job), c.kubectl("describe", "-n", system, "mnnr"))
	}
	eventually(c.t, "the status names the run", func(context.Context) string { // another loop of the bridge ends the run
		if runs, o := c.print("/apis/multinic.io/v1/namespaces/"+system+"/multinicnoderuns", "{.items[*].metadata.uid}"), c.object(); o.Status.LastJobName == "" || !strings.Contains(runs, o.Status.LastJobName) {
			return fmt.Sprintf("it names %q, and there are %s", o.Status.LastJobName, runs)
		}
		return ""
	})
}

func (c *cluster) killLeader() {
	h := c.watch()
	pod, uid := c.leader("")
	for mtu := 1401; mtu <= 1406; mtu++ {
		c.setMTU(mtu)
		if mtu == 1403 {
			if err := c.node.KillContainers(c.t.Context(), uid); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	c.hasMTU(1406)
	c.configured()
	h.neverBackwards(c.t)
	if now, _ := c.leader(""); now == pod {
		c.t.Logf("%s leads again after its container was killed", pod)
	}
	eventually(c.t, "the kubelet has noticed that the leader was killed", func(context.Context) string {
		if restarts := c.print("/api/v1/namespaces/"+system+"/pods/"+pod, "{.status.containerStatuses[0].restartCount}"); restarts == "0" {
			return "it has not"
		}
		return ""
	})
}

func (c *cluster) upgradeAndBack() {
	if use, err := c.node.Run(c.t.Context(), "ps", "-C", "multinic-bridge", "-o", "rss=,cputimes=,etimes="); err == nil {
		c.t.Logf("what the replicas use: KiB, seconds of CPU, seconds since their start:\n%s", use)
	}
	undisturbed := c.undisturbed()
	// What a newer version's schema has, this one brings back; see docs/upgrade.md.
	c.kubectl("patch", "crd", "multinicnodeconfigs.multinic.io", "--type=json", "-p", `[{"op": "remove", "path": "/spec/names/shortNames"}]`)
	before := c.pods()
	c.runHelm("upgrade", "multinic", "charts/multinic", "--namespace", system, "--set", "bridge.logLevel=debug", "--wait", "--timeout", "3m")
	if c.kubectl("get", "crd", "multinicnodeconfigs.multinic.io", "-o", "jsonpath={.spec.names.shortNames}") == "" {
		c.t.Error("helm upgrade did not bring the CRD up to date")
	}
	eventually(c.t, "no Pod from before the upgrade runs", func(context.Context) string { // helm waits for the new ones only
		for pod := range c.pods() {
			if before[pod] != "" {
				return pod + " does"
			}
		}
		return ""
	})
	c.runHelm("rollback", "multinic", "1", "--namespace", system, "--wait", "--timeout", "3m")
	if args := c.kubectl("get", "deployment", "-n", system, "multinic-bridge", "-o", "jsonpath={.spec.template.spec.containers[0].args}"); !strings.Contains(args, "--log-level=info") {
		c.t.Errorf("after the rollback the bridge runs with %s", args)
	}
	c.configured()
	undisturbed()
	c.setMTU(1410)
	c.hasMTU(1410)
	c.configured()
}

func (c *cluster) uninstall() {
	undisturbed := c.undisturbed()
	c.runHelm("uninstall", "multinic", "--namespace", system, "--wait", "--timeout", "3m")
	for _, what := range []string{
		"namespace/multinic-system", "namespace/multinic-nodes", "crd/multinicnodeconfigs.multinic.io", "crd/multinicbizconfigs.multinic.io",
		"validatingadmissionpolicy/multinic-node-tokens", "validatingadmissionpolicybinding/multinic-node-tokens",
		"validatingadmissionpolicy/multinic-status", "validatingadmissionpolicybinding/multinic-status",
	} {
		c.kubectl("get", what)
	}
	c.kubectl("get", "-n", system, "mnnc/"+c.name, "configmap/multinic-admission")
	c.kubectl("get", "-n", "multinic-nodes", "serviceaccount/multinic-node-"+c.name, "configmap/multinic-report-"+c.name, "lease/multinic-"+c.name)
	if left := c.kubectl("get", "deployments,services,poddisruptionbudgets,networkpolicies", "-n", system, "-o", "name"); left != "" {
		c.t.Errorf("uninstalling left %s", left)
	}
	undisturbed()
	// The node works without the bridge; only its status stands still.
	c.setMTU(1420)
	c.hasMTU(1420)
}

func (c *cluster) plainManifests() {
	undisturbed := c.undisturbed()
	c.kubectl(manifests(c.t)...)
	for _, deployment := range []string{"deployment/multinic-bridge", "deployment/multinic-credentials"} {
		c.kubectl("rollout", "status", "-n", system, deployment, "--timeout=3m")
	}
	c.configured()
	undisturbed()
}

func (c *cluster) takeOver() {
	undisturbed := c.undisturbed()
	c.runHelm(append(install, "--force-conflicts")...)
	undisturbed()
	c.setMTU(1430)
	c.hasMTU(1430)
	c.configured()
}

// giveBack does what docs/chart.md says, and looks whether it has left anything: at once, and after the daemon has started anew.
func (c *cluster) giveBack() {
	page, err := os.ReadFile(bed.Path(c.t, "docs/chart.md"))
	if err != nil {
		c.t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n**The NICs.**")
	_, script, _ := strings.Cut(section, "\n```\n")
	script, _, ok := strings.Cut(script, "```")
	if !ok || !strings.Contains(script, "cleanup --all --wait") {
		c.t.Fatalf("docs/chart.md says %q", script)
	}
	bin := c.t.TempDir()
	for name, path := range map[string]string{"multinic-bridge": bed.Build(c.t, "./cmd/bridge"), "kubectl": c.KubectlPath()} {
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			c.t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(c.t.Context(), "sh", "-exc", script)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), c.name+": would be asked for cleanup: multinic1, multinic2") || !strings.Contains(string(out), "every NIC was given back") {
		c.t.Fatalf("%v\n%s", err, out)
	}
	c.t.Logf("%s", out)
	left := func() string {
		out, err := c.node.Run(c.t.Context(), "sh", "-c", "ip -o link | grep multinic; ip -o address | grep -e 192.168.100.10 -e 192.168.200.10; ip rule | grep 2000; ls /etc/netplan /run/systemd/network /etc/sysctl.d 2>/dev/null | grep multinic; true")
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(out)
	}
	if got := left(); got != "" {
		c.t.Errorf("the node still has\n%s", got)
	}
	if out, err := c.node.Run(c.t.Context(), "systemctl", "restart", "multinicd"); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	eventually(c.t, "the daemon knows that the object is gone", func(ctx context.Context) string {
		out, err := c.node.Run(ctx, "multinicd", "status")
		if err != nil || !strings.Contains(out, "the object was deleted; no NIC here is multinicd's") {
			return fmt.Sprintf("%v: %s", err, out)
		}
		return ""
	})
	if got := left(); got != "" {
		c.t.Errorf("after a start the node has\n%s", got)
	}
}

func (c *cluster) revokeAll() {
	c.kubectl("run", "-n", "default", "pause", "--image=localhost/pause:1")
	c.kubectl("wait", "-n", "default", "--for=condition=Ready", "--timeout=2m", "pod/pause")
	c.runHelm("uninstall", "multinic", "--namespace", system, "--wait", "--timeout", "3m")
	c.kubectl("delete", "serviceaccounts,secrets", "-n", "multinic-nodes", "--all")
	token, err := c.node.ReadFile("/var/lib/multinicd/credential/token")
	if err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, "the node's token is refused", func(ctx context.Context) string {
		out, err := c.Kubectl(ctx, "--kubeconfig=/dev/null", "--server="+c.URL, "--insecure-skip-tls-verify", "--token="+strings.TrimSpace(string(token)),
			"get", "mnnc", "-n", system, c.name)
		if err == nil {
			return out
		}
		if !strings.Contains(err.Error(), "Unauthorized") && !strings.Contains(err.Error(), "must be logged in") {
			return err.Error()
		}
		return ""
	})
}

// eventuallyLogs waits until a replica says it.
func eventuallyLogs(c *cluster, text string) {
	c.t.Helper()
	eventually(c.t, "the bridge says "+text, func(context.Context) string {
		if logs := c.bridgeLogs(); !strings.Contains(logs, text) {
			return logs
		}
		return ""
	})
}
