package controller

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
)

// No event comes of a delete that the API server could not do: who does not try again leaves a Job that works on, a run for good, a right that nobody
// shall have any more.
func TestADeleteThatMeetsAConflictIsTriedAgain(t *testing.T) {
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	const node = "n"
	now := time.Now().Truncate(time.Second)
	clock := func() time.Time { return now }
	log := slog.New(slog.DiscardHandler)
	in := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "uid"}
	}
	long := metav1.NewTime(now.Add(-2 * time.Hour))
	run := &v1.MultiNicNodeRun{ObjectMeta: in(v1.SystemNamespace, "run"), Spec: v1.MultiNicNodeRunSpec{Node: node, Action: v1.ActionTrigger},
		Status: v1.MultiNicNodeRunStatus{State: v1.RunSucceeded, ExitCode: new(int32(0)), FinishedAt: &long}}
	job := newJob(node, JobKey{UID: "object", Generation: 1}, JobOptions{Image: "x"}, now)
	job.UID = "uid"
	i := identity{name: node, notes: map[string]string{sinceAnnotation: now.Add(-25 * time.Hour).UTC().Format(time.RFC3339), objectAnnotation: "object"}}
	credentials := func(cl client.Client) reconcile.Reconciler {
		return &credentialLoop{client: cl, log: log, now: clock, pulses: newPulses(), maker: &maker{client: cl, now: clock}, inForce: inForce}
	}
	kept := []client.Object{i.account()}
	kept = append(append(kept, i.rights()...), i.mailboxes()...)
	for _, o := range kept {
		o.SetUID("uid")
	}

	for sentence, row := range map[string]struct {
		objects []client.Object
		refused client.Object // the delete of this one meets the conflict
		loop    func(client.Client) reconcile.Reconciler
		request client.ObjectKey
	}{
		"of a Job whose object is gone": {[]client.Object{job}, job, func(cl client.Client) reconcile.Reconciler {
			return &jobLoop{client: cl, reader: cl, log: log, now: clock, pulses: newPulses(), counted: prometheus.NewCounterVec(prometheus.CounterOpts{}, []string{"what"}),
				inForce: inForce, options: JobOptions{Execution: ExecutionAuto}}
		}, client.ObjectKey{Namespace: v1.SystemNamespace, Name: node}},
		"of a run that ended long ago": {[]client.Object{run}, run, func(cl client.Client) reconcile.Reconciler {
			return &runLoop{client: cl, reader: cl, log: log, now: clock, ended: prometheus.NewCounterVec(prometheus.CounterOpts{}, []string{"action", "exit_code"})}
		}, client.ObjectKeyFromObject(run)},
		"of an identity, at its ServiceAccount": {kept, kept[0], credentials, client.ObjectKey{Namespace: v1.NodesNamespace, Name: node}},
		"of an identity, at its last part":      {kept, kept[len(kept)-1], credentials, client.ObjectKey{Namespace: v1.NodesNamespace, Name: node}},
	} {
		t.Run(sentence, func(t *testing.T) {
			conflicts := 0
			builder := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1.MultiNicNodeRun{})
			for _, o := range []client.Object{&batchv1.Job{}, &corev1.Pod{}} {
				builder = builder.WithIndex(o, jobIndex, func(o client.Object) []string { return []string{nodeOfJob(o)} })
			}
			builder = builder.WithIndex(&v1.MultiNicNodeRun{}, nodeIndex, func(client.Object) []string { return []string{node} })
			for _, o := range row.objects {
				builder = builder.WithObjects(copied(t, o))
			}
			cl := builder.WithInterceptorFuncs(interceptor.Funcs{
				Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
					if id(o) == id(row.refused) {
						if conflicts++; conflicts == 1 {
							return apierrors.NewConflict(schema.GroupResource{}, o.GetName(), context.DeadlineExceeded)
						}
					}
					return c.Delete(ctx, o, opts...)
				},
			}).Build()
			loop := row.loop(cl)
			first, err := loop.Reconcile(t.Context(), reconcile.Request{NamespacedName: row.request})
			if err != nil || first.RequeueAfter != conflictRetry {
				t.Errorf("after the conflict: again in %s, %v; want %s", first.RequeueAfter, err, conflictRetry)
			}
			if _, err := loop.Reconcile(t.Context(), reconcile.Request{NamespacedName: row.request}); err != nil {
				t.Fatal(err)
			}
			for _, o := range row.objects {
				if err := cl.Get(t.Context(), client.ObjectKeyFromObject(o), copied(t, o)); !apierrors.IsNotFound(err) {
					t.Errorf("%s is still there: %v", id(o), err)
				}
			}
			if conflicts != 2 {
				t.Errorf("%d deletes of it; want one that met the conflict, and one after it", conflicts)
			}
		})
	}
}

// copied is o for a client of its own.
func copied(t *testing.T, o client.Object) client.Object {
	t.Helper()
	c, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		t.Fatalf("a copy of %s is no object", id(o))
	}
	return c
}

// inForce says that the admission policies are.
func inForce(context.Context) error { return nil }
