package status

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

// What a publisher notes is the condition Published, whether or not the node has spoken, and nothing else.
func TestWhatAPublisherNotes(t *testing.T) {
	said := bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2)))
	for _, row := range []struct{ name, note, want string }{
		{"a word alone", "AsPublished", "True AsPublished "},
		{"what is left out on purpose", "AsPublished: port a: NotAllowed", "True AsPublished port a: NotAllowed"},
		{"what a person has to look at", "RemovalHeld: 5 NICs would go", "False RemovalHeld 5 NICs would go"},
		{"a message for a terminal", "Malformed: \x1b[31mred\nline", "False Malformed [31mred line"},
		{"too much of it", "Malformed: " + strings.Repeat("x", 3000), "False Malformed " + strings.Repeat("x", gather.MaxConditionMessage)},
		{"no word", "two words: x", ""},
		{"nothing", "", ""},
		{"a word that the API server takes in no condition", "9: x", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := bridgetest.Object(1, func(o *v1.MultiNicNodeConfig) {
				o.Annotations = map[string]string{v1.PublisherNoteAnnotation: row.note}
			})
			for _, report := range []gather.Report{{}, said} {
				without := Status(In{Object: bridgetest.Object(1), Report: report, Now: bridgetest.Noon})
				s := Status(In{Object: o, Report: report, Now: bridgetest.Noon})
				got := ""
				if c := meta.FindStatusCondition(s.Conditions, v1.ConditionPublished); c != nil {
					got = string(c.Status) + " " + c.Reason + " " + c.Message
					if len(c.Message) > gather.MaxConditionMessage {
						t.Errorf("a message of %d bytes", len(c.Message))
					}
				}
				if short := row.want[:min(len(row.want), 500)]; !strings.HasPrefix(got, short) || row.want == "" && got != "" {
					t.Errorf("got %q, want %q", got, row.want)
				}
				meta.RemoveStatusCondition(&s.Conditions, v1.ConditionPublished)
				if len(s.Conditions) != len(without.Conditions) || s.State != without.State || (s.LastProcessed == nil) != (without.LastProcessed == nil) {
					t.Errorf("it changes more: %+v, %+v", s, without)
				}
			}
		})
	}
}

// The condition comes, changes and goes with the note, while the node says nothing more.
func TestTheNoteMovesTheConditionAlone(t *testing.T) {
	o := bridgetest.Object(1)
	step := func(at time.Duration, report gather.Report, note string) *metav1.Condition {
		o.Annotations = nil
		if note != "" {
			o.Annotations = map[string]string{v1.PublisherNoteAnnotation: note}
		}
		o.Status = Status(In{Object: o, Report: report, Now: bridgetest.Clock(at)})
		return meta.FindStatusCondition(o.Status.Conditions, v1.ConditionPublished)
	}
	said := bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2)))
	step(0, said, "AsPublished")
	processed := o.Status.LastProcessed.DeepCopy()
	for i, report := range []gather.Report{said, {}, said} { // also while the report is gone
		at := time.Duration(i+1) * time.Minute
		if c := step(at, report, "AsPublished: port a: NotAllowed"); c == nil || c.LastTransitionTime.Sub(bridgetest.Noon) >= at {
			t.Errorf("another message at %s: %v", at, c)
		}
	}
	if c := step(10*time.Minute, said, "NoPrimary: x"); c == nil || c.Status != metav1.ConditionFalse || c.LastTransitionTime.Sub(bridgetest.Noon) != 10*time.Minute {
		t.Errorf("a loud note: %v", c)
	}
	if c := step(11*time.Minute, gather.Report{}, ""); c != nil {
		t.Errorf("the note is gone: %v", c)
	}
	if !o.Status.LastProcessed.Equal(processed) {
		t.Errorf("notes moved lastProcessed from %v to %v", processed, o.Status.LastProcessed)
	}
}
