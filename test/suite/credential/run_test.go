package credential

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
)

// The example's Role: one node, one verb.
func TestWhoMayHaveANodeRunIsWhoHasTheVerbOnIt(t *testing.T) {
	c := newCluster(t)
	c.kubectl("apply", "-f", bed.Path(t, "examples/trigger-job.yaml"))
	pipeline := c.bearer(c.token("multinic-pipelines", "multinic-trigger"))
	bridge := c.bearer(c.token(v1.SystemNamespace, v1.CredentialsAccount)) // with the other token it cannot even ask
	run := func(node string, action v1.RunAction, change ...func(*v1.MultiNicNodeRun)) *v1.MultiNicNodeRun {
		r := &v1.MultiNicNodeRun{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "who-", Namespace: v1.SystemNamespace},
			Spec:       v1.MultiNicNodeRunSpec{Node: node, Action: action},
		}
		for _, f := range change {
			f(r)
		}
		return r
	}
	c.eventually("the rights of the example are in force", func() string {
		return may(pipeline.Create(t.Context(), run("worker-node-01", v1.ActionTrigger), client.DryRunAll))
	})
	const needs = "takes the verb"
	for name, tt := range map[string]struct {
		as   client.Client
		run  *v1.MultiNicNodeRun
		want string // "": it is made
	}{
		"the node and the verb that it has":    {pipeline, run("worker-node-01", v1.ActionTrigger), ""},
		"another node":                         {pipeline, run("worker-node-02", v1.ActionTrigger), needs},
		"another verb":                         {pipeline, run("worker-node-01", v1.ActionCleanup), needs},
		"an administrator has every verb":      {c.admin, run("worker-node-02", v1.ActionCleanup), ""},
		"the bridge has none":                  {bridge, run("worker-node-01", v1.ActionTrigger), needs},
		"an action that there is not":          {c.admin, run("worker-node-01", "reboot"), "Unsupported value"},
		"a run that could not be deleted":      {c.admin, run("worker-node-01", v1.ActionTrigger, func(r *v1.MultiNicNodeRun) { r.Finalizers = []string{"example.com/x"} }), "finalizers"},
		"a run in the namespace of the nodes":  {c.admin, run("worker-node-01", v1.ActionTrigger, func(r *v1.MultiNicNodeRun) { r.Namespace = v1.NodesNamespace }), "made in multinic-system"},
		"the name by which the policy is seen": {c.admin, run("x", v1.ActionTrigger, func(r *v1.MultiNicNodeRun) { r.Name = "multinic-probe-node-runs" }), "in force"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.as.Create(t.Context(), tt.run)
			if (tt.want == "") != (err == nil) || err != nil && !refusedBy(err, tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if err != nil {
				return
			}
			tt.run.Spec.Action = v1.ActionCleanup
			tt.run.Spec.Node = "other"
			if err := c.admin.Update(t.Context(), tt.run); err == nil || !strings.Contains(err.Error(), "a run is not changed") {
				t.Errorf("a run can be changed: %v", err)
			}
			c.delete(tt.run)
		})
	}
}

// player is a node's daemon as far as runs go: it reports on what it is asked,
// with the state that the test says.
type player struct {
	c    *cluster
	name string
	as   client.Client

	mu    sync.Mutex
	state v1.State
	why   string
	did   []string
}

// play makes a node that has joined and answers until the test ends.
func (c *cluster) play(name string) *player {
	c.t.Helper()
	c.node(name)
	c.object(name)
	kubelet, key := c.kubelet(name), newKey(c.t)
	p := &player{c: c, name: name, as: c.bearer(open(c.t, key, c.ask(kubelet, name, v1.DoorKubelet, key))), state: v1.StateConfigured, why: v1.ReasonConfigured}
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			p.look(ctx)
			time.Sleep(20 * time.Millisecond) // and looks again
		}
	}()
	c.t.Cleanup(func() { cancel(); <-done })
	return p
}

func (p *player) set(s v1.State, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.why = s, reason
}

func (p *player) look(ctx context.Context) {
	o := &v1.MultiNicNodeConfig{}
	if p.as.Get(ctx, client.ObjectKey{Namespace: v1.SystemNamespace, Name: p.name}, o) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	run := o.Status.RequestedRun
	if p.state == "" || len(p.did) > 0 && (run == "" || p.did[len(p.did)-1] == run) {
		return
	}
	r := v1.Report{Node: p.name, UID: o.UID, Generation: o.Generation, Executor: v1.ExecutorDaemon, Version: "test", Phase: v1.PhaseDone, Run: run,
		Interfaces: []v1.InterfaceStatus{{ID: 1, Name: "multinic1", MACAddress: "02:00:00:00:01:01", Status: p.state, Reason: p.why}}}
	if o.Status.RequestedAction == v1.ActionCleanup {
		r.Phase, r.Interfaces = v1.PhaseRemoved, nil
	}
	data, err := r.Encode()
	if err != nil {
		p.c.t.Error(err)
		return
	}
	body := client.RawPatch(types.MergePatchType, reportPatch(p.c.t, data))
	if p.as.Patch(ctx, &corev1.ConfigMap{ObjectMeta: inNodes(v1.ReportName(p.name))}, body) == nil {
		p.did = append(p.did, run)
	}
}

func TestTheCommandAsksWaitsAndEndsAsTheNodeDid(t *testing.T) {
	c := newCluster(t)
	c.bridge(nil)
	binary := bed.Build(t, "./cmd/bridge")
	a, b := c.play("run-a"), c.play("run-b")
	for _, p := range []*player{a, b} {
		body := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"pool":"runs"}}}`))
		if err := c.admin.Patch(t.Context(), &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: p.name, Namespace: v1.SystemNamespace}}, body); err != nil {
			t.Fatal(err)
		}
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := c.WriteKubeconfig(kubeconfig, "", "operator", "system:masters"); err != nil {
		t.Fatal(err)
	}
	if _, err := clientcmd.LoadFromFile(kubeconfig); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) (int, string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), binary, append(args, "--kubeconfig", kubeconfig)...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	expect := func(code int, text string, args ...string) {
		t.Helper()
		if got, out := command(args...); got != code || !strings.Contains(out, text) {
			t.Errorf("multinic-bridge %s: exit code %d, want %d, with %q:\n%s", strings.Join(args, " "), got, code, text, out)
		}
	}
	expect(0, "run-a: Succeeded, exit code 0: Completed", "trigger", "--node", "run-a", "--wait")
	expect(0, "run-b: Succeeded", "trigger", "--selector", "pool=runs", "--wait")
	o := &v1.MultiNicNodeConfig{}
	c.eventually("lastJobName carries the run's id, and nothing is asked any more", func() string {
		if err := c.admin.Get(t.Context(), client.ObjectKey{Namespace: v1.SystemNamespace, Name: "run-a"}, o); err != nil {
			return err.Error()
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if last := a.did[len(a.did)-1]; o.Status.LastJobName != last || o.Status.RequestedRun != "" {
			return "lastJobName " + o.Status.LastJobName + ", requestedRun " + o.Status.RequestedRun + ", done " + last
		}
		return ""
	})
	a.set(v1.StatePending, v1.ReasonWaitingForNIC)
	expect(5, "run-a: Failed, exit code 5: WaitingForNIC", "trigger", "--node", "run-a", "--wait")
	b.set(v1.StateFailed, v1.ReasonRollbackFailed)
	expect(4, "run-b: Failed, exit code 4: RollbackFailed", "trigger", "-l", "pool=runs", "--wait")
	expect(0, "run-a: would be asked for cleanup: ", "cleanup", "--all", "--dry-run")
	expect(0, "run-a: Succeeded, exit code 0", "cleanup", "--node", "run-a", "--wait")
	expect(1, "NoObject", "trigger", "--node", "run-nobody", "--wait")
	b.set("", "") // does not answer
	expect(8, "no answer within 1s from run-b", "trigger", "--node", "run-b", "--wait", "--timeout", "1s")
	expect(0, "asked for trigger", "trigger", "--node", "run-b")
	b.set(v1.StateConfigured, v1.ReasonConfigured) // both that waited are done, one after the other
	var runs v1.MultiNicNodeRunList
	c.eventually("every run has ended", func() string {
		if err := c.admin.List(t.Context(), &runs, client.InNamespace(v1.SystemNamespace)); err != nil {
			return err.Error()
		}
		for _, r := range runs.Items {
			if r.Status.FinishedAt == nil {
				return r.Name + " is " + string(r.Status.State)
			}
		}
		return ""
	})
	for _, wrong := range [][]string{{"trigger"}, {"trigger", "--node", "a", "--selector", "b"}, {"trigger", "--selector", "a=b", "b"}, {"trigger", "--selector", "=="}} {
		expect(2, "", wrong...)
	}
	for _, r := range runs.Items {
		c.delete(&r)
	}
}

func TestARunIsDeletedAnHourAfterItsEnd(t *testing.T) {
	c := newCluster(t)
	at := &clock{}
	stop := c.bridge(at)
	c.play("run-old")
	r := &v1.MultiNicNodeRun{ObjectMeta: metav1.ObjectMeta{Name: "old", Namespace: v1.SystemNamespace}, Spec: v1.MultiNicNodeRunSpec{Node: "run-old", Action: v1.ActionTrigger}}
	c.create(r)
	c.eventually("it ends", func() string {
		if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(r), r); err != nil || r.Status.FinishedAt == nil {
			return errorText(err)
		}
		return ""
	})
	stop()
	at.forward(50 * time.Minute) // and ten more for a slow machine
	stop = c.bridge(at)
	time.Sleep(time.Second) // in which nothing is to happen
	if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(r), r); err != nil {
		t.Fatalf("it was deleted early: %v", err)
	}
	stop()
	at.forward(11 * time.Minute)
	c.bridge(at)
	c.gone(r)
}

func reportPatch(t *testing.T, report []byte) []byte {
	t.Helper()
	body, err := json.Marshal(fields{"data": fields{v1.ReportKey: string(report)}})
	if err != nil {
		t.Fatal(err)
	}
	return body
}
