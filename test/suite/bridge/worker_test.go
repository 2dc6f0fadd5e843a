package bridge

import (
	"context"
	"fmt"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// worker is a node with a kubelet, which the test plays.
type worker struct{ *node }

// worker makes the Node and the ServiceAccount, which credentials are not the
// subject of these tests.
func (c *cluster) worker(name string) worker {
	c.t.Helper()
	n := c.node(name)
	made := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := c.admin.Create(c.t.Context(), made); err != nil {
		c.t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.ServiceAccountName(name)}}
	body := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"multinic.io/component":"node"}}}`))
	if err := c.admin.Patch(c.t.Context(), account, body); err != nil {
		c.t.Fatal(err)
	}
	w := worker{n}
	c.t.Cleanup(func() {
		ctx := context.WithoutCancel(c.t.Context())
		for _, j := range w.jobs() {
			_ = c.admin.Delete(ctx, &j, client.PropagationPolicy(metav1.DeletePropagationBackground))
		}
		for _, p := range w.pods() {
			_ = c.admin.Delete(ctx, &p, client.GracePeriodSeconds(0))
		}
		_ = c.admin.Delete(ctx, made)
	})
	return w
}

// jobs of the node, the oldest first.
func (w worker) jobs() []batchv1.Job {
	var list batchv1.JobList
	if err := w.c.admin.List(context.WithoutCancel(w.c.t.Context()), &list, client.InNamespace(v1.NodesNamespace)); err != nil {
		w.c.t.Error(err)
	}
	list.Items = slices.DeleteFunc(list.Items, func(j batchv1.Job) bool { return j.Annotations[v1.NodeNameAnnotation] != w.name })
	slices.SortFunc(list.Items, func(a, b batchv1.Job) int { return strings.Compare(a.Name, b.Name) })
	return list.Items
}

func (w worker) pods() []corev1.Pod {
	var list corev1.PodList
	if err := w.c.admin.List(context.WithoutCancel(w.c.t.Context()), &list, client.InNamespace(v1.NodesNamespace)); err != nil {
		w.c.t.Error(err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.Spec.NodeName != w.name })
}

// show is what there is of Jobs: "1 running, 2 deleted".
func (w worker) show() string {
	var out []string
	for _, j := range w.jobs() {
		state := "running"
		for _, c := range j.Status.Conditions {
			if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) {
				state = strings.ToLower(string(c.Type))
			}
		}
		if j.DeletionTimestamp != nil {
			state = "leaving"
		}
		out = append(out, j.Annotations[v1.GenerationAnnotation]+" "+state)
	}
	return strings.Join(out, ", ")
}

func (w worker) shows(want string) {
	w.c.t.Helper()
	w.c.eventually("the Jobs of "+w.name+" are "+want, func() string {
		if got := w.show(); got != want {
			return "they are " + got
		}
		return ""
	})
}

// pod waits for a Pod of a generation's Job that has not ended, other than
// before.
func (w worker) pod(generation int64, before ...string) corev1.Pod {
	w.c.t.Helper()
	var found corev1.Pod
	w.c.eventually(fmt.Sprintf("there is a Pod of %s, generation %d", w.name, generation), func() string {
		for _, j := range w.jobs() {
			if j.Annotations[v1.GenerationAnnotation] != fmt.Sprint(generation) {
				continue
			}
			for _, p := range w.pods() {
				if p.Labels[batchv1.JobNameLabel] == j.Name && !slices.Contains(before, p.Name) && p.DeletionTimestamp == nil {
					found = p
					return ""
				}
			}
		}
		return "there is none"
	})
	return found
}

// ends plays the kubelet: the Pod's container ended.
func (w worker) ends(p corev1.Pod, code int32, words string) {
	w.c.t.Helper()
	w.state(p, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: words, FinishedAt: metav1.Now()}})
}

func (w worker) state(p corev1.Pod, s corev1.ContainerState) {
	w.c.t.Helper()
	p.Status.Phase = corev1.PodPending
	if s.Terminated != nil {
		if p.Status.Phase = corev1.PodFailed; s.Terminated.ExitCode == 0 {
			p.Status.Phase = corev1.PodSucceeded
		}
	}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "multinicd", State: s, Image: jobImage}}
	w.c.eventually("the status of Pod "+p.Name+" can be written", func() string {
		fresh := p.DeepCopy()
		if err := w.c.admin.Get(w.c.t.Context(), client.ObjectKeyFromObject(fresh), fresh); err != nil {
			return err.Error()
		}
		fresh.Status.Phase, fresh.Status.ContainerStatuses = p.Status.Phase, p.Status.ContainerStatuses
		if err := w.c.admin.Status().Update(w.c.t.Context(), fresh); err != nil {
			return err.Error()
		}
		return ""
	})
}

// works plays multinicd in the Pod.
func (w worker) works(o *v1.MultiNicNodeConfig, p corev1.Pod, s v1.State, reason string) {
	w.c.t.Helper()
	r := w.report(o, s, reason)
	r.Executor, r.JobName = v1.ExecutorJob, p.Labels[batchv1.JobNameLabel]
	w.say(r)
}

// gone plays the kubelet of a Pod that is deleted.
func (w worker) gone(p corev1.Pod) {
	w.c.t.Helper()
	if err := client.IgnoreNotFound(w.c.admin.Delete(w.c.t.Context(), &p, client.GracePeriodSeconds(0))); err != nil {
		w.c.t.Fatal(err)
	}
}

func (w worker) conditions() string {
	var out []string
	for _, c := range w.status().Conditions {
		out = append(out, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	return strings.Join(out, "\n")
}

func (w worker) says(text string) {
	w.c.t.Helper()
	w.c.eventually("the conditions of "+w.name+" say "+text, func() string {
		if got := w.conditions(); !strings.Contains(got, text) {
			return "they say " + got
		}
		return ""
	})
}
