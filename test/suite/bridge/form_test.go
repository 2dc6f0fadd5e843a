package bridge

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/deploy"
	"multinicd/internal/bridge"
	"multinicd/internal/bridge/jobs"
)

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
	if out, err := c.Apply(t.Context(), "{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: form-runtime}, handler: x}"); err != nil {
		t.Fatal(out, err)
	}
	good := func() (*batchv1.Job, *corev1.Pod) {
		j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: "form-try"}, Spec: *made.Spec.DeepCopy()}
		j.Spec.Selector, j.Spec.Template.Labels = nil, nil
		return j, &corev1.Pod{ObjectMeta: j.ObjectMeta, Spec: *j.Spec.Template.Spec.DeepCopy()}
	}
	for name, change := range moreThanTheForm {
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
	c.noNameIsLeftOut(good)
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
	asBridge := c.as("system:serviceaccount:" + v1.SystemNamespace + ":" + v1.CredentialsAccount)
	if err := asBridge.Create(t.Context(), &corev1.Pod{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}, client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("the bridge makes a Pod itself: %v", err)
	}
	c.anotherImage(w.pods()[0])
}

// anotherImage changes the one that the policies let through, and then has none: what runs may end, and nothing is made.
func (c *cluster) anotherImage(running corev1.Pod) {
	c.t.Helper()
	image := func(image string) {
		c.t.Helper()
		if out, err := c.Kubectl(c.t.Context(), "patch", "configmap", "multinic-jobs", "-n", v1.SystemNamespace, "--type=merge", "-p", `{"data":{"image":"`+image+`"}}`); err != nil {
			c.t.Fatal(out, err)
		}
	}
	image("registry.example.com/another:test")
	c.startBridgeWith(bridge.Options{Jobs: jobs.Options{Execution: jobs.ExecutionJob, Image: jobImage}})
	other := c.worker("form-other")
	other.publish()
	c.eventually("the bridge says that another image is let through", func() string {
		out, err := c.Print(c.t.Context(), "/api/v1/namespaces/"+v1.SystemNamespace+"/events?fieldSelector=reason%3D"+v1.ReasonAdmissionMissing, "{.items[*].message}")
		if err != nil || !strings.Contains(out, "ConfigMap multinic-jobs says that the image is") {
			return fmt.Sprint(out, err)
		}
		return ""
	})
	other.shows("")
	image("")
	c.eventually("no Pod is let in without an image", func() string {
		again := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: "form-try"}, Spec: *running.Spec.DeepCopy()}
		if err := c.admin.Create(c.t.Context(), again, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "because Jobs are off") {
			return fmt.Sprint("got ", err)
		}
		return ""
	})
	// A controller takes the finalizer of a Pod that has ended, whatever its image was.
	body := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":[]}}`))
	if err := c.admin.Patch(c.t.Context(), running.DeepCopy(), body, client.DryRunAll); err != nil {
		c.t.Errorf("the metadata of a Pod of a former image cannot be changed: %v", err)
	}
	c.withJobs()
}

// probeName is a name that stands in a policy.
var probeName = regexp.MustCompile(`multinic-probe-[a-z-]+`)

// noNameIsLeftOut tries a Pod and a Job of every name that a policy names, as a dry run and in earnest. Each would be root on its node.
func (c *cluster) noNameIsLeftOut(good func() (*batchv1.Job, *corev1.Pod)) {
	c.t.Helper()
	names := probeName.FindAllString(deploy.Admission+deploy.NodeLabel, -1)
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) < 8 {
		c.t.Fatalf("the policies name %q", names)
	}
	for _, name := range names {
		job, pod := good()
		job.Name, pod.Name = name, name
		for _, spec := range []*corev1.PodSpec{&job.Spec.Template.Spec, &pod.Spec} {
			spec.HostPID, spec.Containers[0].Image = true, "evil"
		}
		for what, fresh := range map[string]func() client.Object{
			"Job": func() client.Object { return job.DeepCopy() }, "Pod": func() client.Object { return pod.DeepCopy() },
		} {
			for how, options := range map[string][]client.CreateOption{"tried": {client.DryRunAll}, "made": nil} {
				o := fresh()
				err := c.admin.Create(c.t.Context(), o, options...)
				if err == nil || !strings.Contains(err.Error(), "denied request") {
					c.t.Errorf("a %s called %s is %s: %v", what, name, how, err)
				}
				if err == nil && options == nil {
					_ = c.admin.Delete(c.t.Context(), o, client.GracePeriodSeconds(0))
				}
			}
		}
	}
}

// moreThanTheForm are the ways in which a Pod can be more than the bridge's own; "" is the bridge's own. The volumes are, in order, the token,
// /etc and /run, as internal/bridge/jobs has them.
var moreThanTheForm = map[string]func(*corev1.PodSpec){
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
	"a working directory":             func(p *corev1.PodSpec) { p.Containers[0].WorkingDir = "/host/etc/x" },
	"another file for its last words": func(p *corev1.PodSpec) { p.Containers[0].TerminationMessagePath = "/host/etc/nologin" },
	"a terminal":                      func(p *corev1.PodSpec) { p.Containers[0].TTY = true },
	"an open input":                   func(p *corev1.PodSpec) { p.Containers[0].Stdin = true },
	"no seccomp profile":              func(p *corev1.PodSpec) { p.SecurityContext.SeccompProfile = nil },
	"the seccomp profile Unconfined":  func(p *corev1.PodSpec) { p.SecurityContext.SeccompProfile.Type = corev1.SeccompProfileTypeUnconfined },
	"a container with the seccomp profile Unconfined": func(p *corev1.PodSpec) {
		p.Containers[0].SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
	},
	"an AppArmor profile of the host": func(p *corev1.PodSpec) {
		p.Containers[0].SecurityContext.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: new("x")}
	},
	"another SELinux type":       func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.SELinuxOptions.Type = "container_init_t" },
	"an SELinux level":           func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.SELinuxOptions.Level = "s0" },
	"the Pod's own SELinux type": func(p *corev1.PodSpec) { p.SecurityContext.SELinuxOptions = &corev1.SELinuxOptions{Type: "spc_t"} },
	"a group for its files":      func(p *corev1.PodSpec) { p.SecurityContext.FSGroup = new(int64(1)) },
	"a further group":            func(p *corev1.PodSpec) { p.SecurityContext.SupplementalGroups = []int64{1} },
	"another runtime":            func(p *corev1.PodSpec) { p.RuntimeClassName = new("form-runtime") },
	"names of its own": func(p *corev1.PodSpec) {
		p.HostAliases = []corev1.HostAlias{{IP: "192.0.2.1", Hostnames: []string{"api"}}}
	},
	"name servers of its own": func(p *corev1.PodSpec) { p.DNSConfig = &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.1"}} },
	"the host's /run in the place of /etc": func(p *corev1.PodSpec) {
		m := p.Containers[0].VolumeMounts
		m[1].MountPath, m[2].MountPath = m[2].MountPath, m[1].MountPath
	},
	"the host's /etc where the container looks for its program": func(p *corev1.PodSpec) { p.Containers[0].VolumeMounts[1].MountPath = "/" },
	"the token among the host's files":                          func(p *corev1.PodSpec) { p.Containers[0].VolumeMounts[0].MountPath = "/host/etc/multinicd" },
	"the token to write":                                        func(p *corev1.PodSpec) { p.Containers[0].VolumeMounts[0].ReadOnly = false },
	"the token under another name":                              func(p *corev1.PodSpec) { p.Volumes[0].Projected.Sources[0].ServiceAccountToken.Path = "multinicd.toml" },
	"the CA under another name":                                 func(p *corev1.PodSpec) { p.Volumes[0].Projected.Sources[1].ConfigMap.Items[0].Path = "multinicd.toml" },
	"another key as the CA":                                     func(p *corev1.PodSpec) { p.Volumes[0].Projected.Sources[1].ConfigMap.Items[0].Key = "evil" },
	"a CA that can be run":                                      func(p *corev1.PodSpec) { p.Volumes[0].Projected.Sources[1].ConfigMap.Items[0].Mode = new(int32(0o755)) },
	"files that can be run":                                     func(p *corev1.PodSpec) { p.Volumes[0].Projected.DefaultMode = new(int32(0o755)) },
	"all of a ConfigMap":                                        func(p *corev1.PodSpec) { p.Volumes[0].Projected.Sources[1].ConfigMap.Items = nil },
	"the Pod's own names as files": func(p *corev1.PodSpec) {
		p.Volumes[0].Projected.Sources[1] = corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{
			Items: []corev1.DownwardAPIVolumeFile{{Path: "x", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}}
	},
	"a folder that is made on the host": func(p *corev1.PodSpec) { p.Volumes[1].HostPath.Type = new(corev1.HostPathDirectoryOrCreate) },
}
