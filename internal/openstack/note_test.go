package openstack

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
)

func TestWhatIsNotedOnAnObject(t *testing.T) {
	wrote := &publish.Result{Action: publish.Unchanged}
	left := Remark{PortID: "a", Reason: NotAllowed, Message: "no"}
	held := Remark{PortID: "b", Name: "multinic1", Reason: RemovalHeld, Message: "look"}
	for _, row := range []struct {
		name   string
		node   NodeVerdict
		result *publish.Result
		want   string
	}{
		{"all ports are NICs", NodeVerdict{}, wrote, "AsPublished"},
		{"one is left out on purpose", NodeVerdict{Remarks: []Remark{left}}, wrote, "AsPublished: port a: NotAllowed: no"},
		{"what somebody has to look at comes first", NodeVerdict{Remarks: []Remark{left, held}}, wrote, "RemovalHeld: port b (multinic1): RemovalHeld: look; port a: NotAllowed: no"},
		{"what passes by itself", NodeVerdict{Remarks: []Remark{{PortID: "c", Reason: RemovalPending, Message: "said in 1 whole walks"}}}, wrote, "AsPublished"},
		{"a frozen node", NodeVerdict{Frozen: NoPrimary, Message: "none"}, nil, "NoPrimary: none"},
		{"a machine of another cloud", NodeVerdict{Frozen: NotOfCloud, Message: "none"}, nil, ""},
		{"the API refuses the object", NodeVerdict{Remarks: []Remark{left}}, &publish.Result{Action: publish.Refused, Reason: publish.Invalid, Message: "bad"}, "Invalid: bad; port a: NotAllowed: no"},
		{"the next walk decides anew", NodeVerdict{Remarks: []Remark{held}}, &publish.Result{Action: publish.Refused, Reason: publish.Outdated}, ""},
		{"the API server did not answer", NodeVerdict{}, &publish.Result{Action: publish.Refused, Reason: publish.NotWritten}, ""},
		{"too much, and for a terminal", NodeVerdict{Remarks: []Remark{{PortID: "a", Reason: Malformed, Message: "\x1b" + strings.Repeat("x", 2000)}}}, wrote, "Malformed: port a: Malformed: " + strings.Repeat("x", maxNote-len("Malformed: port a: Malformed: "))},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := row.node.note(row.result); got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
}

// Notes are written where they are new, and on our own objects only.
func TestWhichObjectsGetANote(t *testing.T) {
	of := func(label, to, note string) *v1.MultiNicNodeConfig {
		o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: "n1", ResourceVersion: "7", Annotations: map[string]string{v1.PublisherNoteAnnotation: note}}}
		if label != "" {
			o.Labels = map[string]string{v1.PublisherLabel: label}
		}
		if to != "" {
			o.Annotations[v1.HandOverAnnotation] = to
		}
		return o
	}
	const us = v1.PublisherOpenStack
	refused := publish.Result{Action: publish.Refused, Reason: publish.NotOurs, ResourceVersion: ""}
	for _, row := range []struct {
		name   string
		object *v1.MultiNicNodeConfig
		result *publish.Result // nil: the node is frozen
		want   string          // version
	}{
		{"ours, without a note", of(us, "", ""), &publish.Result{Action: publish.Unchanged, ResourceVersion: "9"}, "9"},
		{"ours, with the note", of(us, "", "AsPublished"), &publish.Result{Action: publish.Unchanged, ResourceVersion: "9"}, ""},
		{"it was just made", nil, &publish.Result{Action: publish.Created, ResourceVersion: "9"}, "9"},
		{"it was just taken over, with the note of another one", of("viola", us, "AsPublished"), &publish.Result{Action: publish.Changed, ResourceVersion: "9"}, "9"},
		{"somebody else's", of("viola", "", ""), &refused, ""},
		{"nobody's", of("", "", ""), &refused, ""},
		{"ours, handed over", of(us, "viola", ""), &publish.Result{Action: publish.Refused, Reason: publish.HandedOver}, ""},
		{"ours, frozen", of(us, "", "AsPublished"), nil, "7"},
		{"somebody else's, frozen", of("viola", "", ""), nil, ""},
		{"none, frozen", nil, nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := NodeVerdict{Node: "n1", Frozen: NoPrimary}
			var results []publish.Result
			if row.result != nil {
				n.Frozen, n.Wish, results = "", &publish.Wish{}, []publish.Result{*row.result}
			}
			var objects []*v1.MultiNicNodeConfig
			if row.object != nil {
				objects = append(objects, row.object)
			}
			got := ""
			for _, note := range (Verdict{Nodes: []NodeVerdict{n}}).notes(results, objects) {
				got += note.Version
			}
			if got != row.want {
				t.Errorf("noted at %q, want %q", got, row.want)
			}
		})
	}
}
