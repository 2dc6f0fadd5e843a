package nodelabel

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

func TestTheLoopOfLabelsThatNothingWakesLooksSeldom(t *testing.T) {
	loop := func(w bridgetest.World) reconcile.Reconciler { return &Loop{Client: w.Client, InForce: w.InForce} }
	key := client.ObjectKey{Name: bridgetest.Node}
	bridgetest.LooksSeldom(t, map[string]bridgetest.QuietRow{
		"it is so":    {Loop: loop, Key: key, Objects: []client.Object{bridgetest.StoredObject(), bridgetest.StoredNode()}},
		"no policies": {Loop: loop, Key: key, Objects: []client.Object{bridgetest.StoredObject(), bridgetest.StoredNode()}, Lawless: true, Most: int(time.Hour / gather.AdmissionRetry)},
		"no Node":     {Loop: loop, Key: key, Objects: []client.Object{bridgetest.StoredObject()}},
	})
}
