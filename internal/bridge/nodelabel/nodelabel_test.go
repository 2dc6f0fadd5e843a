package nodelabel

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
)

func TestReadyLabel(t *testing.T) {
	with := func(status metav1.ConditionStatus, observed int64) *v1.MultiNicNodeConfig {
		o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
		o.Status.ObservedGeneration = observed
		o.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: status}}
		return o
	}
	for sentence, row := range map[string]struct {
		object *v1.MultiNicNodeConfig
		want   string
	}{
		"a node without an object has no label":   {nil, ""},
		"an object of which nothing was said yet": {&v1.MultiNicNodeConfig{}, "unknown"},
		"ready":                                  {with(metav1.ConditionTrue, 2), "true"},
		"ready, but said of an older generation": {with(metav1.ConditionTrue, 1), "false"},
		"not ready":                              {with(metav1.ConditionFalse, 2), "false"},
		"silent":                                 {with(metav1.ConditionUnknown, 2), "unknown"},
		"silent, and the object has changed since": {with(metav1.ConditionUnknown, 1), "unknown"},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := Judge(row.object); got != row.want {
				t.Errorf("the label is %q, want %q", got, row.want)
			}
		})
	}
}
