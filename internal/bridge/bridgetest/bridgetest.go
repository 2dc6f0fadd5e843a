package bridgetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// Node is the name of the node in the tests. UID is the uid of its object.
const (
	Node = "worker-node-01"
	UID  = "uid-now"
)

// Noon is when the tests begin. Clock gives the time so much later.
var (
	Noon  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	Clock = func(d time.Duration) time.Time { return Noon.Add(d) }
)

// Object has two NICs, which are not listed in the order of their ids.
func Object(generation int64, change ...func(*v1.MultiNicNodeConfig)) *v1.MultiNicNodeConfig {
	o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: Node, UID: UID, Generation: generation}}
	o.Spec = v1.MultiNicNodeConfigSpec{
		NodeName: Node, SpecHash: fmt.Sprintf("hash-%d", generation),
		Interfaces: []v1.Interface{
			{ID: new(int32(2)), MACAddress: "02:00:00:00:01:02"},
			{ID: new(int32(1)), MACAddress: "02:00:00:00:01:0A"},
		},
	}
	for _, c := range change {
		c(o)
	}
	return o
}

// NIC is the status of the node's first or second NIC: id 1 or 2.
func NIC(id int32, s v1.State, reason, message string) v1.InterfaceStatus {
	mac := map[int32]string{1: "02:00:00:00:01:0a", 2: "02:00:00:00:01:02"}[id]
	return v1.InterfaceStatus{ID: id, Name: fmt.Sprintf("multinic%d", id), MACAddress: mac, Status: s, Reason: reason, Message: message}
}

// Configured is the status of a NIC that is as wanted.
func Configured(id int32) v1.InterfaceStatus {
	return NIC(id, v1.StateConfigured, v1.ReasonConfigured, "")
}

// Report is a daemon's report about the object: done with the generation.
func Report(generation int64, nics ...v1.InterfaceStatus) v1.Report {
	return v1.Report{
		Schema: v1.ReportSchema, Node: Node, UID: UID, Generation: generation, Executor: v1.ExecutorDaemon,
		Version: "1", Phase: v1.PhaseDone, Interfaces: nics,
	}
}

// Text is a report as it is in the node's ConfigMap.
func Text(t *testing.T, r v1.Report) string {
	t.Helper()
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Said is a report as the bridge reads it.
func Said(t *testing.T, r v1.Report) gather.Report {
	t.Helper()
	return gather.ReadReport(Node, Text(t, r))
}

// Brief is a status in about three lines.
func Brief(s v1.MultiNicNodeConfigStatus) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s generation %d %s\n", s.State, s.ReadyInterfaces, s.ObservedGeneration, s.ObservedSpecHash)
	for _, c := range s.Conditions {
		fmt.Fprintf(&b, "%s=%s %s %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	for _, n := range s.InterfaceStatuses {
		fmt.Fprintf(&b, "%s %s %s %s %s\n", n.Name, n.MACAddress, n.Status, n.Reason, n.Message)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// Run is a run of the node, made at a time. Its name is made from the uid.
func Run(uid string, action v1.RunAction, made time.Time) *v1.MultiNicNodeRun {
	return &v1.MultiNicNodeRun{
		ObjectMeta: metav1.ObjectMeta{Name: "r-" + uid, UID: types.UID(uid), CreationTimestamp: metav1.NewTime(made)},
		Spec:       v1.MultiNicNodeRunSpec{Node: Node, Action: action},
	}
}

// JobIs gives a Job a condition that is true.
func JobIs(kind batchv1.JobConditionType, message string) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, Message: message})
	}
}
