package runs

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
)

// newLoop asks one API server for all.
func newLoop(w bridgetest.World) *Loop {
	return &Loop{Client: w.Client, Reader: w.Client, Events: events.NewFakeRecorder(1000), Log: w.Log, Now: w.Now,
		Ended: prometheus.NewCounterVec(prometheus.CounterOpts{}, []string{"action", "exit_code"})}
}

func TestTheLoopOfRunsThatNothingWakesLooksSeldom(t *testing.T) {
	loop := func(w bridgetest.World) reconcile.Reconciler { return newLoop(w) }
	open := &v1.MultiNicNodeRun{ObjectMeta: bridgetest.InSystem("run"), Spec: v1.MultiNicNodeRunSpec{Node: bridgetest.Node, Action: v1.ActionTrigger}}
	over := open.DeepCopy()
	over.Status = v1.MultiNicNodeRunStatus{State: v1.RunFailed, ExitCode: new(int32(1)), FinishedAt: new(metav1.NewTime(bridgetest.Noon))}
	key := client.ObjectKeyFromObject(open)
	bridgetest.LooksSeldom(t, map[string]bridgetest.QuietRow{
		"one that is not answered": {Loop: loop, Key: key, Objects: []client.Object{bridgetest.StoredObject(), open}},
		"one of no object":         {Loop: loop, Key: key, Objects: []client.Object{open}},
		"one that has ended":       {Loop: loop, Key: key, Objects: []client.Object{bridgetest.StoredObject(), over}},
	})
}

func TestARunWhoseDeleteMeetsAConflictIsTriedAgain(t *testing.T) {
	over := &v1.MultiNicNodeRun{ObjectMeta: bridgetest.InSystem("run"), Spec: v1.MultiNicNodeRunSpec{Node: bridgetest.Node, Action: v1.ActionTrigger},
		Status: v1.MultiNicNodeRunStatus{State: v1.RunSucceeded, ExitCode: new(int32(0)), FinishedAt: new(metav1.NewTime(bridgetest.Clock(-2 * time.Hour)))}}
	bridgetest.DeleteMeetsConflict(t, []client.Object{over}, over, func(cl client.Client) reconcile.Reconciler {
		return newLoop(bridgetest.World{Client: cl, Now: func() time.Time { return bridgetest.Noon }, Log: slog.New(slog.DiscardHandler)})
	}, client.ObjectKeyFromObject(over))
}
