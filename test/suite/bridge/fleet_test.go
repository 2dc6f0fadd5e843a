package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
)

// The command as an administrator types it, of nodes each of which has another story.
func TestTheFleetIsListedAsItIs(t *testing.T) {
	c := newCluster(t)
	stopBridge := c.startBridge(v1.SilentAfter)
	l := &listing{cluster: c, binary: bed.Build(t, "./cmd/bridge")}
	l.operator = l.kubeconfig("operator", "system:masters")
	l.fourStories()
	l.eachFormSaysTheSame()
	l.filtersChoose()
	l.oneNodeIsShown()
	l.whatChangesIsSeen()
	l.aNodeWithoutItsObjectIsListed(stopBridge)
	l.mistakesAreTold()
	l.whatMayNotBeSeenIsNamed()
}

// listing is the command, and the cluster that it is asked about.
type listing struct {
	*cluster
	binary, operator string // the program, and an administrator's kubeconfig
}

// fourNodes chooses the nodes of fourStories: other tests leave nodes behind.
var fourNodes = []string{"--selector", "suite=fleet"}

// oneNodeIsShown looks at a node as a plugin of kubectl does, found by kubectl itself.
func (l *listing) oneNodeIsShown() {
	l.t.Helper()
	dir := l.t.TempDir()
	if err := os.Symlink(l.binary, filepath.Join(dir, "kubectl-multinic")); err != nil {
		l.t.Fatal(err)
	}
	show := func(node string) (string, error) {
		cmd := exec.CommandContext(l.t.Context(), l.KubectlPath(), "multinic", "node", node, "-o", "table", "--kubeconfig", l.operator)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := show("fleet-failed")
	for _, want := range []string{"fleet-failed: Failed, 1/2 NICs, InterfacesFailed, multinicd 1.2.3", "Failed NameTaken", "-> Choose another `id`", "LAST CHANGES", "InterfacesFailed: "} {
		if err != nil || !strings.Contains(out, want) {
			l.t.Errorf("%q is not in it (%v):\n%s", want, err, out)
		}
	}
	if out, err := show("nobody"); err == nil || !strings.Contains(out, "kubectl multinic: nothing in the cluster is about node nobody") {
		l.t.Errorf("of a node that there is not it says (%v):\n%s", err, out)
	}
}

// whatChangesIsSeen has the command watch, in a pipe, and ends it as ctrl-c does.
func (l *listing) whatChangesIsSeen() {
	l.t.Helper()
	n := l.node("fleet-watched")
	o := l.labelled(n, true)
	n.becomes("Pending Ready=Unknown NoReport 0/2 generation 1")
	cmd := exec.CommandContext(l.t.Context(), l.binary, "fleet", "--kubeconfig", l.operator, "--watch", "--selector", "suite=fleet,pool=b")
	file, err := os.Create(filepath.Join(l.t.TempDir(), "out"))
	if err != nil {
		l.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	says := func(what, line string) {
		l.t.Helper()
		bed.Eventually(l.t, what, "true", func() string {
			text, _ := os.ReadFile(file.Name())
			return fmt.Sprint(regexp.MustCompile(line).Match(text))
		})
	}
	says("the first list", `(?m)^fleet-watched  Pending  Unknown  NoReport  0/2`)
	n.say(n.report(o, v1.StateConfigured, v1.ReasonConfigured))
	says("the change", `(?m)^\d\d:\d\d:\d\dZ fleet-watched  Configured  True  AllInterfacesConfigured  2/2`)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		l.t.Errorf("it ends with %v", err)
	}
	if err := l.admin.Delete(l.t.Context(), n.shell()); err != nil {
		l.t.Fatal(err)
	}
}

// line is what the command gives of a node as JSON or YAML.
type line struct {
	Node, State, Ready, Reason, Message, Interfaces string
	Generation, ObservedGeneration                  int64
	Drift                                           []string
	Degraded, Version, Executor                     string
	LastProcessed, LeaseRenewed, CredentialMade     *time.Time
}

func (l *listing) kubeconfig(user string, groups ...string) string {
	l.t.Helper()
	file := filepath.Join(l.t.TempDir(), "kubeconfig")
	if err := l.WriteKubeconfig(file, "", user, groups...); err != nil {
		l.t.Fatal(err)
	}
	return file
}

// list runs the command, and gives its exit code, its answer and what it complains of.
func (l *listing) list(kubeconfig string, args ...string) (int, string, string) {
	l.t.Helper()
	cmd := exec.CommandContext(l.t.Context(), l.binary, append([]string{"fleet", "--kubeconfig", kubeconfig}, args...)...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		l.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// fourStories makes a node that is ready, one whose NIC has failed, one that somebody works against,
// and one that was never heard of.
func (l *listing) fourStories() {
	l.t.Helper()
	ready, failed, fight, unheard := l.node("fleet-ready"), l.node("fleet-failed"), l.node("fleet-fight"), l.node("fleet-unheard")
	for _, n := range []*node{ready, failed, fight, unheard} {
		o := l.labelled(n, n == unheard)
		r := n.report(o, v1.StateConfigured, v1.ReasonConfigured)
		r.Version = "1.2.3"
		switch n {
		case unheard:
			continue
		case failed:
			r.Interfaces[1].Status, r.Interfaces[1].Reason, r.Interfaces[1].Message = v1.StateFailed, v1.ReasonNameTaken, "another link is called multinic2"
		case fight:
			r.Interfaces[0].Status, r.Interfaces[0].Reason = v1.StateInProgress, v1.ReasonDriftFighting
			r.Degraded = &v1.Remark{Reason: v1.ReasonDriftFighting, Message: "another writer"}
		}
		n.say(r)
	}
	ready.becomes("Configured Ready=True AllInterfacesConfigured 2/2 generation 1")
	failed.becomes("Failed Ready=False InterfacesFailed 1/2 generation 1")
	fight.becomes("InProgress Ready=False DriftFighting 1/2 generation 1")
	unheard.becomes("Pending Ready=Unknown NoReport 0/2 generation 1")
	ready.renewLease()
}

// labelled publishes the node's object with the labels that are chosen by, and marks its identity as
// a node's. Pool b has the node that was never heard of.
func (l *listing) labelled(n *node, poolB bool) *v1.MultiNicNodeConfig {
	l.t.Helper()
	o := n.publish()
	pool := "a"
	if poolB {
		pool = "b"
	}
	label := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"suite":"fleet","pool":"`+pool+`"}}}`))
	if err := l.admin.Patch(l.t.Context(), n.shell(), label); err != nil {
		l.t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.ServiceAccountName(n.name)}}
	if err := l.admin.Patch(l.t.Context(), account, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"multinic.io/component":"node"}}}`))); err != nil {
		l.t.Fatal(err)
	}
	return o
}

// eachFormSaysTheSame compares JSON, YAML and the tables with what was made.
func (l *listing) eachFormSaysTheSame() {
	l.t.Helper()
	lines := l.asJSON()
	l.timesAre(lines)
	want := []line{
		{Node: "fleet-failed", State: "Failed", Ready: "False", Reason: "InterfacesFailed", Interfaces: "1/2", Generation: 1, ObservedGeneration: 1, Degraded: "InterfacesFailed", Version: "1.2.3", Executor: "daemon"},
		{Node: "fleet-fight", State: "InProgress", Ready: "False", Reason: "DriftFighting", Interfaces: "1/2", Generation: 1, ObservedGeneration: 1,
			Drift: []string{"multinic1"}, Degraded: "DriftFighting", Version: "1.2.3", Executor: "daemon"},
		{Node: "fleet-ready", State: "Configured", Ready: "True", Reason: "AllInterfacesConfigured", Interfaces: "2/2", Generation: 1, ObservedGeneration: 1, Version: "1.2.3", Executor: "daemon"},
		{Node: "fleet-unheard", State: "Pending", Ready: "Unknown", Reason: "NoReport", Interfaces: "0/2", Generation: 1, ObservedGeneration: 1},
	}
	for i := range lines {
		if i == 0 && !strings.Contains(lines[i].Message, "another link is called multinic2") {
			l.t.Errorf("the message is %q", lines[i].Message)
		}
		lines[i].Message = ""
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		l.t.Errorf("-o json (-want +got)\n%s", diff)
	}
	l.tablesHave(want)
}

// asJSON gives the four nodes as JSON has them, and compares YAML with that.
func (l *listing) asJSON() (lines []line) {
	l.t.Helper()
	code, text, complaint := l.list(l.operator, append(fourNodes, "-o", "json")...)
	if err := json.Unmarshal([]byte(text), &lines); err != nil || code != 0 || len(lines) != 4 {
		l.t.Fatalf("-o json ends with %d and gives %d nodes (%v): %s\n%s", code, len(lines), err, complaint, text)
	}
	var same []line
	if code, text, complaint := l.list(l.operator, append(fourNodes, "-o", "yaml")...); code != 0 {
		l.t.Errorf("-o yaml ends with %d: %s", code, complaint)
	} else if err := yaml.Unmarshal([]byte(text), &same); err != nil {
		l.t.Error(err)
	}
	if diff := cmp.Diff(lines, same); diff != "" {
		l.t.Errorf("(-json +yaml)\n%s", diff)
	}
	return lines
}

// begun is when the suite began: another test may have given these nodes their identities.
var begun = time.Now()

// timesAre looks at the times of the nodes, and takes them out.
func (l *listing) timesAre(lines []line) {
	l.t.Helper()
	for i, n := range lines {
		if n.CredentialMade == nil || n.CredentialMade.Before(begun.Truncate(time.Second)) || (n.LeaseRenewed != nil) != (n.Node == "fleet-ready") || (n.LastProcessed == nil) != (n.Node == "fleet-unheard") {
			l.t.Errorf("%s: identity of %v, Lease of %v, heard of at %v", n.Node, n.CredentialMade, n.LeaseRenewed, n.LastProcessed)
		}
		lines[i].CredentialMade, lines[i].LeaseRenewed, lines[i].LastProcessed = nil, nil, nil
	}
}

// tablesHave looks for these nodes in the table and in the wide one, which alone has messages.
func (l *listing) tablesHave(want []line) {
	l.t.Helper()
	_, table, _ := l.list(l.operator, fourNodes...)
	_, wide, _ := l.list(l.operator, append(fourNodes, "-o", "wide")...)
	for name, text := range map[string]string{"the table": table, "-o wide": wide} {
		rows := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(rows) != 5 || !strings.HasPrefix(rows[0], "NODE ") || strings.Contains(rows[0], "LEASE") != (name == "-o wide") {
			l.t.Errorf("%s is\n%s", name, text)
		}
		for i, n := range want {
			if got := strings.Fields(rows[i+1])[:5]; !slices.Equal(got, []string{n.Node, n.State, n.Ready, n.Reason, n.Interfaces}) {
				l.t.Errorf("%s has a row %q", name, got)
			}
		}
	}
	if !strings.Contains(wide, "another link is called multinic2") || strings.Contains(table, "another link") {
		l.t.Errorf("messages:\n%s\n%s", table, wide)
	}
}

// filtersChoose asks for some of the four nodes, in each way that there is.
func (l *listing) filtersChoose() {
	l.t.Helper()
	for filter, want := range map[string]string{
		"--state Failed":                       "fleet-failed",
		"--state failed":                       "fleet-failed",
		"--state Failed --state Configured":    "fleet-failed fleet-ready",
		"--reason NameTaken":                   "fleet-failed",
		"--reason NoReport --reason NameTaken": "fleet-failed fleet-unheard",
		"--reason AllInterfacesConfigured":     "fleet-ready",
		"--reason DriftFighting":               "fleet-fight",
		"--not-ready":                          "fleet-failed fleet-fight fleet-unheard",
		"--not-ready --state Failed":           "fleet-failed",
		"-l suite=fleet,pool=b":                "fleet-unheard",
		"-l suite=fleet,pool!=b --not-ready":   "fleet-failed fleet-fight",
		"--state Pending --reason NameTaken":   "",
	} {
		args := strings.Fields(filter)
		if !strings.Contains(filter, "-l ") {
			args = append(args, fourNodes...)
		}
		code, text, complaint := l.list(l.operator, append(args, "-o", "json")...)
		var lines []line
		if err := json.Unmarshal([]byte(text), &lines); err != nil || code != 0 || lines == nil {
			l.t.Errorf("%s: exit code %d, %v: %s%s", filter, code, err, complaint, text)
		}
		var names []string
		for _, n := range lines {
			names = append(names, n.Node)
		}
		if strings.Contains(complaint, "no node matches, of 4") != (want == "") {
			l.t.Errorf("%s says on stderr: %s", filter, complaint)
		}
		if got := strings.Join(names, " "); got != want {
			l.t.Errorf("%s lists %q, want %q", filter, got, want)
		}
	}
}

// aNodeWithoutItsObjectIsListed: until the bridge has taken its last report over, a node whose object
// is gone is listed with it.
func (l *listing) aNodeWithoutItsObjectIsListed(stopBridge func()) {
	l.t.Helper()
	gone := l.node("fleet-gone")
	said := gone.report(gone.publish(), v1.StateConfigured, v1.ReasonRetained)
	gone.say(said)
	gone.becomes("Configured Ready=True AllInterfacesConfigured 2/2 generation 1")
	stopBridge()
	if err := l.admin.Delete(l.t.Context(), gone.shell()); err != nil {
		l.t.Fatal(err)
	}
	whatOfIt := func(args ...string) string { return l.whatOf(gone, args...) }
	if got, want := whatOfIt(), "true no object; the node has not reported what became of its NICs []"; got != want {
		l.t.Errorf("before it reports: %q, want %q", got, want)
	}
	said.Phase, said.Degraded = v1.PhaseRemoved, &v1.Remark{Reason: v1.ReasonRetained, Message: "the object was deleted"}
	gone.say(said)
	if got, want := whatOfIt(), "trueRetained no object; 2 NICs kept [multinic1 multinic2]"; got != want {
		l.t.Errorf("afterwards: %q, want %q", got, want)
	}
	if _, table, _ := l.list(l.operator, "--reason", "Retained"); !strings.Contains(table, "no object   -       Retained   2 NICs kept") {
		l.t.Errorf("the table is\n%s", table)
	}
	if got := whatOfIt("--not-ready") + whatOfIt(fourNodes...); got != "" {
		l.t.Errorf("among those that are not ready, or have labels: %s", got)
	}
}

// whatOf is what the command says of a node, "" if it is not in the list.
func (l *listing) whatOf(of *node, args ...string) string {
	l.t.Helper()
	code, text, complaint := l.list(l.operator, append(args, "-o", "json")...)
	var all []struct {
		Node, State, Message, Reason string
		NoObject                     bool
		Kept                         []string
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil || code != 0 {
		l.t.Fatalf("%v ends with %d: %v %s", args, code, err, complaint)
	}
	for _, n := range all {
		if n.Node == of.name {
			return fmt.Sprint(n.NoObject, n.State, n.Reason, " ", n.Message, " ", n.Kept)
		}
	}
	return ""
}

// mistakesAreTold: a command line that cannot be meant ends with 2 and one line that says why.
func (l *listing) mistakesAreTold() {
	l.t.Helper()
	for args, says := range map[string]string{
		"-o xml":           "json and yaml",
		"fleet-ready":      "no arguments",
		"--selector ==":    "--selector",
		"--state Nonsense": "Pending, InProgress, Configured or Failed",
		"--colour":         "see multinic-bridge fleet --help",
	} {
		if code, out, complaint := l.list(l.operator, strings.Fields(args)...); code != 2 || !strings.Contains(complaint, says) || out != "" || strings.Count(complaint, "\n") != 1 {
			l.t.Errorf("fleet %s ends with %d, want 2 and one line with %q: %s%s", args, code, says, complaint, out)
		}
	}
}

// whatMayNotBeSeenIsNamed: who lacks a right learns which one.
func (l *listing) whatMayNotBeSeenIsNamed() {
	l.t.Helper()
	if _, err := l.Apply(l.t.Context(), `
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: fleet-reader, namespace: multinic-system}, rules: [{apiGroups: [multinic.io], resources: [multinicnodeconfigs], verbs: [list]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: fleet-reader, namespace: multinic-system}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: fleet-reader}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: reader}]}
`); err != nil {
		l.t.Fatal(err)
	}
	for user, lacks := range map[string]string{"stranger": "multinicnodeconfigs", "reader": "configmaps"} {
		file := l.kubeconfig(user)
		l.eventually("what "+user+" may not see is named", func() string {
			code, out, complaint := l.list(file)
			if code == 1 && out == "" && strings.Contains(complaint, `cannot list resource "`+lacks+`"`) && strings.Count(complaint, "\n") == 1 {
				return ""
			}
			return complaint + out
		})
	}
}
