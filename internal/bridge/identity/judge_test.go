package identity

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

func account(owner string, notes ...string) *corev1.ServiceAccount {
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "multinic-node-n", Annotations: map[string]string{}}}
	if owner != "" {
		a.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n", UID: "old"}}
	}
	for i := 0; i < len(notes); i += 2 {
		a.Annotations[notes[i]] = notes[i+1]
	}
	return a
}

func removal(t *testing.T, node, uid string, phase v1.Phase, degraded ...v1.Remark) gather.Report {
	t.Helper()
	r := v1.Report{Node: node, UID: "uid", Generation: 1, Executor: v1.ExecutorDaemon, Phase: phase}
	for _, remark := range degraded {
		r.Degraded = &remark
	}
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return gather.ReadReport("n", strings.Replace(string(data), `"uid":"uid"`, `"uid":"`+uid+`"`, 1))
}

func TestJudge(t *testing.T) {
	at := func(before time.Duration) string { return bridgetest.Noon.Add(-before).Format(time.RFC3339) }
	for name, row := range map[string]struct {
		claim Claim
		want  Verdict
	}{
		"a Node is claim enough": {Claim{Node: "n"}, Verdict{}},
		"an object is, too":      {Claim{Object: "o", Account: account("")}, Verdict{}},
		"so is a join token":     {Claim{Join: true}, Verdict{}},
		"the Secret stays for 2 h after there is a Node": {
			Claim{Node: "n", NodeSince: bridgetest.Noon.Add(-time.Hour), Account: account("", secretAnnotation, "true")},
			Verdict{Again: time.Hour},
		},
		"then it goes": {
			Claim{Node: "n", NodeSince: bridgetest.Noon.Add(-2 * time.Hour), Account: account("", secretAnnotation, "true")},
			Verdict{DropSecret: true},
		},
		"without a Node it stays": {Claim{Object: "o", Account: account("", secretAnnotation, "true")}, Verdict{}},
		"what belonged to a Node goes with it, whatever the report says": {
			Claim{Account: account("old", objectAnnotation, "o")}, Verdict{Remove: true, Why: "its Node is gone"},
		},
		"but stays where there is an object": {Claim{Object: "o", Account: account("old")}, Verdict{}},
		"what is left over of nothing goes":  {Claim{}, Verdict{Remove: true, Why: "nothing speaks for the node"}},
		"from when the object is gone the day is counted": {
			Claim{Account: account("", objectAnnotation, "o")}, Verdict{Unclaimed: true, Since: bridgetest.Noon, Again: 24 * time.Hour},
		},
		"an offline node is waited for": {
			Claim{Account: account("", objectAnnotation, "o", sinceAnnotation, at(23*time.Hour))}, Verdict{Unclaimed: true, Again: time.Hour},
		},
		"a moving Lease does not help who has had an object": {
			Claim{Account: account("", objectAnnotation, "o", sinceAnnotation, at(24*time.Hour)), Pulse: gather.Pulse{Seen: bridgetest.Noon, Moved: true}},
			Verdict{Remove: true, Why: "its object was deleted 24 h ago, and the node has not reported the removal"},
		},
		"the report of the removal ends it": {
			Claim{Account: account("", objectAnnotation, "o"), Report: removal(t, "n", "o", v1.PhaseRemoved)},
			Verdict{Remove: true, Why: "the node has reported that its NICs are given back"},
		},
		"and so does that of a node which keeps its NICs, in other words": {
			Claim{Account: account("", objectAnnotation, "o"), Report: removal(t, "n", "o", v1.PhaseRemoved, v1.Remark{Reason: v1.ReasonRetained})},
			Verdict{Remove: true, Why: "the node has reported that its object is gone, and that it keeps its NICs as they are"},
		},
		"the report of another object's removal does not": {
			Claim{Account: account("", objectAnnotation, "o"), Report: removal(t, "n", "x", v1.PhaseRemoved)},
			Verdict{Unclaimed: true, Since: bridgetest.Noon, Again: 24 * time.Hour},
		},
		"nor does another report": {
			Claim{Account: account("", objectAnnotation, "o"), Report: removal(t, "n", "o", v1.PhaseDone)},
			Verdict{Unclaimed: true, Since: bridgetest.Noon, Again: 24 * time.Hour},
		},
		"nor one that speaks for another node": {
			Claim{Account: account("", objectAnnotation, "o"), Report: removal(t, "m", "o", v1.PhaseRemoved)},
			Verdict{Unclaimed: true, Since: bridgetest.Noon, Again: 24 * time.Hour},
		},
		"who never had an object stays while the Lease moves": {
			Claim{Account: account("", sinceAnnotation, at(30*time.Hour)), Pulse: gather.Pulse{Seen: bridgetest.Noon, Moved: true}},
			Verdict{Unclaimed: true, Since: bridgetest.Noon, Again: time.Hour},
		},
		"a Lease that was only seen does not move": {
			Claim{Account: account("", sinceAnnotation, at(30*time.Hour)), Pulse: gather.Pulse{Seen: bridgetest.Noon}},
			Verdict{Remove: true, Why: "nothing has spoken for the node for 24 h, nor has it renewed its Lease"},
		},
		"a note that cannot be read is made anew": {
			Claim{Account: account("", sinceAnnotation, "yesterday")}, Verdict{Unclaimed: true, Since: bridgetest.Noon, Again: 24 * time.Hour},
		},
	} {
		t.Run(name, func(t *testing.T) {
			row.claim.Now, row.claim.Name = bridgetest.Noon, "n"
			if diff := cmp.Diff(row.want, Judge(row.claim)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			bridgetest.QuietHours(t, bridgetest.Noon, bridgetest.FewLooks, func(now time.Time) reconcile.Result {
				c := row.claim
				c.Now = now
				return gather.Again(Judge(c).Again)
			})
		})
	}
}
