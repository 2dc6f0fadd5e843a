package bridge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/internal/bridge/jobs"
	"multinicd/test/bed"
)

// jobImage is that of the ConfigMap in these tests.
const jobImage = "registry.example.com/multinicd:test"

// withJobs lets the bridge make Jobs, by the manifest that is for it.
func (c *cluster) withJobs() {
	c.t.Helper()
	if _, err := c.Kubectl(c.t.Context(), "apply", "--server-side", "--force-conflicts", "-f", bed.Path(c.t, "deploy/jobs.yaml")); err != nil {
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

// Whoever makes it, and in whichever way it is more than the bridge's own.
func TestPodsAndJobsOfTheNodesAreHeldToOneForm(t *testing.T) {
	c := newCluster(t)
	c.withJobs()
	w := c.worker("form")
	stop := c.startBridgeWith(bridge.Options{Jobs: jobs.Options{Execution: jobs.ExecutionJob, Image: jobImage}})
	w.publish()
	w.pod(1) // which the bridge has made once the policies were in force
	stop()
	made := w.jobs()[0]
	good := func() (*batchv1.Job, *corev1.Pod) {
		j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: "form-try"}, Spec: *made.Spec.DeepCopy()}
		j.Spec.Selector, j.Spec.Template.Labels = nil, nil
		return j, &corev1.Pod{ObjectMeta: j.ObjectMeta, Spec: *j.Spec.Template.Spec.DeepCopy()}
	}
	for name, change := range map[string]func(*corev1.PodSpec){
		"":                func(*corev1.PodSpec) {},
		"another image":   func(p *corev1.PodSpec) { p.Containers[0].Image = "evil" },
		"a command":       func(p *corev1.PodSpec) { p.Containers[0].Command = []string{"sh"} },
		"other arguments": func(p *corev1.PodSpec) { p.Containers[0].Args = []string{"apply", "-f", "/host/etc/x"} },
		"another variable": func(p *corev1.PodSpec) {
			p.Containers[0].Env = append(p.Containers[0].Env, corev1.EnvVar{Name: "X", Value: "y"})
		},
		"another node's name": func(p *corev1.PodSpec) { p.Containers[0].Env[1].Value = "other" },
		"a second container": func(p *corev1.PodSpec) {
			p.Containers = append(p.Containers, corev1.Container{Name: "x", Image: jobImage})
		},
		"an init container": func(p *corev1.PodSpec) { p.InitContainers = []corev1.Container{{Name: "x", Image: jobImage}} },
		"a privileged container": func(p *corev1.PodSpec) {
			p.Containers[0].SecurityContext.Privileged = new(true)
			p.Containers[0].SecurityContext.AllowPrivilegeEscalation = new(true)
		},
		"a further capability": func(p *corev1.PodSpec) {
			p.Containers[0].SecurityContext.Capabilities.Add = []corev1.Capability{"SYS_ADMIN"}
		},
		"the host's processes": func(p *corev1.PodSpec) { p.HostPID = true },
		"a hook": func(p *corev1.PodSpec) {
			p.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}}
		},
		"another ServiceAccount": func(p *corev1.PodSpec) { p.ServiceAccountName = "default" },
		"another node":           func(p *corev1.PodSpec) { p.NodeName = "other" },
		"no node":                func(p *corev1.PodSpec) { p.NodeName = "" },
		"a token by itself":      func(p *corev1.PodSpec) { p.AutomountServiceAccountToken = nil },
		"a token for another":    func(p *corev1.PodSpec) { p.Volumes[0].Projected.Sources[0].ServiceAccountToken.Audience = "vault" },
		"the host's root":        func(p *corev1.PodSpec) { p.Volumes[1].HostPath.Path = "/" },
		"a Secret": func(p *corev1.PodSpec) {
			p.Volumes[1].VolumeSource = corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "x"}}
		},
		"what is for reading, to write": func(p *corev1.PodSpec) {
			for i := range p.Containers[0].VolumeMounts {
				p.Containers[0].VolumeMounts[i].ReadOnly = false
			}
		},
	} {
		j, p := good()
		change(&j.Spec.Template.Spec)
		change(&p.Spec)
		for what, o := range map[string]client.Object{"Job": j, "Pod": p} {
			err := c.admin.Create(t.Context(), o, client.DryRunAll)
			refused := err != nil && strings.Contains(err.Error(), "multinic-workloads") && strings.Contains(err.Error(), "denied request")
			if name == "" && err != nil || name != "" && !refused {
				t.Errorf("a %s with %q: %v", what, name, err)
			}
		}
	}
	labels := map[string]string{"a": "b"}
	_, pod := good()
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod.Spec}
	template.Spec.RestartPolicy = corev1.RestartPolicyAlways
	for what, o := range map[string]client.Object{
		"ReplicationController": &corev1.ReplicationController{Spec: corev1.ReplicationControllerSpec{Selector: labels, Template: &template}},
		"PodTemplate":           &corev1.PodTemplate{Template: template},
		"CronJob":               &batchv1.CronJob{Spec: batchv1.CronJobSpec{Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: pod.Spec}}}}},
	} {
		o.SetNamespace(v1.NodesNamespace)
		o.SetName("form-try")
		if err := c.admin.Create(t.Context(), o, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "no other workload") {
			t.Errorf("a %s: %v", what, err)
		}
	}
	for _, kind := range []string{"deployment", "statefulset", "daemonset", "replicaset"} {
		yaml := fmt.Sprintf(`{apiVersion: apps/v1, kind: %s, metadata: {name: form-try, namespace: multinic-nodes}, spec: {serviceName: x, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: x, image: x}]}}}}`,
			map[string]string{"deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet", "replicaset": "ReplicaSet"}[kind])
		if out, err := c.Apply(t.Context(), yaml, "--validate=false", "--dry-run=server"); err == nil || !strings.Contains(out+err.Error(), "no other workload") {
			t.Errorf("a %s: %s %v", kind, out, err)
		}
	}
	if out, err := c.Kubectl(t.Context(), "exec", "-n", v1.NodesNamespace, w.pods()[0].Name, "--", "id"); err == nil || !strings.Contains(out+err.Error(), "nobody enters them") {
		t.Errorf("exec: %s %v", out, err)
	}
	asBridge := c.as("system:serviceaccount:" + v1.SystemNamespace + ":multinic-bridge")
	for what, rule := range map[string][2]string{"Jobs": {"batch", "jobs"}, "Pods": {"", "pods"}} {
		_, err := c.Apply(t.Context(), fmt.Sprintf(`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: form-try, namespace: multinic-nodes}, rules: [{apiGroups: [%q], resources: [%q], verbs: [get]}]}`, rule[0], rule[1]),
			"--as=system:serviceaccount:multinic-system:multinic-bridge", "--dry-run=server")
		if err == nil || !strings.Contains(err.Error(), "no Role that the bridge makes names Jobs or Pods") {
			t.Errorf("the bridge makes a Role that names %s: %v", what, err)
		}
	}
	if err := asBridge.Create(t.Context(), &corev1.Pod{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}, client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("the bridge makes a Pod itself: %v", err)
	}
}
