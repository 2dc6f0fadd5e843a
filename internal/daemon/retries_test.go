package daemon

import (
	"testing"
	"time"

	"multinicd/internal/apply"
	"multinicd/nic"
	"multinicd/plan"
)

func TestHowLongTheLoopMayWait(t *testing.T) {
	now := time.Unix(1000, 0)
	in := func(d time.Duration) time.Time { return now.Add(d) }
	a, b := nic.MAC{2, 1}, nic.MAC{2, 2}
	for name, row := range map[string]struct {
		failures map[nic.MAC]failure
		fights   map[nic.MAC]*fight
		want     time.Duration
	}{
		"for nothing":                                      {nil, nil, time.Hour},
		"for the NIC that is due first":                    {map[nic.MAC]failure{a: {next: in(time.Minute)}, b: {next: in(5 * time.Second)}}, nil, 5 * time.Second},
		"for a NIC that is due now":                        {map[nic.MAC]failure{a: {next: now}}, nil, waitMin},
		"for a NIC that was due":                           {map[nic.MAC]failure{a: {next: in(-time.Hour)}}, nil, waitMin},
		"for the end of a pause":                           {nil, map[nic.MAC]*fight{a: {pause: time.Minute, until: in(9 * time.Second)}}, 9 * time.Second},
		"for peace that was due":                           {nil, map[nic.MAC]*fight{a: {pause: time.Minute, calm: in(-time.Hour)}}, waitMin},
		"not for a NIC without a fight":                    {nil, map[nic.MAC]*fight{a: {}}, time.Hour},
		"for a failure, although peace would be due":       {map[nic.MAC]failure{a: {next: in(time.Minute)}}, map[nic.MAC]*fight{a: {pause: time.Minute, calm: in(-time.Second)}}, time.Minute},
		"for the peace of one, and the failure of another": {map[nic.MAC]failure{a: {next: in(time.Minute)}}, map[nic.MAC]*fight{b: {pause: time.Minute, calm: in(3 * time.Second)}}, 3 * time.Second},
	} {
		if got := (retries{failures: row.failures, fights: row.fights}).next(now); got != row.want {
			t.Errorf("%s: %s, want %s", name, got, row.want)
		}
	}
}

func TestOnlyPlannedNICsAreTriedAgain(t *testing.T) {
	a, b := nic.MAC{2, 1}, nic.MAC{2, 2}
	r := newRetries()
	for _, mac := range []nic.MAC{a, b} {
		r.fail(apply.Result{Action: plan.Action{NIC: nic.Config{MAC: mac}}}, time.Unix(0, 0))
		r.fights[mac] = &fight{pause: time.Minute}
	}
	r.keep([]plan.Action{{NIC: nic.Config{MAC: b}}})
	if _, ok := r.failures[b]; !ok || len(r.failures) != 1 || len(r.fights) != 1 || r.fights[b] == nil {
		t.Errorf("kept %v and %v, want those of %s alone", r.failures, r.fights, b)
	}
}

// Ten NICs that failed one after the other are tried again in one pass.
func TestWhatFailedTogetherIsTriedAgainTogether(t *testing.T) {
	r, now := newRetries(), time.Unix(1000, 0)
	for i := range 10 {
		r.fail(apply.Result{Action: plan.Action{NIC: nic.Config{MAC: nic.MAC{2, byte(i)}}}}, now.Add(time.Duration(i)*50*time.Millisecond))
	}
	early := now.Add(retryMin * 4 / 5)
	now = now.Add(r.next(now))
	for mac, f := range r.failures {
		if !f.due(now) || f.due(early) {
			t.Errorf("%s is due %v after its wait, %v a second earlier", mac, f.due(now), f.due(early))
		}
	}
}
