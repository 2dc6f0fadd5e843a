package joining

import (
	"testing"
	"time"

	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

func TestTheLoopOfRequestsThatNothingWakesLooksSeldom(t *testing.T) {
	loop := func(w bridgetest.World) reconcile.Reconciler {
		return &Loop{Client: w.Client, Reader: w.Client, Events: events.NewFakeRecorder(1000), Log: w.Log, Now: w.Now, InForce: w.InForce}
	}
	request := &v1.NodeTokenRequest{ObjectMeta: bridgetest.InNodes(bridgetest.Node), Spec: v1.NodeTokenRequestSpec{Door: v1.DoorKubelet, PublicKey: make([]byte, v1.PublicKeySize)}}
	has := func(objects ...client.Object) []client.Object { return objects }
	bridgetest.LooksSeldom(t, map[string]bridgetest.QuietRow{
		"nothing is asked": {Loop: loop, Key: bridgetest.NodeKey, Objects: has(bridgetest.StoredObject())},
		"it is refused":    {Loop: loop, Key: bridgetest.NodeKey, Objects: has(request)},
		"no policies":      {Loop: loop, Key: bridgetest.NodeKey, Objects: has(request, bridgetest.StoredObject()), Lawless: true, Most: int(time.Hour / gather.AdmissionRetry)},
	})
}
