package fleet

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/terminal"
	"multinicd/internal/terminal/hostile"
	"multinicd/internal/terminal/layout"
)

func TestFleetTable(t *testing.T) {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *time.Time { at := noon.Add(-d); return &at }
	o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: "b", Generation: 3}}
	o.Status = v1.MultiNicNodeConfigStatus{ObservedGeneration: 3, State: v1.StateFailed, ReadyInterfaces: "1/2",
		Conditions: []metav1.Condition{{Type: v1.ConditionReady, Status: "False", Reason: v1.ReasonInterfacesFailed, Message: "multinic2:\nwhy"},
			{Type: v1.ConditionDegraded, Status: "True", Reason: v1.ReasonInterfacesFailed}},
		InterfaceStatuses: []v1.InterfaceStatus{{Name: "multinic1", Status: v1.StateConfigured}, {Name: "multinic2", Status: v1.StateFailed, Reason: v1.ReasonDriftFighting}}}
	n := describe(o)
	n.Changed, n.Seen, n.Credential, n.Version = ago(90*time.Second), ago(100*time.Minute), ago(50*time.Hour), "1.2.3"
	var b strings.Builder
	if err := table(&b, []Node{{Node: "a", Ready: "Unknown"}, n}, false, noon); err != nil {
		t.Fatal(err)
	}
	want := `NODE   STATE    READY     REASON             INTERFACES   REPORTED   DRIFT       VERSION   CREDENTIAL
a      -        Unknown   -                  -            -          -           -         -
b      Failed   False     InterfacesFailed   1/2          90s        multinic2   1.2.3     2d
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	if err := table(&b, []Node{n}, true, noon); err != nil || !strings.Contains(b.String(), "multinic2: why") || !strings.Contains(b.String(), "100m") {
		t.Errorf("%v\n%s", err, b.String())
	}
	for reason, want := range map[string]bool{v1.ReasonDriftFighting: true, v1.ReasonInterfacesFailed: true, v1.ReasonNameTaken: false} {
		if HasReason(reasonsOf(o), []string{reason}) != want {
			t.Errorf("the filter by %s", reason)
		}
	}
}

func TestFleetSaysWhyNothingMatches(t *testing.T) {
	reasons := map[string]bool{v1.ReasonNameTaken: true, v1.ReasonAddressInUse: true}
	for _, row := range []struct {
		looked int
		wanted []string
		want   string
	}{
		{0, nil, "no node matches: there is no object, or none with these labels"},
		{7, nil, "no node matches, of 7"},
		{7, []string{v1.ReasonNameTaken}, "no node matches, of 7"},
		{7, []string{"AdressInUse"}, "no node matches, of 7: none has the reason AdressInUse; there are AddressInUse, NameTaken"},
	} {
		if got := NoMatch(row.looked, row.wanted, reasons); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}

// A node is not forgotten with its object: what became of its NICs is what an administrator asks then.
func TestFleetHasNodesWhoseObjectIsGone(t *testing.T) {
	report := func(node string, phase v1.Phase, degraded *v1.Remark, kept ...string) corev1.ConfigMap {
		r := v1.Report{Schema: v1.ReportSchema, Node: node, UID: "u1", Generation: 1, Executor: v1.ExecutorDaemon, Version: "1.2.3", Phase: phase, Degraded: degraded}
		for i, name := range kept {
			r.Interfaces = append(r.Interfaces, v1.InterfaceStatus{ID: int32(i), Name: name, MACAddress: fmt.Sprintf("02:00:00:00:01:%02x", i), Status: v1.StateConfigured, Reason: v1.ReasonRetained})
		}
		data, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: v1.ReportName(node)}, Data: map[string]string{v1.ReportKey: string(data)}}
	}
	retained := &v1.Remark{Reason: v1.ReasonRetained, Message: "the object was deleted"}
	reports := []corev1.ConfigMap{
		report("kept", v1.PhaseRemoved, retained, "multinic1", "multinic2"),
		report("one", v1.PhaseRemoved, retained, "multinic7"),
		report("old", v1.PhaseRemoved, retained),
		report("back", v1.PhaseRemoved, nil),
		report("clock", v1.PhaseRemoved, &v1.Remark{Reason: v1.ReasonClockSkew}),
		report("late", v1.PhaseDone, nil, "multinic1"),
		report("there", v1.PhaseDone, nil),
		{ObjectMeta: metav1.ObjectMeta{Name: v1.ReportName("garbled")}, Data: map[string]string{v1.ReportKey: "nonsense"}},
	}
	leases := []coordinationv1.Lease{{ObjectMeta: metav1.ObjectMeta{Name: v1.LeaseName("back")}}, {ObjectMeta: metav1.ObjectMeta{Name: v1.LeaseName("lease")}}}
	objects := []v1.MultiNicNodeConfig{{ObjectMeta: metav1.ObjectMeta{Name: "there"}}, {ObjectMeta: metav1.ObjectMeta{Name: "new"}}}
	said := map[string]v1.Report{}
	for _, cm := range reports {
		if r, err := v1.ParseReport([]byte(cm.Data[v1.ReportKey])); err == nil {
			said[cm.Name] = r
		}
	}
	var got []Node
	for _, node := range withoutObject(objects, reports, leases) {
		got = append(got, gone(node, said))
	}
	without := func(node, reason, message string, kept ...string) Node {
		return Node{Node: node, NoObject: true, Reason: reason, Message: message, Kept: kept, Version: "1.2.3", Executor: "daemon"}
	}
	silent := "no object; the node has not reported what became of its NICs"
	want := []Node{
		without("back", "Removed", "no object; given back"), without("clock", "Removed", "no object; given back"),
		{Node: "garbled", NoObject: true, Message: silent},
		without("kept", "Retained", "no object; 2 NICs kept", "multinic1", "multinic2"),
		without("late", "", silent), {Node: "lease", NoObject: true, Message: silent},
		without("old", "Retained", "no object; NICs kept"), without("one", "Retained", "no object; 1 NIC kept", "multinic7"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	var b strings.Builder
	if err := table(&b, []Node{got[0], got[3], got[4]}, false, time.Now()); err != nil {
		t.Fatal(err)
	}
	table := `NODE   STATE       READY   REASON     INTERFACES    REPORTED   DRIFT   VERSION   CREDENTIAL
back   no object   -       Removed    given back    -          -       1.2.3     -
kept   no object   -       Retained   2 NICs kept   -          -       1.2.3     -
late   no object   -       -          -             -          -       1.2.3     -
`
	if diff := cmp.Diff(table, b.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What nodes have written makes no line of ours, on a screen and in a pipe.
func TestNothingThatANodeWroteIsALineOfOurs(t *testing.T) {
	var n Node
	hostile.Fill(&n)
	n.NoObject = false
	for name, prints := range map[string]func(w io.Writer) error{
		"a screen": func(w io.Writer) error { return terminal.Print(w, Screen([]Node{n, n}, layout.Page{Width: 80}, noon)) },
		"a pipe":   func(w io.Writer) error { return terminal.Print(w, Lines([]Node{n, n})) },
	} {
		var out strings.Builder
		if err := prints(terminal.Writer(&out)); err != nil {
			t.Fatal(err)
		}
		if name == "a pipe" {
			hostile.Check(t, out.String())
		} else {
			hostile.CheckWrapped(t, out.String())
		}
	}
}
