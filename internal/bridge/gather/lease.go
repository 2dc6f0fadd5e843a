package gather

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// lives says whether a daemon renews the node's Lease. A daemon that did so when the bridge first
// looked, and has not been seen to stop, counts too. left is how long it still counts as living.
func lives(p Pulse, obj *v1.MultiNicNodeConfig, now time.Time, silentAfter time.Duration) (alive bool, left time.Duration) {
	if !p.Renewed {
		return false, 0
	}
	if obj != nil && !p.Moved && SaidSilent(obj) {
		return false, 0
	}
	left = p.Seen.Add(silentAfter).Sub(now)
	return left > 0, max(left, 0)
}

// DaemonLives says whether a daemon renews the Lease of a node, even if the Lease has no pulse yet.
// left is how long the daemon still counts as living.
func DaemonLives(ctx context.Context, c client.Client, p *Pulses, node string, obj *v1.MultiNicNodeConfig, now time.Time, silentAfter time.Duration) (bool, time.Duration, error) {
	pulse := p.Of(node)
	if pulse.Renewed {
		alive, left := lives(pulse, obj, now, silentAfter)
		return alive, left, nil
	}
	lease, err := Lease(ctx, c, node)
	if err != nil || lease == nil || Renewal(lease) == "" {
		return false, 0, err
	}
	return true, time.Second, nil
}

// SaidSilent says that the object's status calls the node silent.
func SaidSilent(obj *v1.MultiNicNodeConfig) bool {
	ready := meta.FindStatusCondition(obj.Status.Conditions, v1.ConditionReady)
	return ready != nil && ready.Reason == v1.ReasonNodeSilent
}

// Renewal is a text that changes with each renewal of a Lease. The node's clock is in it, but is
// compared only with itself.
func Renewal(l *coordinationv1.Lease) string {
	if l.Spec.RenewTime == nil {
		return ""
	}
	return l.Spec.RenewTime.String()
}

// NodeOfLease names the node that a Lease belongs to. It is "" if the Lease is not ours.
func NodeOfLease(lease *coordinationv1.Lease) string { return nodeOf(lease.Name, v1.LeaseName("")) }

// Holder is who renews a Lease. It is "" if nobody does, or if the object is no Lease.
func Holder(o client.Object) string {
	l, ok := o.(*coordinationv1.Lease)
	if !ok || l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}
