package chart

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/test/bed"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/kubelet"
	"multinicd/test/bed/monitor"
	"multinicd/test/bed/page"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/product"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
)

// runbook is the page that the test follows, and begins the headings of its steps.
const runbook, chapter = "docs/migration.md", "From the field's agent: "

// field is a cluster as the field's agent leaves it, with two hosts.
type field struct {
	*cluster
	box     *sandbox.Sandbox
	tools   string // the folder of kubectl, helm and multinic-bridge
	desk    string // where the administrator works
	hosts   []*fieldHost
	again   bool // the hosts have their credentials, and the page was read before
	bridges product.Bridge
	count   int // of objects
}

// fieldHost is a host of the field's agent. NIC 1 is as the object says; NIC 2 has an address of before.
type fieldHost struct {
	*installed.Node
	t      testing.TB
	name   string
	macs   []string
	same   map[string]string // by MAC: links whose meaning is the same
	before string            // NIC 2, as the agent left it
	after  string            // NIC 2, as the object says
	files  map[string]string // of the agent
	object string
	pinged netip.Addr
}

// The field's cluster goes over by the commands of the page, back, and over again. NICs whose meaning is the same notice nothing, and no object is lost.
func TestTheFieldsClusterGoesOverAndBack(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.hosts = []*fieldHost{f.netplanHost(), f.keyfileHost()}
	f.asTheFieldLeavesIt()
	was := f.fieldObjects()

	untouched := f.untouched("multinic2")
	f.rights()
	f.takeOver()
	f.oldClient()
	untouched("when the cluster goes over")
	f.sameFieldObjects("when the cluster went over", was)

	untouched = f.untouched()
	f.giveBack()
	untouched("on the way back")
	f.sameFieldObjects("on the way back", was)
	f.bootsByTheFieldsFiles()

	untouched = f.untouched("multinic2")
	f.takeOver()
	untouched("when the cluster goes over again")
	f.sameFieldObjects("when the cluster went over again", was)
	f.end()
	f.nobodyAskedForOlderObjects()
}

// Once the definition is our release's, helm 4 leaves it when the agent's release goes. Helm 3, which the page warns of, does not look.
func TestTheDefinitionOutlivesTheReleaseThatBroughtIt(t *testing.T) {
	for range prerequisite.Long(0) {
		t.Parallel()
		f := newField(t)
		f.runHelm("install", "multinic-agent", "test/suite/chart/testdata/field", "--namespace", system, "--create-namespace")
		if err := f.Served(t.Context(), "multinicnodeconfigs.multinic.io"); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Apply(t.Context(), f.objects("a")); err != nil {
			t.Fatal(err)
		}
		was := f.fieldObjects()
		f.mustSh("helm install multinic charts/multinic -n multinic-system --take-ownership --force-conflicts")
		out := f.mustSh("helm uninstall multinic-agent -n multinic-system")
		if !strings.Contains(out, "not owned by this release") {
			t.Errorf("helm does not say what it left:\n%s", out)
		}
		if diff := cmp.Diff(was, f.fieldObjects()); diff != "" || len(was) != 1 {
			t.Errorf("of %d objects:\n%s", len(was), diff)
		}
	}
}

func newField(t *testing.T) *field {
	t.Helper()
	bridge.LogLibraries(slog.New(slog.DiscardHandler))
	b := bed.New(t)
	f := &field{cluster: &cluster{Cluster: b.OwnCluster(controlplane.Options{}), t: t, bed: b}, tools: t.TempDir(), desk: t.TempDir(), count: 3}
	var err error
	if f.helm, err = kubelet.Helm(t.Context(), t.Logf); err != nil {
		t.Fatal(err)
	}
	if f.box, err = sandbox.New(context.WithoutCancel(t.Context()), t.Logf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.box.Close(); err != nil {
			t.Error(err)
		}
	})
	for name, target := range map[string]string{
		filepath.Join(f.tools, "kubectl"): f.KubectlPath(), filepath.Join(f.tools, "helm"): f.helm, filepath.Join(f.tools, "multinic-bridge"): bed.Build(t, "./cmd/bridge"),
		filepath.Join(f.desk, "charts"): bed.Path(t, "charts"), filepath.Join(f.desk, "deploy"): bed.Path(t, "deploy"),
	} {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// netplanHost has a NIC with all there is to say, one that is to change, and one with no more than a name.
func (f *field) netplanHost() *fieldHost {
	netplan := func(id int, mac, more string) string {
		return fmt.Sprintf("network:\n  version: 2\n  ethernets:\n    multinic%d: {match: {macaddress: %q}, set-name: multinic%[1]d, dhcp4: false%[3]s}\n", id, mac, more)
	}
	macs := []string{"02:00:00:00:01:01", "02:00:00:00:01:02", "02:00:00:00:01:03"}
	return f.host("worker-1", testhost.Networkd, &fieldHost{
		macs: macs,
		files: map[string]string{
			"/etc/netplan/91-multinic1.yaml":         netplan(1, macs[0], ", addresses: [192.168.100.10/24], mtu: 1450"),
			"/etc/netplan/92-multinic2.yaml":         netplan(2, macs[1], ", addresses: [192.168.200.99/24]"),
			"/etc/netplan/93-multinic3.yaml":         netplan(3, macs[2], ""),
			"/etc/systemd/network/91-multinic1.link": "[Match]\nMACAddress=02:00:00:00:01:01\n\n[Link]\nName=multinic1\n",
		},
		same:   map[string]string{macs[0]: "multinic1 up mtu 1450 192.168.100.10/24", macs[2]: "multinic3 up mtu 1500"},
		before: "multinic2 up mtu 1500 192.168.200.99/24", after: "multinic2 up mtu 1500 192.168.200.10/24", pinged: netip.MustParseAddr("192.168.100.10"),
		object: `
  - {portId: p1, id: 1, macAddress: "02:00:00:00:01:01", address: 192.168.100.10, cidr: 192.168.100.10/24, mtu: 1450}
  - {portId: p2, id: 2, macAddress: "02:00:00:00:01:02", address: 192.168.200.10, cidr: 192.168.200.0/24}
  - {portId: p3, id: 3, macAddress: "02:00:00:00:01:03"}`,
	})
}

// keyfileHost has a NIC without an id, which the field's client leaves out.
func (f *field) keyfileHost() *fieldHost {
	keyfile := func(id int, mac, address string) string {
		return fmt.Sprintf("[connection]\nid=multinic%d\nuuid=0b0e4f3e-3a4c-4d1f-9a53-00000000000%[1]d\ntype=ethernet\ninterface-name=multinic%[1]d\n\n"+
			"[ethernet]\nmac-address=%[2]s\n\n[ipv4]\nmethod=manual\naddress1=%[3]s\nnever-default=true\n\n[ipv6]\nmethod=disabled\n", id, mac, address)
	}
	macs := []string{"02:00:00:00:02:01", "02:00:00:00:02:02"}
	return f.host("worker-2", testhost.NetworkManager, &fieldHost{
		macs: macs,
		files: map[string]string{
			"/etc/NetworkManager/system-connections/91-multinic1.nmconnection": keyfile(1, macs[0], "192.168.100.20/24"),
			"/etc/NetworkManager/system-connections/92-multinic2.nmconnection": keyfile(2, macs[1], "192.168.200.98/24"),
			"/etc/systemd/network/91-multinic1.link":                           "[Match]\nMACAddress=02:00:00:00:02:01\n\n[Link]\nName=multinic1\n",
			"/etc/systemd/network/92-multinic2.link":                           "[Match]\nMACAddress=02:00:00:00:02:02\n\n[Link]\nName=multinic2\n",
		},
		same:   map[string]string{macs[0]: "multinic1 up mtu 1500 192.168.100.20/24"},
		before: "multinic2 up mtu 1500 192.168.200.98/24", after: "multinic2 up mtu 1500 192.168.200.20/24", pinged: netip.MustParseAddr("192.168.100.20"),
		object: `
  - {name: multinic1, macAddress: "02:00:00:00:02:01", cidr: 192.168.100.20/24}
  - {id: 2, macAddress: "02:00:00:00:02:02", address: 192.168.200.20, cidr: 192.168.200.20/24}`,
	})
}

func (f *field) host(name string, flavour testhost.Flavour, h *fieldHost) *fieldHost {
	f.t.Helper()
	h.name, h.t = name, f.t
	h.Node = installed.On(f.t, f.bed.NewHost(testhost.Options{Name: name, Flavour: flavour, NICs: bed.NICs(h.macs...)}))
	for file, text := range h.files {
		if err := h.WriteFile(file, []byte(text), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := h.Boot(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	return h
}

// asTheFieldLeavesIt: its release with the definition, its objects, which kubectl has applied and whose status is the agent's, and a Job that runs.
func (f *field) asTheFieldLeavesIt() {
	f.t.Helper()
	f.runHelm("install", "multinic-agent", "test/suite/chart/testdata/field", "--namespace", system, "--create-namespace")
	if err := f.Served(f.t.Context(), "multinicnodeconfigs.multinic.io"); err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.Apply(f.t.Context(), f.objects("a")); err != nil {
		f.t.Fatal(err)
	}
	if out, err := f.statusByTheAgent("worker-1"); err != nil {
		f.t.Fatalf("%v\n%s", err, out)
	}
	for _, count := range prerequisite.Long(1000) {
		f.many(count)
	}
	if _, err := f.Apply(f.t.Context(), `apiVersion: batch/v1
kind: Job
metadata: {name: multinic-agent-worker-1-g1, namespace: multinic-system, labels: {app.kubernetes.io/name: multinic-agent, multinic.io/node-name: worker-1, multinic.io/action: apply}}
spec:
  ttlSecondsAfterFinished: 3600
  template:
    metadata: {labels: {app.kubernetes.io/name: multinic-agent}}
    spec:
      hostNetwork: true
      restartPolicy: Never
      containers: [{name: agent, image: "registry.example.com/multinic-agent:0.4.0", securityContext: {privileged: true}}]
`); err != nil {
		f.t.Fatal(err)
	}
	for i, segment := range []string{"data1", "data2"} {
		if err := f.bed.World.AddAddress(segment, netip.MustParsePrefix([]string{"192.168.100.1/24", "192.168.200.1/24"}[i])); err != nil {
			f.t.Fatal(err)
		}
	}
	eventually(f.t, "the controller and the Job have Pods", func(context.Context) string {
		if pods := f.print("/api/v1/namespaces/"+system+"/pods?labelSelector=app.kubernetes.io/name%3Dmultinic-agent", "{.items[*].metadata.name}"); len(strings.Fields(pods)) != 2 {
			return pods
		}
		return ""
	})
	for _, h := range f.hosts {
		h.asTheAgentLeftIt()
	}
}

// objects are those of the field's file, of which one is of a node that is not there, and breaks a rule of today.
func (f *field) objects(hash string) string {
	var all strings.Builder
	add := func(name, interfaces string) {
		fmt.Fprintf(&all, "apiVersion: multinic.io/v1alpha1\nkind: MultiNicNodeConfig\nmetadata: {name: %[1]s, namespace: multinic-system, labels: {multinic.io/node-name: %[1]s}}\nspec:\n  nodeName: %[1]s\n  specHash: %s\n  interfaces:%s\n---\n", name, hash, interfaces)
	}
	for _, h := range f.hosts {
		add(h.name, h.object)
	}
	add("worker-3", "\n  - {id: 1, macAddress: \"02:00:00:00:03:01\", address: 192.168.100.30, cidr: 192.168.101.0/24}")
	return all.String()
}

// many makes objects of nodes that are not there, until there are so many, and says how long it takes to look at them.
func (f *field) many(count int) {
	f.t.Helper()
	for i := 3; i < count; i++ {
		name := fmt.Sprintf("worker-many-%04d", i)
		o := v1.MultiNicNodeConfig{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1.AlphaGroupVersion.String(), Kind: v1.NodeConfigKind},
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: system, Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
		}
		o.Spec.NodeName = name
		for id := range int32(5) {
			o.Spec.Interfaces = append(o.Spec.Interfaces, v1.Interface{ID: &id, MACAddress: fmt.Sprintf("02:00:00:1%d:%02x:%02x", id, i>>8, i&0xff), CIDR: fmt.Sprintf("10.%d.%d.10/24", i>>8, i&0xff)})
		}
		if err := f.Post(f.t.Context(), "/apis/multinic.io/v1alpha1/namespaces/"+system+"/multinicnodeconfigs", &o); err != nil {
			f.t.Fatal(err)
		}
	}
	f.count = count
	began := time.Now()
	out, _ := f.sh("multinic-bridge migrate preflight -o json")
	f.t.Logf("preflight of %d objects took %s, and says %d bytes", count, time.Since(began).Round(10*time.Millisecond), len(out))
}

// statusByTheAgent writes a status as the field's agent does.
func (f *field) statusByTheAgent(node string) (string, error) {
	return f.Kubectl(f.t.Context(), "patch", "multinicnodeconfigs.v1alpha1.multinic.io", node, "-n", system, "--subresource=status", "--type=merge", "--as=system:serviceaccount:multinic-system:multinic-agent", "--field-manager=multinic-agent",
		"-p", `{"status":{"state":"InProgress","lastJobName":"multinic-agent-`+node+`-g1"}}`)
}

// rights: what the page gives is enough for preflight, and without it preflight says what it could not see.
func (f *field) rights() {
	f.t.Helper()
	text, err := os.ReadFile(bed.Path(f.t, runbook))
	if err != nil {
		f.t.Fatal(err)
	}
	role := regexp.MustCompile("(?s)```yaml\n(.*?)```\n").FindSubmatch(text)
	if role == nil || !strings.Contains(string(role[1]), "name: multinic-preflight") {
		f.t.Fatal("the page gives no rights")
	}
	kubeconfig := filepath.Join(f.t.TempDir(), "looker.conf")
	if err := f.WriteKubeconfig(kubeconfig, "", "looker"); err != nil {
		f.t.Fatal(err)
	}
	look := func() string {
		out, err := f.sh("multinic-bridge migrate preflight --kubeconfig " + kubeconfig)
		if err == nil {
			f.t.Errorf("preflight found nothing that must be done first:\n%s", out)
		}
		return out
	}
	if out := look(); strings.Count(out, "not-seen") != 8 {
		f.t.Errorf("preflight does not say what it could not see:\n%s", out)
	}
	if out, err := f.Apply(f.t.Context(), string(role[1])); err != nil {
		f.t.Fatalf("%v\n%s", err, out)
	}
	f.mustSh("kubectl create clusterrolebinding multinic-preflight --clusterrole=multinic-preflight --user=looker")
	var out string
	eventually(f.t, "the rights are enough", func(context.Context) string {
		if out = look(); strings.Contains(out, "not-seen") {
			return out
		}
		return ""
	})
	if admins, _ := f.sh("multinic-bridge migrate preflight"); admins != out {
		f.t.Errorf("the administrator sees something else:\n%s", cmp.Diff(admins, out))
	}
	f.mustSh("kubectl delete clusterrolebinding,clusterrole multinic-preflight")
}

// takeOver follows the page.
func (f *field) takeOver() {
	f.t.Helper()
	if f.follow("look and stop", nil); !f.again {
		if stdout, err := f.sh("multinic-bridge migrate preflight"); err == nil || !strings.Contains(stdout, "1 to be done first") {
			f.t.Errorf("after the stop, %v:\n%s", err, stdout)
		}
	}
	f.follow("the definition", nil)
	if err := f.Served(f.t.Context(), "multinicnodeconfigs.multinic.io", "nodetokenrequests.multinic.io", "multinicnoderuns.multinic.io"); err != nil {
		f.t.Fatal(err)
	}
	b, err := product.StartBridge(f.t.Context(), f.box, f.Cluster, bed.Build(f.t, "./cmd/bridge")) // whose Pods no machine runs here
	if err != nil {
		f.t.Fatal(err)
	}
	f.bridges = b
	began := time.Now()
	for _, h := range f.hosts {
		if !f.again { // by kubelet or join token, on a node
			h.Install(installed.Settings(h.name, "", "off"))
			h.Sh("systemctl --quiet disable multinicd")
			if err := product.Join(f.t.Context(), f.Cluster, h.Host, h.name, f.bed.API().URL()); err != nil {
				f.t.Fatal(err)
			}
		}
		f.follow("each host", h)
	}
	for _, h := range f.hosts {
		bed.Eventually(f.t, h.name, fmt.Sprintf("Configured %d/%[1]d", len(h.macs)), func() string { return f.state(h.name) })
		f.t.Logf("%s is Configured %s after the first host was begun with", h.name, time.Since(began).Round(10*time.Millisecond))
		h.want(h.macs[1], h.after)
		h.wantSame()
		if left := h.agentsFiles(); left != "" {
			f.t.Errorf("%s: files of the agent are left: %s", h.name, left)
		}
	}
	f.follow("stored objects", nil)
	f.again = true
}

// state is the object of a node in short, with what its status is about.
func (f *field) state(node string) string {
	f.t.Helper()
	var o v1.MultiNicNodeConfig
	f.get(installed.Path(node), &o)
	if o.Status.ObservedGeneration != o.Generation {
		return fmt.Sprintf("%s %s, of generation %d where there is %d", o.Status.State, o.Status.ReadyInterfaces, o.Status.ObservedGeneration, o.Generation)
	}
	return fmt.Sprintf("%s %s", o.Status.State, o.Status.ReadyInterfaces)
}

// oldClient: who knows v1alpha1 alone reads and writes as before, also the file of the field.
func (f *field) oldClient() {
	f.t.Helper()
	if state := f.print("/apis/multinic.io/v1alpha1/namespaces/"+system+"/multinicnodeconfigs/worker-1", "{.apiVersion} {.status.state}"); state != "multinic.io/v1alpha1 Configured" {
		f.t.Errorf("a client of v1alpha1 sees %q", state)
	}
	if out, err := f.Apply(f.t.Context(), strings.Split(f.objects("b"), "---\n")[0]); err != nil {
		f.t.Fatalf("%v\n%s", err, out)
	}
	eventually(f.t, "the change by v1alpha1 is done", func(context.Context) string {
		if hash := f.print(installed.Path("worker-1"), "{.status.observedSpecHash}"); hash != "b" {
			return hash
		}
		return ""
	})
}

// giveBack follows the page to where the field's agent is in charge.
func (f *field) giveBack() {
	f.t.Helper()
	for _, h := range f.hosts {
		f.follow("back on each host", h)
		h.wantSame()
		h.want(h.macs[1], h.after)
		if got := h.agentsFiles(); len(strings.Fields(got)) != len(h.files) {
			f.t.Errorf("%s: of the agent's files there are %s", h.name, got)
		}
		if ours := h.Sh("find /etc/netplan /etc/systemd/network /etc/NetworkManager /etc/sysctl.d -name '*multinic*' | grep -v '/9[123]-multinic' || true"); ours != "" {
			f.t.Errorf("%s: files of ours are left: %s", h.name, ours)
		}
	}
	f.bridges.Stop()
	f.follow("back in the cluster", nil)
	eventually(f.t, "the controller has a Pod", func(context.Context) string {
		if pods := f.print("/api/v1/namespaces/"+system+"/pods?labelSelector=app.kubernetes.io/name%3Dmultinic-agent", "{.items[*].metadata.name}"); pods == "" {
			return "it has none"
		}
		return ""
	})
	eventually(f.t, "the agent may write a status", func(context.Context) string { // a policy counts for a moment after it is gone
		if out, err := f.statusByTheAgent("worker-2"); err != nil {
			return fmt.Sprint(err, out)
		}
		return ""
	})
	if out, err := f.Apply(f.t.Context(), "apiVersion: v1\nkind: Pod\nmetadata: {name: multinic-agent-probe, namespace: multinic-system}\nspec:\n  hostNetwork: true\n  containers: [{name: agent, image: x, securityContext: {privileged: true}}]\n",
		"--dry-run=server"); err != nil {
		f.t.Errorf("the field's Jobs cannot run: %v\n%s", err, out)
	}
	if out, err := f.Apply(f.t.Context(), strings.Split(f.objects("a"), "---\n")[0]); err != nil {
		f.t.Fatalf("%v\n%s", err, out)
	}
}

// bootsByTheFieldsFiles: a host that boots after the way back is as the agent left it.
func (f *field) bootsByTheFieldsFiles() {
	f.t.Helper()
	for _, h := range f.hosts {
		if err := h.Reboot(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
		h.asTheAgentLeftIt()
	}
}

// end follows the page to where nothing of the field's agent is left.
func (f *field) end() {
	f.t.Helper()
	f.follow("the end", nil)
	out, err := f.sh("multinic-bridge migrate preflight")
	for _, finding := range []string{"controller-runs", "jobs-", "release-", "definition-", "stored-old", "agents-rights", "others-write"} {
		if err != nil || strings.Contains(out, finding) {
			f.t.Errorf("at the end %v, and %s:\n%s", err, finding, out)
		}
	}
	for _, verb := range []string{"create", "update", "patch", "delete"} {
		for _, account := range []string{"multinic-agent", "multinic-agent-status"} {
			if out, err := f.Kubectl(f.t.Context(), "auth", "can-i", verb, "mnnc", "-n", system, "--as=system:serviceaccount:multinic-system:"+account); err == nil {
				f.t.Errorf("%s may %s objects: %s", account, verb, out)
			}
		}
	}
}

// nobodyAskedForOlderObjects: without legacyMode nothing of ours does.
func (f *field) nobodyAskedForOlderObjects() {
	f.t.Helper()
	requests, err := f.Requests()
	if err != nil {
		f.t.Fatal(err)
	}
	ours := 0
	for _, r := range requests {
		if !strings.HasPrefix(r.User.Username, "system:serviceaccount:"+system+":") {
			continue
		}
		if ours++; r.ObjectRef.Resource == "multinicbizconfigs" {
			f.t.Errorf("%s asked to %s %s", r.User.Username, r.Verb, r.RequestURI)
		}
	}
	if ours == 0 {
		f.t.Error("the bridge asked for nothing: this test looks for the wrong thing")
	}
}

// sh runs a script as the administrator.
func (f *field) sh(script string) (stdout string, err error) {
	cmd := exec.CommandContext(f.t.Context(), "sh", "-ec", script)
	cmd.Dir = f.desk
	cmd.Env = append(os.Environ(), "PATH="+f.tools+":"+os.Getenv("PATH"), "KUBECONFIG="+f.Kubeconfig, "HOME="+f.desk, "GOGC=400")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, errs.String())
	}
	return string(out), err
}

func (f *field) mustSh(script string) string {
	f.t.Helper()
	out, err := f.sh(script)
	if err != nil {
		f.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// follow runs the commands under a heading of the page, on a host or as the administrator, and looks for what the page says they print.
func (f *field) follow(heading string, h *fieldHost) {
	f.t.Helper()
	steps := page.Steps(f.t, runbook, chapter+heading)
	if len(steps) == 0 {
		f.t.Fatalf("%s has no commands under %q", runbook, heading)
	}
	for _, s := range steps {
		began := time.Now()
		var out string
		if h != nil {
			out = h.Sh(s.Script)
		} else {
			out = f.mustSh(s.Script)
		}
		f.t.Logf("%s, %s:\n%s%s", heading, time.Since(began).Round(10*time.Millisecond), s.Script, out)
		if f.again || h != nil && h.name != "worker-1" {
			continue // the page shows the first time, and the first host
		}
		if lacking := s.Lacking(out); len(lacking) > 0 {
			f.t.Errorf("the page promises %q, got\n%s", lacking, out)
		}
	}
}

// untouched watches the NICs of all hosts, except those that are to change, and the way to NIC 1.
func (f *field) untouched(change ...string) func(when string) {
	f.t.Helper()
	targets := map[netip.Addr]string{}
	kernels := map[string]*monitor.Kernel{}
	for _, h := range f.hosts {
		k, err := h.MonitorKernel()
		if err != nil {
			f.t.Fatal(err)
		}
		kernels[h.name], targets[h.pinged] = k, h.name
	}
	pings, err := f.bed.World.Ping(slices.Collect(maps.Keys(targets))...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(pings.Close)
	return func(when string) {
		f.t.Helper()
		sent, lost, err := pings.Stop()
		if err != nil {
			f.t.Fatal(err)
		}
		for a, host := range targets {
			f.t.Logf("%s, %s: %d packets, %d lost", when, host, sent[a], lost[a])
			if sent[a] == 0 || lost[a] > 0 {
				f.t.Errorf("%s, %s lost %d of %d packets", when, host, lost[a], sent[a])
			}
		}
		for host, k := range kernels {
			events, err := k.Events()
			if err != nil {
				f.t.Fatal(err)
			}
			k.Stop()
			for _, e := range events {
				if !slices.Contains(change, e.Link) {
					f.t.Errorf("%s, %s: %v", when, host, e)
				}
			}
		}
	}
}

// fieldObjects are uid and spec of each object, without the publisher's mark.
func (f *field) fieldObjects() map[string]string {
	f.t.Helper()
	var list struct {
		Items []v1.MultiNicNodeConfig `json:"items"`
	}
	f.get("/apis/multinic.io/v1alpha1/namespaces/"+system+"/multinicnodeconfigs", &list)
	all := map[string]string{}
	for _, o := range list.Items {
		o.Spec.SpecHash = ""
		all[o.Name] = fmt.Sprintf("%s %s %v", o.UID, o.DeletionTimestamp, cmp.Diff(v1.MultiNicNodeConfigSpec{}, o.Spec))
	}
	return all
}

func (f *field) sameFieldObjects(when string, was map[string]string) {
	f.t.Helper()
	if diff := cmp.Diff(was, f.fieldObjects()); diff != "" || len(was) != f.count {
		f.t.Errorf("%s %d objects have changed:\n%s", when, len(was), diff)
	}
}

func (h *fieldHost) want(mac, want string) {
	bed.Eventually(h.t, h.name+": link "+mac, want, func() string { return h.Link(mac) })
}

func (h *fieldHost) wantSame() {
	for mac, want := range h.same {
		h.want(mac, want)
	}
}

// asTheAgentLeftIt waits until the host is as by the agent's files, and the kernel has no address left to check.
func (h *fieldHost) asTheAgentLeftIt() {
	h.wantSame()
	h.want(h.macs[1], h.before)
	bed.Eventually(h.t, h.name+": addresses that are being checked", "", func() string { return h.Sh("ip -6 -oneline address show tentative") })
}

// agentsFiles are the files of the agent that are there, with what it wrote.
func (h *fieldHost) agentsFiles() string {
	var all []string
	for name, want := range h.files {
		if text, err := h.ReadFile(name); err == nil && string(text) == want {
			all = append(all, name)
		} else if err == nil {
			all = append(all, name+" (changed)")
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}
