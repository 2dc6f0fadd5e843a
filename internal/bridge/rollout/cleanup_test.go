package rollout

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

func TestNoMoreNodesGiveTheirNICsBackAtOnceThanMayChange(t *testing.T) {
	c := func(node string, minute int, change ...func(*Cleanup)) Cleanup {
		out := Cleanup{Node: node, Run: types.UID(node), Made: bridgetest.Clock(time.Duration(minute) * time.Minute), Reachable: true}
		for _, f := range change {
			f(&out)
		}
		return out
	}
	asked := func(ago time.Duration) func(*Cleanup) { return func(c *Cleanup) { c.Asked, c.Held = true, ago } }
	away := func(c *Cleanup) { c.Reachable = false }
	for name, tt := range map[string]struct {
		all   []Cleanup
		limit int
		want  string
	}{
		"the oldest first":                         {[]Cleanup{c("a", 3), c("b", 1), c("c", 2)}, 2, "b c"},
		"of the same moment by name":               {[]Cleanup{c("b", 1), c("a", 1)}, 1, "a"},
		"who was asked has a place":                {[]Cleanup{c("a", 1, asked(time.Second)), c("b", 2), c("c", 3)}, 2, "b"},
		"there is no place":                        {[]Cleanup{c("a", 1, asked(0)), c("b", 2, asked(0)), c("c", 3)}, 1, ""},
		"who does not answer holds up nobody":      {[]Cleanup{c("a", 1, asked(Patience)), c("b", 2)}, 1, "b"},
		"where nobody would act is no place taken": {[]Cleanup{c("a", 1, away), c("b", 2)}, 1, "b"},
		"nobody wants anything":                    {nil, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, c := range NextCleanups(tt.all, tt.limit, Patience) {
				got = append(got, c.Node)
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("asked: %q, want %q", got, tt.want)
			}
		})
	}
}

// The brake lets one node after the other give its NICs back, also a bridge that has just started. A trigger waits for nobody.
func TestTheBrakeAsksForOneCleanupAfterTheOther(t *testing.T) {
	scheme, err := gather.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1.MultiNicNodeConfig{}, &v1.MultiNicNodeRun{})
	for i, name := range []string{"a", "b", "c"} {
		builder = builder.WithObjects(bridgetest.Object(1, func(o *v1.MultiNicNodeConfig) {
			o.ObjectMeta = metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: name, UID: types.UID(name), Generation: 1}
			o.Status = v1.MultiNicNodeConfigStatus{ObservedGeneration: 1, ReleasedGeneration: 1, State: v1.StateConfigured, LastProcessed: new(metav1.NewTime(bridgetest.Noon))}
		}))
		for _, action := range []v1.RunAction{v1.ActionTrigger, v1.ActionCleanup} {
			uid := fmt.Sprint(action, "-", name)
			builder = builder.WithObjects(&v1.MultiNicNodeRun{
				ObjectMeta: metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: uid, UID: types.UID(uid), CreationTimestamp: metav1.NewTime(bridgetest.Clock(time.Duration(i) * time.Second))},
				Spec:       v1.MultiNicNodeRunSpec{Node: name, Action: action},
			})
		}
	}
	cl := builder.Build()
	start := func() *Loop {
		return &Loop{Client: cl, Log: slog.New(slog.DiscardHandler), Events: events.NewFakeRecorder(100), Options: Options{Max: "1"}, Now: func() time.Time { return bridgetest.Noon },
			Reachable: func(context.Context, *v1.MultiNicNodeConfig) (bool, error) { return true, nil },
			Wake:      make(chan event.TypedGenericEvent[*v1.MultiNicNodeConfig], 100)}
	}
	r := start()
	pass := func(want string) {
		t.Helper()
		result, err := r.Reconcile(t.Context(), reconcile.Request{})
		if err != nil {
			t.Fatal(err)
		}
		woken := ""
		for len(r.Wake) > 0 {
			woken += (<-r.Wake).Object.Name
		}
		if woken != want {
			t.Errorf("woken: %q, want %q", woken, want)
		}
		if !r.MayAsk("cleanup-c") && (result.RequeueAfter <= 0 || result.RequeueAfter > rolloutEvery) {
			t.Errorf("somebody waits, and it looks again after %s", result.RequeueAfter)
		}
	}
	pass("a")
	if !r.MayAsk("cleanup-a") || r.MayAsk("cleanup-b") {
		t.Errorf("a may be asked: %v, b: %v", r.MayAsk("cleanup-a"), r.MayAsk("cleanup-b"))
	}
	pass("") // a is at it
	var a v1.MultiNicNodeConfig
	key := func(name string) types.NamespacedName {
		return types.NamespacedName{Namespace: v1.SystemNamespace, Name: name}
	}
	if err := cl.Get(t.Context(), key("a"), &a); err != nil {
		t.Fatal(err)
	}
	a.Status.RequestedRun, a.Status.RequestedAction = "cleanup-a", v1.ActionCleanup
	if err := cl.Status().Update(t.Context(), &a); err != nil {
		t.Fatal(err)
	}
	r = start()
	pass("") // another bridge sees in the object that a was asked
	var run v1.MultiNicNodeRun
	if err := cl.Get(t.Context(), key("cleanup-a"), &run); err != nil {
		t.Fatal(err)
	}
	run.Status.State = v1.RunSucceeded
	if err := cl.Status().Update(t.Context(), &run); err != nil {
		t.Fatal(err)
	}
	pass("b")
	pass("")
}
