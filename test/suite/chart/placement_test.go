package chart

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multinicd/test/bed"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/kubelet"
)

// placed is a cluster whose Nodes have no kubelet: its own scheduler says where Pods would run.
type placed struct {
	*controlplane.Cluster
	t     *testing.T
	helm  string
	nodes []string
}

// node makes a Node that is ready, until it has not said so for a minute.
func (p *placed) node(name string, labels map[string]string, taints ...corev1.Taint) {
	p.t.Helper()
	all := map[string]string{corev1.LabelHostname: name}
	maps.Copy(all, labels)
	room := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("100")}
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: all}, Spec: corev1.NodeSpec{Taints: taints}, Status: corev1.NodeStatus{
		Capacity: room, Allocatable: room, Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()}},
	}}
	if err := p.Post(p.t.Context(), "/api/v1/nodes", &n); err != nil {
		p.t.Fatal(err)
	}
	p.nodes = append(p.nodes, name)
	bed.Eventually(p.t, "the controllers know that "+name+" is ready", "", func() string {
		var now corev1.Node
		if err := p.Get(p.t.Context(), "/api/v1/nodes/"+name, &now); err != nil {
			return err.Error()
		}
		if len(now.Spec.Taints) > len(taints) {
			return fmt.Sprint(now.Spec.Taints)
		}
		return ""
	})
}

// beat has every Node say that it is ready.
func (p *placed) beat() {
	p.t.Helper()
	now := time.Now().UTC().Format(time.RFC3339)
	args := append([]string{"patch", "nodes"}, p.nodes...)
	if out, err := p.Kubectl(p.t.Context(), append(args, "--subresource=status", "-p",
		fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":%q}]}}`, now))...); err != nil {
		p.t.Fatalf("%v\n%s", err, out)
	}
}

// runs gives the Nodes to which the scheduler gives the Pods of a template, of which there are so many, or what it says where it gives them to none.
func (p *placed) runs(template string, most int, values ...string) string {
	p.t.Helper()
	p.beat()
	cmd := exec.CommandContext(p.t.Context(), p.helm, append([]string{"template", "multinic", "charts/multinic", "--namespace", system, "--show-only", "templates/" + template}, values...)...)
	cmd.Dir = bed.Path(p.t, ".")
	manifest, err := cmd.Output()
	if err != nil {
		p.t.Fatal(err)
	}
	if out, err := p.Apply(p.t.Context(), string(manifest)); err != nil {
		p.t.Fatalf("%v\n%s", err, out)
	}
	defer func() {
		for _, what := range []string{"deployments", "pods"} {
			if out, err := p.Kubectl(context.WithoutCancel(p.t.Context()), "delete", what, "-n", system, "--all", "--force", "--wait=true"); err != nil {
				p.t.Fatalf("%v\n%s", err, out)
			}
		}
	}()
	var said string
	bed.Eventually(p.t, "the scheduler has decided", "", func() string {
		var pods corev1.PodList
		if err := p.Get(p.t.Context(), "/api/v1/namespaces/"+system+"/pods", &pods); err != nil {
			return err.Error()
		}
		var all []string
		for _, pod := range pods.Items {
			for _, c := range pod.Status.Conditions {
				switch {
				case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionTrue:
					all = append(all, pod.Spec.NodeName)
				case c.Type == corev1.PodScheduled:
					all = append(all, c.Reason)
				}
			}
		}
		slices.Sort(all)
		if said = strings.Join(all, " "); len(all) < most {
			return fmt.Sprintf("%d Pods, decided: %q", len(pods.Items), said)
		}
		return ""
	})
	return said
}

// Root on the machine of a replica has the bridge's token, or the door's, so that is no worker.
func TestTheBridgeAndTheDoorRunOnTheControlPlane(t *testing.T) {
	t.Parallel()
	const role = "node-role.kubernetes.io/control-plane"
	taint := func(key string, effect corev1.TaintEffect) corev1.Taint {
		return corev1.Taint{Key: key, Effect: effect}
	}
	p := &placed{Cluster: bed.New(t).OwnCluster(controlplane.Options{}), t: t}
	var err error
	if p.helm, err = kubelet.Helm(t.Context(), t.Logf); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"create", "namespace", system}, {"create", "serviceaccount", "multinic-bridge", "-n", system},
		{"create", "serviceaccount", "multinic-credentials", "-n", system}} {
		if out, err := p.Kubectl(t.Context(), args...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	off := []string{"--set", "bridge.controlPlane=false"}
	p.node("worker-1", nil)
	p.node("worker-2", map[string]string{"zone": "a"})
	want := func(sentence, want string, values ...string) {
		t.Helper()
		if got := p.runs("deployment.yaml", 4, values...); got != want {
			t.Errorf("%s: the Pods run on %q, want %q", sentence, got, want)
		}
	}
	door := func(sentence, want string, values ...string) {
		t.Helper()
		if got := p.runs("intake.yaml", 2, append([]string{"--set", "intake.enabled=true"}, values...)...); got != want {
			t.Errorf("%s: the Pods of the door run on %q, want %q", sentence, got, want)
		}
	}
	want("no control plane that can be used", "Unschedulable Unschedulable Unschedulable Unschedulable")
	want("the same, and the value says so", "worker-1 worker-1 worker-2 worker-2", off...)
	want("the same, with a selector", "worker-2 worker-2 worker-2 worker-2", append(off, "--set", "bridge.nodeSelector.zone=a")...)
	door("no control plane that can be used", "Unschedulable Unschedulable")
	door("the same, and the value says so", "worker-1 worker-2", "--set", "intake.controlPlane=false")
	p.node("kubeadm", map[string]string{role: ""}, taint(role, corev1.TaintEffectNoSchedule))
	want("one Node of kubeadm", "kubeadm kubeadm kubeadm kubeadm")
	p.node("rke2", map[string]string{role: "true"}, taint(role, corev1.TaintEffectNoSchedule), taint("node-role.kubernetes.io/etcd", corev1.TaintEffectNoExecute))
	want("a machine for each replica", "kubeadm kubeadm rke2 rke2")
	door("a machine for each replica", "kubeadm rke2")
	p.node("k3s", map[string]string{role: "true", "distribution": "k3s"}, corev1.Taint{Key: "CriticalAddonsOnly", Value: "true", Effect: corev1.TaintEffectNoExecute})
	want("one of k3s by its name", "k3s k3s k3s k3s", "--set", "bridge.nodeSelector.distribution=k3s")
	want("other machines by an affinity of one's own", "worker-2 worker-2 worker-2 worker-2", "--set-json",
		`bridge.affinity={"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"zone","operator":"Exists"}]}]}}}`)
}
