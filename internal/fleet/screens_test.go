package fleet

import (
	"flag"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
	"multinicd/internal/bridge/status"
	"multinicd/internal/hosttest"
	"multinicd/internal/terminal/layout"
)

var update = flag.Bool("update", false, "write golden files anew")

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// told is a node's object with the status that the bridge makes of a report.
func told(t *testing.T, name string, change func(r *v1.Report)) Node {
	t.Helper()
	o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "u1", Generation: 3, CreationTimestamp: metav1.NewTime(noon.Add(-time.Hour))}, Spec: v1.MultiNicNodeConfigSpec{NodeName: name}}
	r := &v1.Report{Schema: v1.ReportSchema, Node: name, UID: "u1", Generation: 3, Executor: v1.ExecutorDaemon, Version: "1.2.3", Phase: v1.PhaseDone}
	for i, mac := range []string{"02:00:00:00:01:01", "02:00:00:00:01:02"} {
		id := int32(i + 1)
		o.Spec.Interfaces = append(o.Spec.Interfaces, v1.Interface{ID: &id, MACAddress: mac})
		r.Interfaces = append(r.Interfaces, v1.InterfaceStatus{ID: id, Name: "multinic" + string(rune('0'+id)), MACAddress: mac, Status: v1.StateConfigured, Reason: v1.ReasonConfigured})
	}
	if change == nil {
		r = nil
	} else {
		change(r)
	}
	o.Status = status.Judge(status.In{Object: o, Report: gather.Report{Said: r}, Pulse: gather.Pulse{Seen: noon.Add(-time.Minute), Moved: true}, Now: noon}).Status
	n := describe(o)
	made := noon.Add(-50 * time.Hour)
	n.Version, n.Credential = "1.2.3", &made
	return n
}

// What `multinic-bridge fleet` shows on a terminal.
func TestTheScreensOfTheFleet(t *testing.T) {
	well := func(*v1.Report) {}
	broken := func(r *v1.Report) {
		r.Interfaces[1].Status, r.Interfaces[1].Reason, r.Interfaces[1].Outcome = v1.StateFailed, v1.ReasonAddressInUse, v1.OutcomeRefused
		r.Interfaces[1].Message = "192.0.2.11 is used by 02:00:00:00:09:09; the NIC stays as it is: 192.168.200.10/24; choose another address"
	}
	repaired := func(r *v1.Report) {
		r.Interfaces[1].LastRepair = &v1.Repair{Time: metav1.NewTime(noon.Add(-3 * time.Minute)), Count: 2, Message: "address: want 192.0.2.11/24, have absent (by ip (process 7, user root))"}
	}
	fought := func(r *v1.Report) {
		r.Interfaces[0].Status, r.Interfaces[0].Reason = v1.StateInProgress, v1.ReasonDriftFighting
		r.Degraded = &v1.Remark{Reason: v1.ReasonDriftFighting, Message: "another writer"}
	}
	got := map[string]string{}
	for name, nodes := range map[string][]Node{
		"all-well": {told(t, "worker-node-01", well), told(t, "worker-node-02", well)},
		"none":     {},
		"put-back": {told(t, "worker-node-01", well), told(t, "worker-node-02", repaired)},
		"some-are-not": {told(t, "worker-node-01", well), told(t, "worker-node-02", broken), told(t, "worker-node-03", nil), told(t, "worker-node-04", fought),
			{Node: "worker-node-05", NoObject: true, Reason: "Retained", Message: "no object; 2 NICs kept", Version: "1.2.3"}},
		"long-names": {told(t, "ip-10-20-30-40.ap-northeast-2.compute.internal", broken)},
	} {
		hosttest.Screens(t, name, got, func(p layout.Page) string {
			if p.Width == 0 {
				return Lines(nodes)
			}
			return Screen(nodes, p, noon)
		}, "ip-10", "NODE")
	}
	for name := range got {
		if strings.HasSuffix(name, "80-v.txt") { // it has no evidence
			delete(got, name)
		}
	}
	hosttest.Golden(t, "testdata/screens", got, *update)
}
