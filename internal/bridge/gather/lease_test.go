package gather

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
)

func TestADaemonLives(t *testing.T) {
	silent := &v1.MultiNicNodeConfig{}
	silent.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Reason: v1.ReasonNodeSilent}}
	for name, tt := range map[string]struct {
		pulse Pulse
		obj   *v1.MultiNicNodeConfig
		alive bool
		left  time.Duration
	}{
		"not where nobody has ever renewed the Lease":               {Pulse{Seen: start}, &v1.MultiNicNodeConfig{}, false, 0},
		"where the Lease moves":                                     {Pulse{Seen: later(-time.Minute), Moved: true, Renewed: true}, &v1.MultiNicNodeConfig{}, true, 5 * time.Minute},
		"not where it has stopped":                                  {Pulse{Seen: later(-v1.SilentAfter), Moved: true, Renewed: true}, &v1.MultiNicNodeConfig{}, false, 0},
		"where a bridge that has just started has not seen it stop": {Pulse{Seen: start, Renewed: true}, nil, true, v1.SilentAfter},
		"not where it had stopped before that bridge started":       {Pulse{Seen: start, Renewed: true}, silent, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if alive, left := lives(tt.pulse, tt.obj, start, v1.SilentAfter); alive != tt.alive || left != tt.left {
				t.Errorf("got %v %s, want %v %s", alive, left, tt.alive, tt.left)
			}
		})
	}
}
