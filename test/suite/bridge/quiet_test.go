package bridge

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/internal/bridge/jobs"
)

// cost is what the bridge did in a window of time.
type cost struct {
	requests   int            // to the API server
	reconciles int            // of the loops that know of silence
	byLoop     map[string]int // of each loop
	cpu        time.Duration  // of the test's process, which the bridge is a part of
}

func (c *cluster) spent() cost {
	c.t.Helper()
	out := cost{byLoop: map[string]int{}}
	all, err := c.Requests()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, r := range all {
		if r.UserAgent == bridgeAgent {
			out.requests++
		}
	}
	out.reconciles, out.byLoop = c.reconciles()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		c.t.Fatal(err)
	}
	out.cpu = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	return out
}

// reconciles of all bridges of this process so far: the sum is of those loops that know of silence. The identities of nodes
// are waited with, and looked after every five seconds, since the policies are missing in these tests.
func (c *cluster) reconciles() (sum int, byLoop map[string]int) {
	c.t.Helper()
	byLoop = map[string]int{}
	families, err := metrics.Registry.Gather()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() != "controller" {
					continue
				}
				n := int(m.GetCounter().GetValue())
				if byLoop[l.GetValue()] += n; l.GetValue() == "status" || l.GetValue() == "job" {
					sum += n
				}
			}
		}
	}
	return sum, byLoop
}

// during is what a window costs in which nobody does anything.
func (c *cluster) during(window time.Duration) cost {
	c.t.Helper()
	before := c.spent()
	time.Sleep(window) // the window
	after := c.spent()
	out := cost{requests: after.requests - before.requests, reconciles: after.reconciles - before.reconciles, byLoop: map[string]int{}, cpu: after.cpu - before.cpu}
	for loop, n := range after.byLoop {
		if n -= before.byLoop[loop]; n > 0 {
			out.byLoop[loop] = n
		}
	}
	return out
}

// rests waits until none of those loops has been run for a while.
func (c *cluster) rests() {
	c.t.Helper()
	last, since := -1, time.Now()
	c.eventually("the bridge comes to rest", func() string {
		now, byLoop := c.reconciles()
		if now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) < 3*time.Second {
			return fmt.Sprint("its loops were run so often: ", byLoop)
		}
		return ""
	})
}

// Every object has a Lease, which the bridge makes. A node that never joins does not renew it, nor
// does one that Jobs work on, and a bridge that thinks of these as of daemons that are late looks at
// each of them again and again.
func TestNodesWithoutADaemonCostNothingAfterTheTimeOfSilence(t *testing.T) {
	const window, silence = 15 * time.Second, 5 * time.Second
	c := newCluster(t)
	d := &daemonless{cluster: c, unheardOf: 200, byJobs: 50, objects: map[string]*v1.MultiNicNodeConfig{}}
	for i := range d.unheardOf + d.byJobs {
		d.names = append(d.names, fmt.Sprintf("quiet-%03d", i))
	}
	t.Cleanup(d.remove)
	c.withJobs()
	options := bridge.Options{SilentAfter: time.Hour, Jobs: jobs.Options{Execution: jobs.ExecutionAuto, Image: jobImage, Deadline: jobs.Deadline}}
	stop := c.startBridgeWith(options)
	d.publish()
	for i, name := range d.names {
		d.hasLease(name)
		if i >= d.unheardOf {
			d.isDoneByAJob(name)
		}
	}
	d.settles()
	before := c.during(window)
	stop()

	options.SilentAfter = silence
	c.startBridgeWith(options)
	began := time.Now()
	d.settles()
	c.eventually("the time of silence is over", func() string {
		if time.Since(began) < 2*silence {
			return "it is not"
		}
		return ""
	})
	c.rests()
	after := c.during(window)
	t.Logf("%d nodes in %s before the time of silence: %d requests, %v reconciles, %s of CPU; after it: %d, %v, %s",
		len(d.names), window, before.requests, before.byLoop, before.cpu, after.requests, after.byLoop, after.cpu)
	// A watch may be opened anew; the look at the policies goes on as before, up to one more.
	if most := before.requests + 60; after.requests > most {
		t.Errorf("%d requests, want at most %d", after.requests, most)
	}
	if most := before.reconciles + len(d.names)/2; after.reconciles > most {
		t.Errorf("loops were run %d times (%v), want at most %d", after.reconciles, after.byLoop, most)
	}
	d.settles() // nothing was lost
}

// daemonless are the nodes of this file: first those that never join, then those that Jobs work on.
type daemonless struct {
	*cluster
	unheardOf, byJobs int
	names             []string
	objects           map[string]*v1.MultiNicNodeConfig
}

// quietSuite is the label of their Nodes and objects.
var quietSuite = map[string]string{"suite": "quiet"}

// publish makes the objects, and the Nodes and identities of those that Jobs work on.
func (d *daemonless) publish() {
	d.t.Helper()
	for i, name := range d.names {
		if i >= d.unheardOf {
			if err := d.admin.Create(d.t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: quietSuite}}); err != nil {
				d.t.Fatal(err)
			}
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.ServiceAccountName(name),
				Labels: map[string]string{v1.ComponentLabel: v1.ComponentNode, v1.NodeNameLabel: name}}}
			if err := d.admin.Create(d.t.Context(), account); err != nil {
				d.t.Fatal(err)
			}
		}
		o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: v1.SystemNamespace, Labels: quietSuite}}
		o.Spec = v1.MultiNicNodeConfigSpec{NodeName: name, Interfaces: []v1.Interface{{ID: new(int32(1)), MACAddress: "02:00:00:00:01:01"}}}
		if err := d.admin.Create(d.t.Context(), o); err != nil {
			d.t.Fatal(err)
		}
		d.objects[name] = o
	}
}

func (d *daemonless) hasLease(name string) {
	d.t.Helper()
	d.eventually(name+" has a Lease", func() string {
		if err := d.admin.Get(d.t.Context(), client.ObjectKey{Namespace: v1.NodesNamespace, Name: v1.LeaseName(name)}, &coordinationv1.Lease{}); err != nil {
			return err.Error()
		}
		return ""
	})
}

// isDoneByAJob waits for the node's Job, and plays multinicd in it.
func (d *daemonless) isDoneByAJob(name string) {
	d.t.Helper()
	d.eventually(name+" has a Job", func() string {
		var made batchv1.JobList
		if err := d.admin.List(d.t.Context(), &made, client.InNamespace(v1.NodesNamespace), client.MatchingLabels{v1.NodeNameLabel: name}); err != nil {
			return err.Error()
		}
		if len(made.Items) != 1 {
			return fmt.Sprintf("it has %d", len(made.Items))
		}
		return ""
	})
	data, err := v1.Report{Node: name, UID: d.objects[name].UID, Generation: 1, Executor: v1.ExecutorJob, Version: "test", Phase: v1.PhaseDone,
		Interfaces: []v1.InterfaceStatus{{ID: 1, Name: "multinic1", MACAddress: "02:00:00:00:01:01", Status: v1.StateConfigured, Reason: v1.ReasonConfigured}}}.Encode()
	if err != nil {
		d.t.Fatal(err)
	}
	report := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: v1.ReportName(name), Namespace: v1.NodesNamespace}}
	if err := d.admin.Patch(d.t.Context(), report, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"data":{%q:%s}}`, v1.ReportKey, quote(string(data))))); err != nil {
		d.t.Fatal(err)
	}
}

// settles waits until every object has the status that it keeps, and the bridge rests.
func (d *daemonless) settles() {
	d.t.Helper()
	d.eventually("every object has its status", func() string {
		var list v1.MultiNicNodeConfigList
		if err := d.admin.List(d.t.Context(), &list, client.InNamespace(v1.SystemNamespace), client.MatchingLabels(quietSuite)); err != nil {
			return err.Error()
		}
		states := map[v1.State]int{}
		for _, o := range list.Items {
			states[o.Status.State]++
		}
		if states[v1.StatePending] != d.unheardOf || states[v1.StateConfigured] != d.byJobs {
			return fmt.Sprint("they are ", states)
		}
		return ""
	})
	d.rests()
}

// remove removes what there is of the nodes, when the test has ended.
func (d *daemonless) remove() {
	ctx := context.WithoutCancel(d.t.Context())
	of, err := labels.NewRequirement(v1.NodeNameLabel, selection.In, d.names)
	if err != nil {
		d.t.Error(err)
		return
	}
	gone := func(o client.Object, options ...client.DeleteAllOfOption) {
		if err := d.admin.DeleteAllOf(ctx, o, options...); err != nil {
			d.t.Error(err)
		}
	}
	gone(&v1.MultiNicNodeConfig{}, client.InNamespace(v1.SystemNamespace), client.MatchingLabels(quietSuite))
	gone(&corev1.Node{}, client.MatchingLabels(quietSuite))
	ours := client.MatchingLabelsSelector{Selector: labels.NewSelector().Add(*of)}
	for _, o := range []client.Object{&batchv1.Job{}, &corev1.Pod{}, &corev1.ServiceAccount{}, &rbacv1.RoleBinding{}, &rbacv1.Role{}, &corev1.ConfigMap{}, &coordinationv1.Lease{}} {
		gone(o, client.InNamespace(v1.NodesNamespace), ours, client.PropagationPolicy(metav1.DeletePropagationBackground), client.GracePeriodSeconds(0))
	}
}
