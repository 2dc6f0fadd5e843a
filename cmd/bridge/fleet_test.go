package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
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
	if err := fleetTable(&b, []fleetNode{{Node: "a", Ready: "Unknown"}, n}, false, noon); err != nil {
		t.Fatal(err)
	}
	want := `NODE   STATE    READY     REASON             INTERFACES   AGE   DRIFT       VERSION   CREDENTIAL
a      -        Unknown   -                  -            -     -           -         -
b      Failed   False     InterfacesFailed   1/2          90s   multinic2   1.2.3     2d
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	if err := fleetTable(&b, []fleetNode{n}, true, noon); err != nil || !strings.Contains(b.String(), "multinic2: why") || !strings.Contains(b.String(), "100m") {
		t.Errorf("%v\n%s", err, b.String())
	}
	for reason, want := range map[string]bool{v1.ReasonDriftFighting: true, v1.ReasonInterfacesFailed: true, v1.ReasonNameTaken: false} {
		if hasReason(o, []string{reason}) != want {
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
		if got := noMatch(row.looked, row.wanted, reasons); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}

func TestFleetTakesStatesInAnyCase(t *testing.T) {
	got, err := parseStates([]string{"failed", "INPROGRESS", "Pending"})
	if diff := cmp.Diff([]v1.State{v1.StateFailed, v1.StateInProgress, v1.StatePending}, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if _, err := parseStates([]string{"fail"}); err == nil {
		t.Error("fail is taken for a state")
	}
}
