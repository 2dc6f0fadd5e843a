package rollout

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

// One node is let through, is alive, and says nothing more. The next one gets its
// turn after the patience, by the loop's own asking, whichever bridge counts, also
// where the release could not be written into the object.
func TestANodeThatDoesNotSettleLetsTheNextOneThrough(t *testing.T) {
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	for sentence, row := range map[string]struct {
		written, restarted bool
	}{
		"":                               {written: true},
		"after a restart of the bridge":  {written: true, restarted: true},
		"whose status cannot be written": {},
	} {
		t.Run(sentence, func(t *testing.T) {
			now := bridgetest.Noon
			objects := map[string]*v1.MultiNicNodeConfig{}
			builder := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1.MultiNicNodeConfig{})
			for _, name := range []string{"a", "b", "c"} {
				o := bridgetest.Object(2, func(o *v1.MultiNicNodeConfig) {
					o.ObjectMeta = metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: name, UID: types.UID(name), Generation: 2}
					o.Status = v1.MultiNicNodeConfigStatus{ObservedGeneration: 1, ReleasedGeneration: 1, State: v1.StateConfigured, LastProcessed: new(metav1.NewTime(now))}
				})
				objects[name] = o
				builder = builder.WithObjects(o)
			}
			cl := builder.Build()
			var said *events.FakeRecorder
			start := func() *Loop {
				said = events.NewFakeRecorder(100)
				return &Loop{Client: cl, Log: slog.New(slog.DiscardHandler), Events: said, Options: Options{Max: "1", StopAfter: 2}, Now: func() time.Time { return now },
					Reachable: func(context.Context, *v1.MultiNicNodeConfig) (bool, error) { return true, nil },
					Wake:      make(chan event.TypedGenericEvent[*v1.MultiNicNodeConfig], 100)}
			}
			r := start()
			// pass lets time pass as the loop asks for it, and writes what it releases.
			pass := func(until time.Time) (released string) {
				t.Helper()
				for !now.After(until) {
					result, err := r.Reconcile(t.Context(), reconcile.Request{})
					if err != nil {
						t.Fatal(err)
					}
					for len(r.Wake) > 0 {
						name := (<-r.Wake).Object.Name
						released += name
						if o := objects[name]; row.written {
							if err := cl.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
								t.Fatal(err)
							}
							o.Status.ReleasedGeneration, o.Status.ReleasedAt = 2, new(metav1.NewTime(now))
							if err := cl.Status().Update(t.Context(), o); err != nil {
								t.Fatal(err)
							}
						}
					}
					if result.RequeueAfter == 0 {
						return released
					}
					now = now.Add(result.RequeueAfter)
				}
				return released
			}
			if got := pass(bridgetest.Noon.Add(Patience / 2)); got != "a" {
				t.Fatalf("released: %q, want a alone", got)
			}
			if row.restarted {
				r = start()
			}
			if got := pass(bridgetest.Noon.Add(Patience - 10*time.Second)); got != "" {
				t.Fatalf("released within the patience: %q, want none", got)
			}
			if got := pass(bridgetest.Noon.Add(Patience + 10*time.Second)); got != "b" {
				t.Fatalf("released after the patience: %q, want b", got)
			}
			if row.restarted {
				return
			}
			if got := pass(bridgetest.Noon.Add(3 * Patience)); got != "" {
				t.Errorf("released after two are stuck: %q, want none", got)
			}
			out := r.Last()
			if len(out.Stuck) != 2 || out.Failed != 2 || !out.Stopped {
				t.Errorf("in the end: %s", briefRollout(out))
			}
			var told []string
			for len(said.Events) > 0 {
				told = append(told, <-said.Events)
			}
			text := strings.Join(told, "\n")
			if strings.Count(text, "RolloutStuck") != 2 || !strings.Contains(text, "generation 2 was released, and a has not settled on it within 10m0s") ||
				!strings.Contains(text, "generation 2 was released, and b has") || strings.Count(text, "RolloutStopped") != 1 || !strings.Contains(text, "2 nodes have failed (a, b), 1 wait") {
				t.Errorf("Events:\n%s", text)
			}
		})
	}
}

// A bridge that was away for longer than the patience, or an API server, finds
// statuses that say nothing of what has happened meanwhile. Whoever has settled has
// not been heard yet, and is not stuck.
func TestABridgeThatWasAwayHearsTheNodesFirst(t *testing.T) {
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	now := bridgetest.Noon.Add(3 * time.Hour)
	builder := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1.MultiNicNodeConfig{})
	objects := map[string]*v1.MultiNicNodeConfig{}
	for _, name := range []string{"heard", "stuck", "waits"} {
		o := bridgetest.Object(2, func(o *v1.MultiNicNodeConfig) {
			o.ObjectMeta = metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: name, UID: types.UID(name), Generation: 2}
			o.Status = v1.MultiNicNodeConfigStatus{ObservedGeneration: 2, ReleasedGeneration: 2, ReleasedAt: new(metav1.NewTime(bridgetest.Noon)), ReportLevel: v1.ReportLevel,
				State: v1.StateInProgress, LastProcessed: new(metav1.NewTime(bridgetest.Noon))}
			if name == "waits" {
				o.Status.ReleasedGeneration, o.Status.ReleasedAt, o.Status.State = 1, nil, v1.StatePending
				o.Status.InterfaceStatuses = []v1.InterfaceStatus{bridgetest.NIC(1, v1.StatePending, v1.ReasonWaitingForRelease, "")}
			}
		})
		objects[name], builder = o, builder.WithObjects(o)
	}
	cl := builder.Build()
	told := events.NewFakeRecorder(100)
	r := &Loop{Client: cl, Log: slog.New(slog.DiscardHandler), Events: told, Options: Options{Max: "2", StopAfter: 1}, Now: func() time.Time { return now },
		Reachable: func(context.Context, *v1.MultiNicNodeConfig) (bool, error) { return true, nil },
		Wake:      make(chan event.TypedGenericEvent[*v1.MultiNicNodeConfig], 100)}
	look := func(sentence, want string) {
		t.Helper()
		if _, err := r.Reconcile(t.Context(), reconcile.Request{}); err != nil {
			t.Fatal(err)
		}
		if got := briefRollout(r.Last()); got != want {
			t.Errorf("%s: %s, want %s", sentence, got, want)
		}
	}
	look("at the start", "release, 1 wait, 2 change")
	now = now.Add(rolloutHears - time.Second)
	o := objects["heard"]
	if err := cl.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	o.Status.State, o.Status.ReleasedAt = v1.StateConfigured, nil
	if err := cl.Status().Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	look("one is heard", "release, 1 wait, 1 change")
	if len(told.Events) > 0 {
		t.Errorf("before all could be heard: %s", <-told.Events)
	}
	now = now.Add(time.Second)
	look("all could be heard", "release, 1 wait, 0 change, 1 failed, stuck stuck, stopped")
}

// Nobody is told of a release by a pass that is cut off: the next pass makes it again.
func TestAReleaseThatWakesNobodyIsNone(t *testing.T) {
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	o := bridgetest.Object(1, func(o *v1.MultiNicNodeConfig) { o.Namespace = v1.SystemNamespace })
	r := &Loop{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(o).Build(), Log: slog.New(slog.DiscardHandler), Events: events.NewFakeRecorder(100),
		Options: Options{Max: "1"}, Now: time.Now, Wake: make(chan event.TypedGenericEvent[*v1.MultiNicNodeConfig]),
		Reachable: func(context.Context, *v1.MultiNicNodeConfig) (bool, error) { return true, nil }}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Reconcile(over, reconcile.Request{}); err == nil || r.Released(o) != -1 {
		t.Errorf("it gives %v, and %d is released", err, r.Released(o))
	}
}
