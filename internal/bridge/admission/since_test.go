package admission

import (
	"testing"
	"testing/synctest"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Somebody takes a hole out of a policy again: what was asked meanwhile is older than the policy. Its
// status is written by a controller, which means nothing.
func TestSinceWhenThePoliciesAreInForce(t *testing.T) {
	at := func(seconds int) *metav1.Time { return new(metav1.Unix(int64(seconds), 0)) }
	for sentence, row := range map[string]struct {
		made    int
		changed []metav1.ManagedFieldsEntry
		want    int
	}{
		"since they were made":               {100, nil, 100},
		"since they were changed":            {100, []metav1.ManagedFieldsEntry{{Time: at(300)}, {Time: at(200)}}, 300},
		"not since their status was written": {100, []metav1.ManagedFieldsEntry{{Time: at(300), Subresource: "status"}, {}}, 100},
	} {
		t.Run(sentence, func(t *testing.T) {
			o := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: *at(row.made), ManagedFields: row.changed}}
			if got := changedAt(o); !got.Equal(at(row.want).Time) {
				t.Errorf("got %s", got)
			}
		})
	}
	noon := time.Unix(100_000, 0)
	for sentence, row := range map[string]struct{ changed, looked, want time.Duration }{
		"changed long before the look":      {0, 24 * time.Hour, settled},
		"a slow API server":                 {0, 20 * time.Second, 20 * time.Second},
		"a quick one":                       {0, 0, settles},
		"the bridge's clock is behind":      {0, -time.Hour, settles},
		"the clock is ahead, and some time": {time.Hour, 3 * time.Hour, time.Hour + settled},
	} {
		t.Run(sentence, func(t *testing.T) {
			g := &PolicyGuard{}
			g.seen.note(&admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(noon.Add(row.changed))}})
			g.seen.looked(noon.Add(row.looked), false)
			g.seen.looked(noon.Add(row.looked+time.Hour), false) // a later look means nothing
			if got := g.Since().Sub(noon); got != row.want {
				t.Errorf("%s after noon, want %s", got, row.want)
			}
		})
	}
	g, _ := slowGuard(t)
	last := g.want.bindings[len(g.want.bindings)-1].DeepCopy()
	last.CreationTimestamp = *at(500)
	g.want.bindings[len(g.want.bindings)-1] = *last
	g.want.policies[0].CreationTimestamp = *at(400)
	synctest.Test(t, func(t *testing.T) {
		if err := g.InForce(t.Context()); err != nil || !g.Since().Equal(at(500).Add(settled)) {
			t.Errorf("they are in force since %s, %v", g.Since(), err)
		}
	})
}
