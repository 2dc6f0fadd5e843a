package controller

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "multinicd/api/v1"
)

func TestBrake(t *testing.T) {
	const (
		waits    = 'w' // for the release of its generation
		away     = 'a' // the same, but nobody is there
		changes  = 'c' // was released
		lost     = 'l' // was released, and then nobody was there any more
		done     = 'd'
		failed   = 'f'
		old      = 'o' // settled before there was a brake
		oldWrong = 'x' // failed before there was a brake
	)
	for name, tt := range map[string]struct {
		fleet string
		o     RolloutOptions
		want  string
	}{
		"as many as the limit":                                 {"wwww", RolloutOptions{Max: "2"}, "release 0 1, 2 wait, 2 change"},
		"those in change count":                                {"cwww", RolloutOptions{Max: "2"}, "release 1, 2 wait, 2 change"},
		"none over the limit":                                  {"ccww", RolloutOptions{Max: "2"}, "release, 2 wait, 2 change"},
		"none over a limit that was lowered":                   {"cccw", RolloutOptions{Max: "2"}, "release, 1 wait, 3 change"},
		"a percentage of all":                                  {"wwwwwwwwww", RolloutOptions{Max: "25%"}, "release 0 1, 8 wait, 2 change"},
		"a percentage is one at least":                         {"ww", RolloutOptions{Max: "10%"}, "release 0, 1 wait, 1 change"},
		"what is done makes room":                              {"ddww", RolloutOptions{Max: "2"}, "release 2 3, 0 wait, 2 change"},
		"nobody is waited for who is not there":                {"lwww", RolloutOptions{Max: "1"}, "release 1, 2 wait, 1 change"},
		"nobody is released who is not there":                  {"aw", RolloutOptions{Max: "5"}, "release 1, 1 wait, 1 change"},
		"what was settled before the brake needs no room":      {"ooww", RolloutOptions{Max: "1"}, "release 0 1 2, 1 wait, 1 change"},
		"failures up to the limit leave room for the rest":     {"fwww", RolloutOptions{Max: "5", StopAfter: 3}, "release 1 2, 1 wait, 2 change, 1 failed"},
		"those in change may fail too":                         {"fcww", RolloutOptions{Max: "5", StopAfter: 3}, "release 2, 1 wait, 2 change, 1 failed"},
		"after so many failures nothing more":                  {"fffw", RolloutOptions{Max: "5", StopAfter: 3}, "release, 1 wait, 0 change, 3 failed, stopped"},
		"a failure that was there before the brake counts too": {"xxxw", RolloutOptions{Max: "5", StopAfter: 3}, "release 0 1 2, 1 wait, 0 change, 3 failed, stopped"},
		"a mended node is no failure any more":                 {"wffw", RolloutOptions{Max: "5", StopAfter: 3}, "release 0, 1 wait, 1 change, 2 failed"},
		"nothing is stopped where nothing waits":               {"fffd", RolloutOptions{Max: "5", StopAfter: 3}, "release, 0 wait, 0 change, 3 failed"},
		"it never stops where it is told so":                   {"ffffw", RolloutOptions{Max: "1"}, "release 4, 0 wait, 1 change, 4 failed"},
		"no nodes":                                             {"", RolloutOptions{Max: "10%"}, "release, 0 wait, 0 change"},
	} {
		t.Run(name, func(t *testing.T) {
			var nodes []RolloutNode
			for i, c := range tt.fleet {
				n := RolloutNode{Name: fmt.Sprint(i), Generation: 2, Released: 2, Reachable: c != away && c != lost, Failed: c == failed || c == oldWrong}
				n.Settled = c == done || c == old || n.Failed
				if c == waits || c == away || c == old || c == oldWrong {
					n.Released = 1
				}
				nodes = append(nodes, n)
			}
			out, err := Brake(nodes, tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, briefRollout(out)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func briefRollout(out Rollout) string {
	var b strings.Builder
	b.WriteString("release")
	for _, n := range out.Release {
		b.WriteString(" " + n.Name)
	}
	fmt.Fprintf(&b, ", %d wait, %d change", out.Waiting, out.Changing)
	if out.Failed > 0 {
		fmt.Fprintf(&b, ", %d failed", out.Failed)
	}
	if out.Stopped {
		b.WriteString(", stopped")
	}
	return b.String()
}

func TestALimitIsANumberOrAPercentage(t *testing.T) {
	for _, bad := range []string{"0", "-1", "x", "0%", "101%", "5 %", "%"} {
		if (RolloutOptions{Max: bad}).Check() == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestStatusTellsOfTheBrake(t *testing.T) {
	before := Status(Gathered{Object: object(1), Report: text(t, report(1, configured(1), configured(2))), Released: 1, Reachable: true, Now: noon})
	changed := object(2, func(o *v1.MultiNicNodeConfig) { o.Status = before })
	old := text(t, report(1, configured(1), configured(2)))
	held := Status(Gathered{Object: changed, Report: old, Released: 1, Reachable: true, Now: noon})
	if held.State != v1.StatePending || held.ReleasedGeneration != 1 || held.InterfaceStatuses[0].Reason != v1.ReasonWaitingForRelease ||
		find(held.Conditions, v1.ConditionReady).Reason != v1.ReasonInterfacesWaiting {
		t.Errorf("held back: %s", brief(held))
	}
	if n := rolloutNode(object(2, func(o *v1.MultiNicNodeConfig) { o.Status = held }), 0, true); n.Settled {
		t.Error("a node that waits for its release has settled")
	}
	free := Status(Gathered{Object: changed, Report: old, Released: 2, Reachable: true, Now: noon})
	if free.State != v1.StateInProgress || free.ReleasedGeneration != 2 {
		t.Errorf("released: %d %s", free.ReleasedGeneration, brief(free))
	}
	if n := rolloutNode(object(2, func(o *v1.MultiNicNodeConfig) { o.Status = free }), 0, true); n.Settled {
		t.Error("a node that was released and has not spoken has settled")
	}
	off := Status(Gathered{Object: object(1, func(o *v1.MultiNicNodeConfig) { o.Status = before }), Report: old, Now: noon})
	if off.ReleasedGeneration != 0 || !off.LastProcessed.Equal(before.LastProcessed) {
		t.Errorf("without a brake: released %d, processed %v", off.ReleasedGeneration, off.LastProcessed)
	}
	if n := rolloutNode(object(1, func(o *v1.MultiNicNodeConfig) { o.Status = before }), 0, true); !n.Settled || n.Failed {
		t.Errorf("a node that is done: %+v", n)
	}
	unheard := Status(Gathered{Object: object(1), Released: -1, Now: noon})
	if find(unheard.Conditions, v1.ConditionReady).Reason != v1.ReasonNoReport || unheard.ReleasedGeneration != -1 {
		t.Errorf("nobody is there: %s", brief(unheard))
	}
}
