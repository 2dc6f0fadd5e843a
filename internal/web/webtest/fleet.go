package webtest

import (
	"fmt"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// NodeName is the name of a node of Fleet.
func NodeName(i int) string { return fmt.Sprintf("worker-%05d", i) }

// Fleet is what the cluster has of so many nodes: objects, reports, Leases and identities. Of a
// hundred nodes one has failed, one waits for a NIC, one fights with another writer, and one changes
// now.
func Fleet(t testing.TB, nodes int, now time.Time) []client.Object {
	t.Helper()
	var all []client.Object
	for i := range nodes {
		all = append(all, Node(t, i, now)...)
	}
	return all
}

// Node is what the cluster has of one node of Fleet: its object, report, Lease and identity.
func Node(t testing.TB, i int, now time.Time) []client.Object {
	t.Helper()
	o := Object(i, now)
	return append([]client.Object{o}, belongings(t, o, now)...)
}

// Object is the object of one node of Fleet.
func Object(i int, now time.Time) *v1.MultiNicNodeConfig {
	name := NodeName(i)
	o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: name, Generation: 3, CreationTimestamp: metav1.NewTime(now.Add(-40 * 24 * time.Hour))}}
	o.Spec = v1.MultiNicNodeConfigSpec{NodeName: name, InstanceID: fmt.Sprintf("6f1d2c3b-0000-4000-8000-%012d", i)}
	o.Status = v1.MultiNicNodeConfigStatus{ObservedGeneration: 3, State: v1.StateConfigured, ReadyInterfaces: "2/2", LastProcessed: new(metav1.NewTime(now.Add(-time.Duration(i%5000) * time.Minute)))}
	for n := range 2 {
		id, mac := int32(n+1), fmt.Sprintf("02:00:%02x:%02x:%02x:01", i>>8&0xff, i&0xff, n+1)
		address := fmt.Sprintf("10.%d.%d.%d", 100+n, i>>8&0xff, i&0xff)
		o.Spec.Interfaces = append(o.Spec.Interfaces, v1.Interface{ID: new(id), MACAddress: mac, Address: address, CIDR: address + "/16", MTU: new(int32(1450))})
		o.Status.InterfaceStatuses = append(o.Status.InterfaceStatuses, v1.InterfaceStatus{ID: id, Name: fmt.Sprintf("multinic%d", id), MACAddress: mac, Status: v1.StateConfigured,
			Reason: v1.ReasonConfigured, Address: address + "/16", MTU: 1450, LastConfigured: new(metav1.NewTime(now.Add(-20 * time.Hour)))})
	}
	ready, degraded := condition(v1.ConditionReady, "True", v1.ReasonAllInterfacesConfigured, "2 of 2 interfaces configured"), condition(v1.ConditionDegraded, "False", v1.ReasonAsExpected, "")
	second := &o.Status.InterfaceStatuses[1]
	switch i % 100 {
	case 13:
		o.Status.State, o.Status.ReadyInterfaces = v1.StateFailed, "1/2"
		second.Status, second.Reason, second.Outcome, second.Message = v1.StateFailed, v1.ReasonNameTaken, v1.OutcomeRefused, "another link is called multinic2"
		ready = condition(v1.ConditionReady, "False", v1.ReasonInterfacesFailed, "1 of 2 interfaces configured; multinic2: NameTaken: another link is called multinic2")
		degraded = condition(v1.ConditionDegraded, "True", v1.ReasonInterfacesFailed, "1 of 2 interfaces configured; multinic2: NameTaken: another link is called multinic2")
	case 37:
		o.Status.State, o.Status.ReadyInterfaces = v1.StatePending, "1/2"
		second.Status, second.Reason, second.Message, second.Address, second.MTU = v1.StatePending, v1.ReasonWaitingForNIC, "no link of the host has this MAC", "", 0
		ready = condition(v1.ConditionReady, "False", v1.ReasonInterfacesWaiting, "1 of 2 interfaces configured; multinic2: WaitingForNIC: no link of the host has this MAC")
	case 59:
		o.Status.State, o.Status.ReadyInterfaces = v1.StateInProgress, "1/2"
		second.Status, second.Reason, second.MTU = v1.StateInProgress, v1.ReasonDriftFighting, 1500
		ready = condition(v1.ConditionReady, "False", v1.ReasonDriftFighting, "1 of 2 interfaces configured; multinic2: DriftFighting: another writer keeps changing the NIC")
		degraded = condition(v1.ConditionDegraded, "True", v1.ReasonDriftFighting, "1 of 2 interfaces configured; multinic2: DriftFighting: another writer keeps changing the NIC")
	case 83:
		o.Generation, o.Status.State = 4, v1.StateInProgress
		ready = condition(v1.ConditionReady, "False", v1.ReasonApplying, "the node works on generation 4")
	}
	o.Status.Conditions = []metav1.Condition{ready, condition(v1.ConditionProgressing, "False", v1.ReasonSettled, ""), degraded}
	for c := range o.Status.Conditions {
		o.Status.Conditions[c].LastTransitionTime = metav1.NewTime(now.Add(-20 * time.Hour))
	}
	return o
}

func condition(kind, status, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionStatus(status), Reason: reason, Message: message}
}

// belongings are the report, the Lease and the identity of a node.
func belongings(t testing.TB, o *v1.MultiNicNodeConfig, now time.Time) []client.Object {
	t.Helper()
	report := v1.Report{Node: o.Name, UID: "u", Generation: o.Status.ObservedGeneration, Executor: v1.ExecutorDaemon, Version: "0.2.0", Phase: v1.PhaseDone, Interfaces: o.Status.InterfaceStatuses}
	data, err := report.Encode()
	if err != nil {
		t.Fatal(err)
	}
	in := func(name, component string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: name, Labels: map[string]string{v1.ComponentLabel: component}, CreationTimestamp: metav1.NewTime(now.Add(-40 * 24 * time.Hour))}
	}
	return []client.Object{
		&corev1.ConfigMap{ObjectMeta: in(v1.ReportName(o.Name), v1.ComponentReport), Data: map[string]string{v1.ReportKey: string(data)}},
		&coordinationv1.Lease{ObjectMeta: in(v1.LeaseName(o.Name), v1.ComponentLease), Spec: coordinationv1.LeaseSpec{RenewTime: new(metav1.NewMicroTime(now.Add(-50 * time.Second)))}},
		&corev1.ServiceAccount{ObjectMeta: in(v1.ServiceAccountName(o.Name), v1.ComponentNode)},
	}
}

// Event is one about a node's object.
func Event(node, name, kind, reason, message string, last time.Time) *corev1.Event {
	return &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: node + "." + name},
		InvolvedObject: corev1.ObjectReference{Kind: v1.NodeConfigKind, Namespace: v1.SystemNamespace, Name: node},
		Type:           kind, Reason: reason, Message: message, Count: 1, LastTimestamp: metav1.NewTime(last)}
}
