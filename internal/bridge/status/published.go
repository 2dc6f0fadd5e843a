package status

import (
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// oneWord is a reason as the API server takes it in a condition.
var oneWord = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,63}$`)

// published is s with the condition Published, if the object's publisher notes how it gets on. The
// note is believed in this condition alone: a publisher may write specs, and no status.
func (in In) published(s v1.MultiNicNodeConfigStatus) v1.MultiNicNodeConfigStatus {
	before := meta.FindStatusCondition(s.Conditions, v1.ConditionPublished)
	reason, message, _ := strings.Cut(in.Object.Annotations[v1.PublisherNoteAnnotation], ": ")
	c := metav1.Condition{Type: v1.ConditionPublished, Status: metav1.ConditionFalse, ObservedGeneration: in.Object.Generation,
		LastTransitionTime: gather.MetaTime(in.Now), Reason: reason, Message: v1.Printable(message, gather.MaxConditionMessage)}
	if reason == v1.ReasonAsPublished {
		c.Status = metav1.ConditionTrue
	}
	if before != nil && before.Status == c.Status {
		c.LastTransitionTime = before.LastTransitionTime
	}
	s.Conditions = slices.DeleteFunc(slices.Clone(s.Conditions), func(c metav1.Condition) bool { return c.Type == v1.ConditionPublished })
	if oneWord.MatchString(reason) {
		s.Conditions = sorted(append(s.Conditions, c))
	}
	return s
}
