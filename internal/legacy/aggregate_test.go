package legacy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
)

var begin = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

func node(name, uuid string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.NodeInfo.SystemUUID = uuid
	return n
}

// at is an object whose node has said its state of a generation.
func at(o *v1.MultiNicNodeConfig, generation int64, state v1.State, reason string) *v1.MultiNicNodeConfig {
	o.Status.ObservedGeneration, o.Status.State, o.Status.LastJobName = generation, state, "job-"+o.Name
	o.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Reason: reason, Message: "said by " + o.Name}}
	return o
}

// spoken is a status in some lines, without times.
func spoken(s v1.MultiNicBizConfigStatus) []string {
	out := []string{fmt.Sprintf("generation %d, hash %s, %d nodes: %d configured, %d failed, %d pending", s.ObservedGeneration, s.ObservedSpecHash,
		s.Summary.TotalNodes, s.Summary.ConfiguredNodes, s.Summary.FailedNodes, s.Summary.PendingNodes)}
	for _, n := range s.NodeStatuses {
		out = append(out, strings.TrimRight(fmt.Sprintf("%s %s %s %s", n.AttachedNodeID, n.AttachedNodeName, n.State, n.Reason), " "))
	}
	for _, c := range s.Conditions {
		out = append(out, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
	}
	return out
}

func TestTheStatusOfAnOlderObject(t *testing.T) {
	for name, row := range map[string]struct {
		entries []v1.BizNodeConfig
		objects []*v1.MultiNicNodeConfig
		want    []string
	}{
		"all is done": {
			[]v1.BizNodeConfig{entry(1, nic("01")), entry(2, nic("02"))},
			[]*v1.MultiNicNodeConfig{at(object(1, "01"), 3, v1.StateConfigured, "AllInterfacesConfigured"), at(object(2, "02"), 3, v1.StateConfigured, "AllInterfacesConfigured")},
			[]string{"generation 4, hash abc, 2 nodes: 2 configured, 0 failed, 0 pending", "i-1 worker-1 Configured", "i-2 worker-2 Configured",
				"Applied=True EntriesApplied", "InProgress=False NothingPending", "Ready=True AllNodesConfigured"},
		},
		"a node has not spoken about the generation, one never, and one has no object": {
			[]v1.BizNodeConfig{entry(1, nic("01")), entry(2, nic("02")), entry(3, nic("03"))},
			[]*v1.MultiNicNodeConfig{at(object(1, "01"), 2, v1.StateConfigured, "Applying"), object(2, "02")},
			[]string{"generation 4, hash abc, 3 nodes: 0 configured, 0 failed, 3 pending", "i-1 worker-1 InProgress Applying", "i-2 worker-2 Pending", "i-3 worker-3 Pending",
				"Applied=True EntriesApplied", "InProgress=True NodesPending", "Ready=False NodesPending"},
		},
		"a node failed, and says why": {
			[]v1.BizNodeConfig{entry(1, nic("01"))},
			[]*v1.MultiNicNodeConfig{at(object(1, "01"), 3, v1.StateFailed, "InterfacesFailed")},
			[]string{"generation 4, hash abc, 1 nodes: 0 configured, 1 failed, 0 pending", "i-1 worker-1 Failed InterfacesFailed",
				"Applied=True EntriesApplied", "InProgress=False NothingPending", "Ready=False NodesFailed"},
		},
		"the object of another publisher wins, and its state is the node's": {
			[]v1.BizNodeConfig{entry(1, nic("01"))},
			[]*v1.MultiNicNodeConfig{at(of(object(1, "02"), v1.PublisherIntake), 3, v1.StateConfigured, "AllInterfacesConfigured")},
			[]string{"generation 4, hash abc, 1 nodes: 1 configured, 0 failed, 0 pending", "i-1 worker-1 Configured NotOurs",
				"Applied=False EntriesLeftOut", "InProgress=False NothingPending", "Ready=True AllNodesConfigured"},
		},
		"an entry that breaks the rules has failed, though its node goes on": {
			[]v1.BizNodeConfig{entry(1, nic("nonsense")), entry(9, nic("09"))},
			[]*v1.MultiNicNodeConfig{at(object(1, "01"), 3, v1.StateConfigured, "AllInterfacesConfigured")},
			[]string{"generation 4, hash abc, 2 nodes: 0 configured, 1 failed, 1 pending", "i-1 worker-1 Failed Invalid", "i-9 worker-9 Pending NodeUnknown",
				"Applied=False EntriesLeftOut", "InProgress=True NodesPending", "Ready=False NodesFailed"},
		},
		"an object that is being written is not done, whatever was said of the one before": {
			[]v1.BizNodeConfig{entry(1, nic("02"))},
			[]*v1.MultiNicNodeConfig{at(object(1, "01"), 3, v1.StateConfigured, "AllInterfacesConfigured")},
			[]string{"generation 4, hash abc, 1 nodes: 0 configured, 0 failed, 1 pending", "i-1 worker-1 InProgress",
				"Applied=True EntriesApplied", "InProgress=True NodesPending", "Ready=False NodesPending"},
		},
		"there is no entry": {
			nil, nil,
			[]string{"generation 4, hash abc, 0 nodes: 0 configured, 0 failed, 0 pending", "Applied=True EntriesApplied", "InProgress=False NothingPending", "Ready=True AllNodesConfigured"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := old(row.entries...)
			w := World{Old: []*v1.MultiNicBizConfig{o, old(entry(8, nic("08")))}, Machines: nodes(8), Objects: row.objects}
			entries := w.Judge()
			got := Aggregate(o, entries, row.objects, begin)
			if diff := cmp.Diff(row.want, spoken(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			o.Status = got
			if again := Aggregate(o, entries, row.objects, begin.Add(time.Hour)); !cmp.Equal(got, again) {
				t.Errorf("an hour later, with nothing new:\n%s", cmp.Diff(got, again))
			}
		})
	}
}

func TestAReadOnlyObjectSaysSo(t *testing.T) {
	o := old(entry(1, nic("02")), entry(2, nic("03")), entry(3, nic("04")))
	objects := []*v1.MultiNicNodeConfig{at(object(1, "01"), 3, v1.StateConfigured, ""), at(object(3, "04"), 3, v1.StateConfigured, "")}
	entries := World{Old: []*v1.MultiNicBizConfig{o}, Machines: nodes(3), Objects: objects}.Judge()
	want := []string{"generation 4, hash abc, 3 nodes: 2 configured, 0 failed, 1 pending", "i-1 worker-1 Configured ReadOnly", "i-2 worker-2 Pending ReadOnly", "i-3 worker-3 Configured",
		"Applied=False ReadOnly", "InProgress=True NodesPending", "Ready=False NodesPending"}
	if diff := cmp.Diff(want, spoken(Aggregate(o, Freeze(entries), objects, begin))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if entries[0].Action != publish.Changed {
		t.Errorf("Freeze has changed what it was given: %s", told(entries[0]))
	}
}

func TestAMessageNamesTheFirstEntriesThatAreLeftOut(t *testing.T) {
	var entries []v1.BizNodeConfig
	for i := range 5 {
		entries = append(entries, entry(i+11, nic("01")))
	}
	o := old(entries...)
	got := Aggregate(o, World{Old: []*v1.MultiNicBizConfig{o}}.Judge(), nil, begin)
	const want = "5 of 5 entries are left out: worker-11: NodeUnknown; worker-12: NodeUnknown; worker-13: NodeUnknown; and 2 more"
	if c := meta.FindStatusCondition(got.Conditions, ConditionApplied); c.Message != want {
		t.Errorf("it says %q", c.Message)
	}
}

// An object with too large a status is not stored at all.
func TestAStatusThatIsTooLargeLeavesNodesOut(t *testing.T) {
	wide := func(n, bytes int) v1.BizNodeConfig {
		return v1.BizNodeConfig{AttachedNodeID: fmt.Sprintf("i-%d", n), AttachedNodeName: strings.Repeat("n", bytes)}
	}
	for name, row := range map[string]struct {
		nodes, bytes int
		failed       int // every which node has failed
		want         int
		tooLarge     bool
	}{
		"it fits":                          {1000, 100, 10, 1000, false},
		"those that are not done fit":      {1000, 800, 10, 100, true},
		"not even those that are not done": {1000, 800, 1, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := old()
			var entries []Entry
			for i := range row.nodes {
				c := wide(i, row.bytes)
				o.Spec.NodeConfigs = append(o.Spec.NodeConfigs, c)
				e := Entry{Old: o, Index: i, InstanceID: c.AttachedNodeID, Name: c.AttachedNodeName, Result: publish.Result{Node: fmt.Sprint(i), Action: publish.Unchanged}}
				if i%row.failed == 0 {
					e.Action, e.Reason = publish.Refused, publish.Invalid
				}
				entries = append(entries, e)
			}
			var objects []*v1.MultiNicNodeConfig
			for i := range row.nodes {
				done := at(object(1, "01"), 3, v1.StateConfigured, "")
				done.Name = fmt.Sprint(i)
				objects = append(objects, done)
			}
			o.Status = Aggregate(o, entries, objects, begin)
			if got := len(o.Status.NodeStatuses); got != row.want || meta.IsStatusConditionTrue(o.Status.Conditions, ConditionTooLarge) != row.tooLarge {
				t.Errorf("%d nodes are in it, want %d; conditions %v", got, row.want, o.Status.Conditions)
			}
			if n := size(*o); n > maxObject+10_000 {
				t.Errorf("the object has %d bytes", n)
			}
			if o.Status.Summary.TotalNodes != int32(row.nodes) {
				t.Errorf("the summary has %d nodes", o.Status.Summary.TotalNodes)
			}
		})
	}
}
