package bridge

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/deploy"
	"multinicd/internal/bridge"
	"multinicd/internal/bridge/jobs"
	"multinicd/test/bed"
)

// jobImage is that of the ConfigMap in these tests.
const jobImage = "registry.example.com/multinicd:test"

// jobPolicies are those of deploy/admission.yaml on which Jobs stand.
func jobPolicies() string {
	var out []string
	for doc := range strings.SplitSeq(deploy.Admission, "\n---\n") {
		for _, name := range []string{"multinic-workloads", "multinic-workload-kinds", "multinic-bridge-bounds"} {
			if strings.Contains(doc, "kind: ValidatingAdmissionPolicy") && strings.Contains(doc, "\n  name: "+name+"\n") {
				out = append(out, doc)
			}
		}
	}
	return strings.Join(out, "\n---\n")
}

// withJobs lets the bridge make Jobs, by the manifest that is for it.
func (c *cluster) withJobs() {
	c.t.Helper()
	if _, err := c.Kubectl(c.t.Context(), "apply", "--server-side", "--force-conflicts", "-f", bed.Path(c.t, "deploy/jobs.yaml")); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.Apply(c.t.Context(), jobPolicies(), "--server-side", "--force-conflicts"); err != nil {
		c.t.Fatal(err)
	}
	// What the page and the head of the file say to set.
	for _, args := range [][]string{
		{"label", "namespace", v1.NodesNamespace, "pod-security.kubernetes.io/enforce=privileged", "--overwrite"},
		{"patch", "configmap", "multinic-jobs", "-n", v1.SystemNamespace, "--type=merge", "-p", `{"data":{"image":"` + jobImage + `"}}`},
	} {
		if out, err := c.Kubectl(c.t.Context(), args...); err != nil {
			c.t.Fatal(out, err)
		}
	}
}

func TestANodeWithoutADaemonIsWorkedOnByOneJobAtATime(t *testing.T) {
	c := newCluster(t)
	c.withJobs()
	c.startBridgeWith(bridge.Options{Jobs: jobs.Options{Execution: jobs.ExecutionAuto, Image: jobImage}})

	t.Run("one Job per generation, and its success speaks for no other", c.oneJobPerGeneration)
	t.Run("an object that is deleted and made again at once", c.anObjectMadeAgain)
	t.Run("a Pod that is killed, and NICs that wait, are tried again; a rollback is not", c.whatIsTriedAgain)
	t.Run("an image that is missing is told", c.aMissingImageIsTold)
	t.Run("a daemon that appears in the middle", c.aDaemonAppears)
	t.Run("a node that is gone", c.aNodeThatIsGone)
}

func (c *cluster) oneJobPerGeneration(t *testing.T) {
	w := c.worker("job-" + strings.Repeat("x", 59)) // 63 characters
	o := w.publish()
	p := w.pod(1)
	if p.Spec.NodeName != w.name || p.Spec.ServiceAccountName != v1.ServiceAccountName(w.name) {
		t.Errorf("the Pod is on %s as %s", p.Spec.NodeName, p.Spec.ServiceAccountName)
	}
	w.works(o, p, v1.StateConfigured, v1.ReasonConfigured)
	w.ends(p, 0, "")
	w.shows("1 complete")
	w.becomes(done)
	if s := w.status(); s.LastJobName != p.Labels[batchv1.JobNameLabel] || len(s.LastJobName) > 63 || !strings.HasPrefix(s.LastJobName, "multinic-agent-job-xxx") {
		t.Errorf("lastJobName is %q, the Job is %s", s.LastJobName, p.Labels[batchv1.JobNameLabel])
	}
	w.change("two")
	w.shows("1 complete, 2 running")
	w.becomes("InProgress Ready=False Applying 0/2 generation 2")
	second := w.pod(2)
	o = w.change("three")
	w.shows("1 complete, 2 leaving")   // its Pod may be in the middle of a change
	time.Sleep(500 * time.Millisecond) // in which nothing is to happen
	w.shows("1 complete, 2 leaving")
	w.gone(second)
	w.shows("1 complete, 3 running")
	w.works(o, w.pod(3), v1.StateConfigured, v1.ReasonConfigured)
	w.ends(w.pod(3), 0, "")
	w.becomes("Configured Ready=True AllInterfacesConfigured 2/2 generation 3")
}

func (c *cluster) anObjectMadeAgain(t *testing.T) {
	w := c.worker("job-again")
	w.publish()
	first := w.pod(1)
	if err := c.admin.Delete(t.Context(), w.shell()); err != nil {
		t.Fatal(err)
	}
	o := w.publish()
	w.shows("1 leaving")
	w.gone(first)
	second := w.pod(1, first.Name)
	w.works(o, second, v1.StateConfigured, v1.ReasonConfigured)
	w.becomes(done)
}

func (c *cluster) whatIsTriedAgain(t *testing.T) {
	w := c.worker("job-retry")
	o := w.publish()
	p := w.pod(1)
	w.ends(p, 137, "")
	w.says("ended with exit code 137")
	again := w.pod(1, p.Name) // after the Job controller's backoff of 10 s
	w.works(o, again, v1.StatePending, v1.ReasonWaitingForNIC)
	w.ends(again, v1.ExitWaiting, "")
	w.becomes("Pending Ready=False InterfacesWaiting 0/2 generation 1")
	third := w.pod(1, p.Name, again.Name)
	if j := w.jobs()[0]; j.Status.Failed != 1 {
		t.Errorf("%d failures are counted, want that of the kill alone", j.Status.Failed)
	}
	w.ends(third, v1.ExitRolledBack, "the API server does not answer")
	w.shows("1 failed")
	o = w.change("two")
	p = w.pod(2)
	w.ends(p, v1.ExitUsage, "no such flag")
	w.says("Ready=False JobFailed: Job multinic-agent-job-retry-")
	w.says("ended with exit code 2: no such flag")
	w.becomes("InProgress Ready=False JobFailed 0/2 generation 2")
	w.works(o, p, v1.StateConfigured, v1.ReasonConfigured)
	w.becomes("Configured Ready=True AllInterfacesConfigured 2/2 generation 2")
	w.says("Degraded=False AsExpected")
}

func (c *cluster) aMissingImageIsTold(t *testing.T) {
	w := c.worker("job-image")
	w.publish()
	w.state(w.pod(1), corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}})
	w.says("Degraded=True JobStuck")
	w.says("cannot start: ImagePullBackOff: no such image")
}

func (c *cluster) aDaemonAppears(t *testing.T) {
	w := c.worker("job-daemon")
	o := w.publish()
	p := w.pod(1)
	c.eventually("the Lease can be renewed", func() string { // another loop of the bridge makes it
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.LeaseName(w.name)}}
		if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(lease), lease); err != nil {
			return err.Error()
		}
		lease.Spec.HolderIdentity, lease.Spec.RenewTime = new(w.name), new(metav1.NowMicro())
		if err := w.client.Update(t.Context(), lease); err != nil {
			return err.Error()
		}
		return ""
	})
	w.shows("1 leaving")
	w.gone(p)
	w.shows("")
	w.say(w.report(o, v1.StateConfigured, v1.ReasonConfigured))
	w.becomes(done)
	w.change("two")
	w.becomes("InProgress Ready=False Applying 0/2 generation 2")
	time.Sleep(time.Second) // likewise
	w.shows("")
}

func (c *cluster) aNodeThatIsGone(t *testing.T) {
	w := c.worker("job-gone")
	w.publish()
	w.pod(1)
	if err := c.admin.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: w.name}}); err != nil {
		t.Fatal(err)
	}
	w.shows("1 leaving")
}
