package status

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// eventDriftEnded is the reason of an Event: a fight is over. The reasons of refusals are in
// api/v1.
const eventDriftEnded = "DriftEnded"

// tellSettled makes an Event when a node settles on something else than before. A change that ends
// as the last one did is no news. If this bridge does not know what the node had settled on, it
// reads that from the object, if the object says so.
func (l *Loop) tellSettled(obj *v1.MultiNicNodeConfig, next v1.MultiNicNodeConfigStatus) {
	now, on := meta.FindStatusCondition(next.Conditions, v1.ConditionReady), settlement(next)
	if on == "" {
		return
	}
	l.mu.Lock()
	before, known := l.settled[obj.Name]
	if !known {
		before = settlement(obj.Status)
		known = before != ""
	}
	if l.settled == nil {
		l.settled = map[string]string{}
	}
	l.settled[obj.Name] = on
	l.mu.Unlock()
	if !known || before == on || now.Reason == v1.ReasonReportRefused || !l.mayTell(obj.Name) {
		return
	}
	kind := corev1.EventTypeWarning
	if next.State == v1.StateConfigured && now.Status == metav1.ConditionTrue || now.Reason == v1.ReasonInterfacesWaiting || now.Reason == v1.ReasonRemoved {
		kind = corev1.EventTypeNormal
	}
	l.Events.Eventf(obj, nil, kind, now.Reason, "Settle", "%s",
		v1.Printable(fmt.Sprintf("generation %d: %s", next.ObservedGeneration, now.Message), gather.MaxEvent))
}

// settlement is what a node has settled on, in a form that can be compared: the reason of Ready,
// and the NICs and reasons that it is about. Messages are left out, because numbers in them change.
// It is "" if nothing has settled.
func settlement(s v1.MultiNicNodeConfigStatus) string {
	ready := meta.FindStatusCondition(s.Conditions, v1.ConditionReady)
	if ready == nil || passing(ready.Reason) {
		return ""
	}
	about := map[string]v1.State{v1.ReasonInterfacesFailed: v1.StateFailed, v1.ReasonInterfacesWaiting: v1.StatePending}[ready.Reason]
	on := ready.Reason
	for _, n := range s.InterfaceStatuses {
		if about != "" && n.Status == about {
			on += " " + n.MACAddress + " " + n.Reason
		}
	}
	return on
}

// passing says that nothing has settled while the condition Ready has this reason.
func passing(reason string) bool {
	return reason == v1.ReasonApplying || reason == v1.ReasonDriftFighting
}

// tellFight makes an Event when a fight with another writer of the node begins, and when it ends.
func (l *Loop) tellFight(obj *v1.MultiNicNodeConfig, next v1.MultiNicNodeConfigStatus) {
	fight := func(s v1.MultiNicNodeConfigStatus) *metav1.Condition {
		if c := meta.FindStatusCondition(s.Conditions, v1.ConditionDegraded); c != nil && c.Reason == v1.ReasonDriftFighting {
			return c
		}
		return nil
	}
	now, before := fight(next), fight(obj.Status)
	if (now == nil) == (before == nil) || !l.mayTell(obj.Name) {
		return
	}
	if now != nil {
		l.Events.Eventf(obj, nil, corev1.EventTypeWarning, v1.ReasonDriftFighting, "StandBack", "%s", v1.Printable(now.Message, gather.MaxEvent))
		return
	}
	l.Events.Eventf(obj, nil, corev1.EventTypeNormal, eventDriftEnded, "GoOn", "%s", "no other writer keeps changing the NICs any more")
}

// tell makes an Event about a report that cannot be used, and names its node. It does so when the
// report is first refused, or refused for another reason.
func (l *Loop) tell(obj *v1.MultiNicNodeConfig, next v1.MultiNicNodeConfigStatus) {
	now, before := meta.FindStatusCondition(next.Conditions, v1.ConditionDegraded), meta.FindStatusCondition(obj.Status.Conditions, v1.ConditionDegraded)
	if now == nil || now.Reason != v1.ReasonReportRefused || (before != nil && before.Reason == now.Reason && before.Message == now.Message) {
		return
	}
	if !l.mayTell(obj.Name) {
		return
	}
	l.Events.Eventf(obj, nil, corev1.EventTypeWarning, v1.ReasonReportRefused, "ReadReport", "%s",
		v1.Printable("system:serviceaccount:"+v1.NodesNamespace+":"+v1.ServiceAccountName(obj.Name)+
			" wrote a report that cannot be used: "+now.Message, gather.MaxEvent))
}

// mayTell takes an Event off the node's account, if one is left.
func (l *Loop) mayTell(node string) bool {
	return l.tells.wait(node, l.Now(), eventEvery, eventBurst) == 0
}
