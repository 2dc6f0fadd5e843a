package installed

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
)

func TestBackwards(t *testing.T) {
	noon := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	state := func(generation, observed int64, state v1.State, minute int, released int64) v1.MultiNicNodeConfig {
		o := v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{UID: "a", Generation: generation}}
		at := metav1.NewTime(noon.Add(time.Duration(minute) * time.Minute))
		o.Status = v1.MultiNicNodeConfigStatus{ObservedGeneration: observed, State: state, LastProcessed: &at, ReleasedGeneration: released}
		return o
	}
	before := state(2, 2, v1.StateConfigured, 5, 2)
	anew := state(1, 1, v1.StatePending, 0, 0)
	anew.UID = "b"
	for sentence, row := range map[string]struct {
		now  v1.MultiNicNodeConfig
		want string
	}{
		"a new generation is no step back":          {state(3, 2, v1.StateConfigured, 5, 2), ""},
		"nor is work on it":                         {state(3, 3, v1.StateInProgress, 5, 3), ""},
		"nor is an object made anew":                {anew, ""},
		"an older generation is":                    {state(3, 1, v1.StateConfigured, 5, 2), "generation 1 after 2"},
		"a generation that there is not is":         {state(2, 3, v1.StateInProgress, 5, 2), "generation 3 of 2"},
		"less than Configured of what was is":       {state(2, 2, v1.StateInProgress, 5, 2), "InProgress after Configured"},
		"an earlier time is":                        {state(2, 2, v1.StateConfigured, 4, 2), "last processed"},
		"a release that is taken back is":           {state(3, 2, v1.StateConfigured, 5, 1), "released up to 1 after 2"},
		"that there is no release any more is, too": {state(3, 2, v1.StateConfigured, 5, -1), "released up to -1 after 2"},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := Backwards(before, row.now); got != row.want && (row.want == "" || !strings.HasPrefix(got, row.want)) {
				t.Errorf("it is %q, want %q", got, row.want)
			}
		})
	}
}
