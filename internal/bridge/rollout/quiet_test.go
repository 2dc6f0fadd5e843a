package rollout

import (
	"context"
	"testing"
	"time"

	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
)

func TestTheBrakeThatNothingWakesLooksSeldom(t *testing.T) {
	waits, away := bridgetest.StoredObject(), bridgetest.StoredObject()
	waits.Name, waits.UID = "waits", "waits"
	away.Name, away.UID = "away", "away"
	stopsAfter := func(failed int) func(bridgetest.World) reconcile.Reconciler {
		return func(w bridgetest.World) reconcile.Reconciler {
			there := func(_ context.Context, o *v1.MultiNicNodeConfig) (bool, error) { return o.Name != "away", nil }
			return &Loop{Client: w.Client, Log: w.Log, Events: events.NewFakeRecorder(1000), Options: Options{Max: "1", StopAfter: failed}, Reachable: there, Now: w.Now,
				Wake: make(chan event.TypedGenericEvent[*v1.MultiNicNodeConfig], 1000)}
		}
	}
	everyFew := int(time.Hour/rolloutEvery) + 1
	bridgetest.LooksSeldom(t, map[string]bridgetest.QuietRow{
		"no object":              {Loop: stopsAfter(3)},
		"one is in change":       {Loop: stopsAfter(3), Objects: []client.Object{bridgetest.StoredObject()}},
		"one that is away waits": {Loop: stopsAfter(3), Objects: []client.Object{bridgetest.StoredObject(), away}, Most: everyFew},
		"it was stopped by one":  {Loop: stopsAfter(1), Objects: []client.Object{bridgetest.StoredObject(), waits}, Most: everyFew},
	})
}
