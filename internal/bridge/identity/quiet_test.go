package identity

import (
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

func TestTheLoopOfIdentitiesThatNothingWakesLooksSeldom(t *testing.T) {
	loop := func(w bridgetest.World) reconcile.Reconciler {
		return &Loop{Client: w.Client, Log: w.Log, Now: w.Now, Pulses: w.Pulses, InForce: w.InForce, Maker: &Maker{Client: w.Client, Now: w.Now}}
	}
	known := identity{name: bridgetest.Node, notes: map[string]string{}}.account()
	known.UID = "account"
	ends := identity{name: bridgetest.Node, notes: map[string]string{sinceAnnotation: bridgetest.Noon.UTC().Format(time.RFC3339)}}.account()
	ends.UID = "account"
	join := &corev1.ServiceAccount{ObjectMeta: bridgetest.InNodes(v1.JoinAccountName(bridgetest.Node))}
	join.Annotations = map[string]string{v1.ExpiresAnnotation: bridgetest.Noon.Add(24 * time.Hour).UTC().Format(time.RFC3339)}
	has := func(objects ...client.Object) []client.Object { return objects }
	bridgetest.LooksSeldom(t, map[string]bridgetest.QuietRow{
		"no policies, for a node that is expected": {Loop: loop, Key: bridgetest.NodeKey, Objects: has(bridgetest.StoredObject()), Lawless: true, Most: int(time.Hour / gather.AdmissionRetry)},
		"a node that is expected":                  {Loop: loop, Key: bridgetest.NodeKey, Objects: has(bridgetest.StoredObject(), bridgetest.StoredNode())},
		"a join token":                             {Loop: loop, Key: bridgetest.NodeKey, Objects: has(join)},
		"nothing speaks for it any more":           {Loop: loop, Key: bridgetest.NodeKey, Objects: has(known)},
		"nothing has spoken for it for a while":    {Loop: loop, Key: bridgetest.NodeKey, Objects: has(ends), Pulse: "renewed"},
	})
}

func TestAnIdentityWhoseDeleteMeetsAConflictIsTriedAgain(t *testing.T) {
	now := func() time.Time { return bridgetest.Noon }
	i := identity{name: bridgetest.Node, notes: map[string]string{sinceAnnotation: bridgetest.Noon.Add(-25 * time.Hour).UTC().Format(time.RFC3339), objectAnnotation: "object"}}
	kept := []client.Object{i.account()}
	all, _ := i.rights(false, false)
	kept = append(append(kept, all...), i.mailboxes()...)
	for _, o := range kept {
		o.SetUID("uid")
	}
	for sentence, refused := range map[string]client.Object{"at its ServiceAccount": kept[0], "at its last part": kept[len(kept)-1]} {
		t.Run(sentence, func(t *testing.T) {
			bridgetest.DeleteMeetsConflict(t, kept, refused, func(cl client.Client) reconcile.Reconciler {
				return &Loop{Client: cl, Log: slog.New(slog.DiscardHandler), Now: now, Pulses: gather.NewPulses(), Maker: &Maker{Client: cl, Now: now}, InForce: bridgetest.InForce}
			}, bridgetest.NodeKey)
		})
	}
}
