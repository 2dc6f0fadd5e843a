package chart

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/kubelet"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

const (
	nodes = "multinic-nodes"
	// longest is a node's name of 63 characters: with a prefix it is too long for a Job and for a label.
	longest = "worker-node-with-the-longest-name-that-a-label-may-have-0123456"
	// absent is the MAC of a NIC that is not plugged in.
	absent = "02:00:00:00:01:03"
)

func TestNodesWithoutADaemonHaveJobs(t *testing.T) {
	t.Parallel()
	c := newCluster(t, longest)
	if len(longest) != 63 {
		t.Fatalf("the name has %d characters", len(longest))
	}
	// Not a daemon's: only the settings, which a Job reads too.
	if err := c.node.WriteFile("/etc/multinicd/multinicd.toml", []byte("links.virtual_kinds = [\"veth\"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	step := c.steps(t)
	type row struct {
		sentence string
		f        func(c *cluster)
	}
	for _, r := range append([]row{
		{"a Job configures the NICs, and status says so by its report", (*cluster).byJob},
		{"a newer generation has a Job of its own, and an old success never speaks for it", (*cluster).generations},
		{"an object that is deleted and made again at once is another one", (*cluster).madeAgain},
	}, prerequisite.Long(
		row{"no status is ahead of the kernel, watched over many changes", func(c *cluster) { c.neverAhead(watched(), nil) }},
		row{"a Pod's token is bound to it, and good for that node alone", (*cluster).podToken},
		row{"a Pod that is killed in the middle is tried again", (*cluster).podKilled},
		row{"a newer generation ends the Job that still runs", (*cluster).overtaken},
		row{"a NIC is waited for until the deadline, and a trigger tries again", (*cluster).deadline},
		row{"a NIC that is refused fails the Job at once", (*cluster).refused},
		row{"an image that is missing is told of, and waited for", (*cluster).imageMissing},
		row{"a Node that is gone has no Job", (*cluster).nodeGone},
		row{"a daemon that appears takes over", (*cluster).daemonAppears},
	)...) {
		step(r.sentence, r.f)
	}
}

// publish applies the node's object with an MTU and, beside its two NICs, those of the MACs given.
func (c *cluster) publish(node string, mtu int, macs ...string) {
	c.t.Helper()
	var nics []string
	for i, mac := range append([]string{"02:00:00:00:01:01", "02:00:00:00:01:02"}, macs...) {
		nics = append(nics, fmt.Sprintf("{id: %d, macAddress: %q, address: 192.168.%d.10, cidr: 192.168.%d.10/24, mtu: %d}", i+1, mac, 100+i, 100+i, mtu))
	}
	object := fmt.Sprintf("{apiVersion: multinic.io/v1, kind: MultiNicNodeConfig, metadata: {name: %q, namespace: %s}, spec: {nodeName: %q, interfaces: [%s]}}",
		node, system, node, strings.Join(nics, ", "))
	if out, err := c.Apply(c.t.Context(), object); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
}

// jobs are those of a node, the oldest first.
func (c *cluster) jobs(node string) []batchv1.Job {
	c.t.Helper()
	var list batchv1.JobList
	c.get("/apis/batch/v1/namespaces/"+nodes+"/jobs", &list)
	slices.SortStableFunc(list.Items, func(a, b batchv1.Job) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	var own []batchv1.Job
	for _, j := range list.Items {
		if j.Spec.Template.Spec.NodeName == node {
			own = append(own, j)
		}
	}
	return own
}

// jobPods are the Pods of a Job.
func (c *cluster) jobPods(job string) []corev1.Pod {
	c.t.Helper()
	var list corev1.PodList
	c.get("/api/v1/namespaces/"+nodes+"/pods?labelSelector=job-name%3D"+job, &list)
	return list.Items
}

// running waits for the Pod of a Job to run, one of another name than those before, and gives both.
func (c *cluster) running(node string, before ...string) (job batchv1.Job, pod corev1.Pod) {
	c.t.Helper()
	eventually(c.t, "a Job's Pod runs on "+node, func(context.Context) string {
		for _, j := range c.jobs(node) {
			if j.DeletionTimestamp != nil {
				continue
			}
			for _, p := range c.jobPods(j.Name) {
				if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil && !slices.Contains(before, p.Name) {
					job, pod = j, p
					return ""
				}
			}
		}
		return "there are " + c.print("/api/v1/namespaces/"+nodes+"/pods", "{range .items[*]}{.metadata.name} {.status.phase} {end}")
	})
	return job, pod
}

// report is what the node wrote last.
func (c *cluster) report() v1.Report {
	c.t.Helper()
	text := c.print("/api/v1/namespaces/"+nodes+"/configmaps/multinic-report-"+c.name, `{.data.report\.json}`)
	r, err := v1.ParseReport([]byte(text))
	if err != nil {
		c.t.Fatalf("%v: %s", err, text)
	}
	return r
}

func (c *cluster) byJob() {
	c.runHelm(append(install, "--set", "jobs.execution=auto")...)
	eventuallyLogs(c, "admission policies are in force")
	c.publish(c.name, 1500)
	c.configured()
	c.hasMTU(1500)
	jobs := c.jobs(c.name)
	if len(jobs) != 1 {
		c.t.Fatalf("there are %d Jobs, want 1", len(jobs))
	}
	j := jobs[0]
	if o := c.object(); o.Status.LastJobName != j.Name {
		c.t.Errorf("status names Job %q, want %s", o.Status.LastJobName, j.Name)
	}
	if !strings.HasPrefix(j.Name, "multinic-agent-worker-node-") || len(j.Name) > 63 {
		c.t.Errorf("the Job is called %s, of %d characters", j.Name, len(j.Name))
	}
	if j.Spec.TTLSecondsAfterFinished == nil || *j.Spec.TTLSecondsAfterFinished != 3600 {
		c.t.Errorf("the Job is swept away after %v, want an hour", j.Spec.TTLSecondsAfterFinished)
	}
	if r := c.report(); r.Executor != v1.ExecutorJob {
		c.t.Errorf("the report is by a %s, want a Job", r.Executor)
	}
	eventually(c.t, "the Job is complete", func(context.Context) string {
		if s := c.jobs(c.name)[0].Status; s.Succeeded != 1 {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	if _, err := c.node.ReadFile("/etc/netplan/90-multinic1.yaml"); err != nil {
		c.t.Errorf("the host does not keep its NIC over a boot: %v", err)
	}
}

func (c *cluster) generations() {
	h := c.watch()
	for mtu := 1401; mtu <= 1403; mtu++ {
		c.publish(c.name, mtu)
		c.configured()
		// Right then, not a moment later: no status is ahead of the kernel.
		out, err := c.node.Run(c.t.Context(), "ip", "link", "show", "multinic1")
		if err != nil || !strings.Contains(out, fmt.Sprintf("mtu %d ", mtu)) {
			c.t.Errorf("status says Configured of MTU %d, the kernel: %v %s", mtu, err, out)
		}
	}
	h.neverBackwards(c.t)
	h.aJobPerGeneration(c.t)
}

func (c *cluster) madeAgain() {
	before := c.object()
	c.kubectl("delete", "mnnc", "-n", system, c.name, "--wait=false")
	c.publish(c.name, 1404)
	c.configured()
	c.hasMTU(1404)
	after := c.object()
	if after.UID == before.UID || c.report().UID != after.UID {
		c.t.Errorf("the object has uid %s, was %s; the report is on %s", after.UID, before.UID, c.report().UID)
	}
}

func (c *cluster) podKilled() {
	c.publish(c.name, 1410, absent)
	_, pod := c.running(c.name)
	if err := c.node.KillContainers(c.t.Context(), string(pod.UID)); err != nil {
		c.t.Fatal(err)
	}
	c.running(c.name, pod.Name) // kubelet tells a moment later that the first has ended
	eventually(c.t, "status is Pending while a NIC is waited for", func(context.Context) string {
		if o := c.object(); o.Status.ObservedGeneration != o.Generation || o.Status.State != v1.StatePending {
			return fmt.Sprintf("%+v", o.Status)
		}
		return ""
	})
	if err := c.node.Plug(testhost.NIC{MAC: absent, Segment: "data3"}); err != nil {
		c.t.Fatal(err)
	}
	c.configured()
}

func (c *cluster) overtaken() {
	const never = "02:00:00:00:01:99"
	c.publish(c.name, 1411, absent, never)
	old, _ := c.running(c.name)
	c.publish(c.name, 1412, absent)
	c.configured()
	c.hasMTU(1412)
	for _, j := range c.jobs(c.name) {
		if j.Name == old.Name {
			c.t.Errorf("Job %s of the older generation is still there", j.Name)
		}
	}
}

func (c *cluster) refused() {
	c.publish(c.name, 1413, absent, c.node.PrimaryMAC)
	eventually(c.t, "status says Failed", func(context.Context) string {
		if o := c.object(); o.Status.ObservedGeneration != o.Generation || o.Status.State != v1.StateFailed {
			return fmt.Sprintf("%+v", o.Status)
		}
		return ""
	})
	c.hasMTU(1413)
	eventually(c.t, "the Job has failed", func(context.Context) string {
		jobs := c.jobs(c.name)
		j := jobs[len(jobs)-1]
		for _, condition := range j.Status.Conditions {
			if condition.Type == batchv1.JobFailed && condition.Status == corev1.ConditionTrue {
				if pods := c.jobPods(j.Name); len(pods) > 1 {
					c.t.Errorf("the Job had %d Pods, want 1: a refusal comes out the same the next time", len(pods))
				}
				return ""
			}
		}
		return fmt.Sprintf("%+v", j.Status)
	})
}

func (c *cluster) imageMissing() {
	version, err := kubelet.Version()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.node.RemoveImage(c.t.Context(), "localhost/multinicd:"+version); err != nil {
		c.t.Fatal(err)
	}
	c.publish(c.name, 1414, absent)
	eventually(c.t, "status tells of the image", func(context.Context) string {
		o := c.object()
		if text := fmt.Sprintf("%+v", o.Status); !strings.Contains(text, v1.ReasonJobStuck) || o.Status.State == v1.StateConfigured {
			return text
		}
		return ""
	})
	images, err := kubelet.MakeImages(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.node.Import(c.t.Context(), images.Multinicd); err != nil {
		c.t.Fatal(err)
	}
	c.configured()
	c.hasMTU(1414)
}

func (c *cluster) nodeGone() {
	const gone = "worker-node-that-goes"
	n := c.bed.Node(gone, 2)
	c.publish(gone, 1500)
	job, _ := c.running(gone) // neither of its NICs is there
	if err := n.Stop(); err != nil {
		c.t.Fatal(err)
	}
	c.kubectl("delete", "node", gone)
	eventually(c.t, "its Job is gone", func(context.Context) string {
		for _, j := range c.jobs(gone) {
			return j.Name
		}
		return ""
	})
	if jobs := c.jobs(gone); len(jobs) > 0 {
		c.t.Errorf("Job %s followed on %s", jobs[0].Name, job.Name)
	}
	c.kubectl("delete", "mnnc", "-n", system, gone)
}

func (c *cluster) daemonAppears() {
	const never = "02:00:00:00:01:99"
	c.publish(c.name, 1420, absent, never)
	job, _ := c.running(c.name)
	c.join()
	eventually(c.t, "the Job is gone", func(context.Context) string {
		for _, j := range c.jobs(c.name) {
			if j.Name == job.Name {
				return fmt.Sprintf("%+v", j.Status)
			}
		}
		return ""
	})
	c.publish(c.name, 1421, absent)
	c.configured()
	c.hasMTU(1421)
	if r := c.report(); r.Executor != v1.ExecutorDaemon {
		c.t.Errorf("the report is by a %s, want the daemon", r.Executor)
	}
	for _, j := range c.jobs(c.name) {
		if j.CreationTimestamp.After(job.CreationTimestamp.Time) {
			c.t.Errorf("Job %s was made although the daemon lives", j.Name)
		}
	}
}
