package bridgetest

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// somewhere are times at which an event may wake a loop: before and after everything that a loop
// waits for.
var somewhere = []time.Duration{0, time.Second, time.Minute, v1.SilentAfter - time.Nanosecond, v1.SilentAfter, v1.SilentAfter + time.Nanosecond,
	7 * time.Minute, 59 * time.Minute, time.Hour, 25 * time.Hour, 30 * 24 * time.Hour}

// FewLooks is how many looks a node may cost in a quiet hour: a living node is judged every six
// minutes.
const FewLooks = 12

// QuietHours lets an hour pass, once from each of some times after start. In that hour only the
// loop wakes itself. There may be at most most looks in the hour, and at least a second between two
// of them.
func QuietHours(t *testing.T, start time.Time, most int, look func(now time.Time) reconcile.Result) {
	t.Helper()
	times := somewhere
	if most > FewLooks {
		times = []time.Duration{0, 25 * time.Hour} // it is the same each time, and takes long
	}
	for _, at := range times {
		now, looks := start.Add(at), 0
		for end := now.Add(time.Hour); now.Before(end); {
			r := look(now)
			if r.RequeueAfter == 0 {
				break
			}
			if r.RequeueAfter < time.Second {
				t.Fatalf("%s after the start: run again in %s", now.Sub(start), r.RequeueAfter)
			}
			if looks++; looks > most {
				t.Fatalf("%s after the start: in an hour without an event it looks more than %d times, the last time for in %s", at, most, r.RequeueAfter)
			}
			now = now.Add(r.RequeueAfter)
		}
	}
}

// World is what a loop has around it in a test.
type World struct {
	Client  client.Client
	Now     func() time.Time
	Pulses  *gather.Pulses
	InForce func(context.Context) error
	Log     *slog.Logger
}

// QuietRow is a loop, and a fleet of one node in a state that may last for days.
type QuietRow struct {
	Loop    func(World) reconcile.Reconciler
	Key     client.ObjectKey
	Objects []client.Object
	// Pulse is what the Lease said when it was first seen. "-" means that there is no Lease.
	Pulse string
	// Lawless: the admission policies are missing.
	Lawless bool
	// Most is how many looks there may be in a quiet hour. 0 means FewLooks.
	Most int
}

// LooksSeldom lets the loop of each row live through quiet hours from noon on. The key of a row is
// a sentence.
func LooksSeldom(t *testing.T, rows map[string]QuietRow) {
	t.Helper()
	for sentence, row := range rows {
		t.Run(sentence, func(t *testing.T) {
			now := Noon
			builder := NewBuilder(t)
			for _, o := range row.Objects {
				builder = builder.WithObjects(copied(t, o))
			}
			w := World{Client: builder.Build(), Now: func() time.Time { return now }, Pulses: gather.NewPulses(), Log: slog.New(slog.DiscardHandler)}
			w.InForce = func(context.Context) error {
				if row.Lawless {
					return errors.New("the admission policies are missing")
				}
				return nil
			}
			if row.Pulse != "-" {
				w.Pulses.Observe(Node, row.Pulse, Noon)
			}
			if row.Most == 0 {
				row.Most = FewLooks
			}
			loop := row.Loop(w)
			QuietHours(t, Noon, row.Most, func(at time.Time) reconcile.Result {
				now = at
				r, err := loop.Reconcile(t.Context(), reconcile.Request{NamespacedName: row.Key})
				if err != nil {
					t.Fatal(err)
				}
				return r
			})
		})
	}
}

// NewBuilder makes a client that knows all kinds of object of the loops, and has the indexes of the
// bridge's caches.
func NewBuilder(t *testing.T) *fake.ClientBuilder {
	t.Helper()
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).
		WithStatusSubresource(&v1.MultiNicNodeConfig{}, &v1.MultiNicNodeRun{}, &v1.NodeTokenRequest{}).
		WithIndex(&v1.MultiNicNodeRun{}, gather.RunIndex, func(o client.Object) []string {
			run, ok := o.(*v1.MultiNicNodeRun)
			if !ok {
				return nil
			}
			return []string{run.Spec.Node}
		})
	for _, o := range []client.Object{&batchv1.Job{}, &corev1.Pod{}} {
		builder = builder.WithIndex(o, gather.JobIndex, func(o client.Object) []string { return []string{gather.NodeOfJob(o)} })
	}
	return builder
}

// ObjectKey is the key of the node's object. NodeKey is the key of what else has the node's name.
var (
	ObjectKey = client.ObjectKey{Namespace: v1.SystemNamespace, Name: Node}
	NodeKey   = client.ObjectKey{Namespace: v1.NodesNamespace, Name: Node}
)

// InSystem is the metadata of an object in the system's namespace, made at noon.
func InSystem(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: name, UID: UID, Generation: 1, CreationTimestamp: metav1.NewTime(Noon)}
}

// InNodes is the metadata of an object in the nodes' namespace, made at noon. The uid is the name.
func InNodes(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(Noon)}
}

// StoredObject is the node's object as the API server has it.
func StoredObject() *v1.MultiNicNodeConfig {
	return Object(1, func(o *v1.MultiNicNodeConfig) { o.ObjectMeta = InSystem(Node) })
}

// StoredNode is the Node as the API server has it.
func StoredNode() *metav1.PartialObjectMetadata {
	n := gather.NodeShell()
	n.ObjectMeta = metav1.ObjectMeta{Name: Node, UID: "node", CreationTimestamp: metav1.NewTime(Noon)}
	return n
}

// StoredReport is the node's report of two NICs that are configured. change may alter it.
func StoredReport(t *testing.T, change ...func(*v1.Report)) *corev1.ConfigMap {
	t.Helper()
	r := Report(1, Configured(1), Configured(2))
	for _, c := range change {
		c(&r)
	}
	return &corev1.ConfigMap{ObjectMeta: InNodes(v1.ReportName(Node)), Data: map[string]string{v1.ReportKey: Text(t, r)}}
}

// FromJob makes the report one of a Job.
func FromJob(r *v1.Report) { r.Executor = v1.ExecutorJob }

// copied is a copy of o, for another client.
func copied(t *testing.T, o client.Object) client.Object {
	t.Helper()
	c, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		t.Fatalf("a copy of %s is no object", gather.ID(o))
	}
	return c
}

// InForce says that the admission policies are in force.
func InForce(context.Context) error { return nil }
