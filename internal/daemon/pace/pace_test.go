package pace

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
		failures map[nic.MAC]Failure
		fights   map[nic.MAC]*Fight
		want     time.Duration
	}{
		"for nothing":                                      {nil, nil, time.Hour},
		"for the NIC that is due first":                    {map[nic.MAC]Failure{a: {next: in(time.Minute)}, b: {next: in(5 * time.Second)}}, nil, 5 * time.Second},
		"for a NIC that is due now":                        {map[nic.MAC]Failure{a: {next: now}}, nil, WaitMin},
		"for a NIC that was due":                           {map[nic.MAC]Failure{a: {next: in(-time.Hour)}}, nil, WaitMin},
		"for the end of a pause":                           {nil, map[nic.MAC]*Fight{a: {Pause: time.Minute, until: in(9 * time.Second)}}, 9 * time.Second},
		"for peace that was due":                           {nil, map[nic.MAC]*Fight{a: {Pause: time.Minute, calm: in(-time.Hour)}}, WaitMin},
		"not for a NIC without a fight":                    {nil, map[nic.MAC]*Fight{a: {}}, time.Hour},
		"for a failure, although peace would be due":       {map[nic.MAC]Failure{a: {next: in(time.Minute)}}, map[nic.MAC]*Fight{a: {Pause: time.Minute, calm: in(-time.Second)}}, time.Minute},
		"for the peace of one, and the failure of another": {map[nic.MAC]Failure{a: {next: in(time.Minute)}}, map[nic.MAC]*Fight{b: {Pause: time.Minute, calm: in(3 * time.Second)}}, 3 * time.Second},
	} {
		if got := (NICs{Failures: row.failures, Fights: row.fights}).Next(now); got != row.want {
			t.Errorf("%s: %s, want %s", name, got, row.want)
		}
	}
}

// A pass may take longer than a motion, where it has other NICs to change: the link is looked at
// behind that pass.
func TestTheEndOfAMotionIsNotMissedInALongPass(t *testing.T) {
	began := time.Unix(1000, 0)
	r := New()
	r.Motions[nic.MAC{2, 1}] = Motion{since: began, last: began}
	for name, test := range map[string]struct{ start, now, want time.Duration }{
		"a short pass":                       {0, 10 * time.Millisecond, MotionEnds - 10*time.Millisecond},
		"it ended while the pass went on":    {0, 2 * time.Second, 0},
		"the pass behind it has not seen it": {MotionEnds, MotionEnds, time.Hour},
	} {
		if got := r.NextMotion(began.Add(test.start), began.Add(test.now)); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

func TestOnlyPlannedNICsAreTriedAgain(t *testing.T) {
	a, b := nic.MAC{2, 1}, nic.MAC{2, 2}
	r := New()
	for _, mac := range []nic.MAC{a, b} {
		r.Fail(apply.Result{Action: plan.Action{NIC: nic.Config{MAC: mac}}}, time.Unix(0, 0))
		r.Fights[mac] = &Fight{Pause: time.Minute}
	}
	r.Keep([]plan.Action{{NIC: nic.Config{MAC: b}}})
	if _, ok := r.Failures[b]; !ok || len(r.Failures) != 1 || len(r.Fights) != 1 || r.Fights[b] == nil {
		t.Errorf("kept %v and %v, want those of %s alone", r.Failures, r.Fights, b)
	}
}

// Ten NICs that failed one after the other are tried again in one pass.
func TestWhatFailedTogetherIsTriedAgainTogether(t *testing.T) {
	r, now := New(), time.Unix(1000, 0)
	for i := range 10 {
		r.Fail(apply.Result{Action: plan.Action{NIC: nic.Config{MAC: nic.MAC{2, byte(i)}}}}, now.Add(time.Duration(i)*50*time.Millisecond))
	}
	early := now.Add(RetryMin * 4 / 5)
	now = now.Add(r.Next(now))
	for mac, f := range r.Failures {
		if !f.Due(now) || f.Due(early) {
			t.Errorf("%s is due %v after its wait, %v a second earlier", mac, f.Due(now), f.Due(early))
		}
	}
}

// What fails for hours is tried a dozen times in the first one, and what cuts the node off less often.
func TestWhatFailsAgainIsTriedLessAndLess(t *testing.T) {
	for reason, want := range map[plan.Reason][]time.Duration{
		plan.AddressInUse: {5 * time.Second, 15 * time.Second, 45 * time.Second, 135 * time.Second, 405 * time.Second, 10 * time.Minute, 10 * time.Minute},
		plan.ProbeFailed:  {time.Minute, 3 * time.Minute, 9 * time.Minute, 10 * time.Minute, 10 * time.Minute},
	} {
		r, now := New(), time.Unix(1000, 0)
		for i, wait := range want {
			r.Fail(apply.Result{Action: plan.Action{NIC: nic.Config{MAC: nic.MAC{2}}}, Reason: reason}, now)
			if got := r.Next(now); got != wait {
				t.Errorf("%s, failure %d: tried again after %s, want %s", reason, i+1, got, wait)
			}
			now = now.Add(wait)
		}
	}
}
