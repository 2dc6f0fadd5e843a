package identity

import (
	"testing"
	"time"

	"multinicd/internal/bridge/bridgetest"
)

// Policies that come and go all day do not have the rights of all nodes written all day. Each line is somebody who takes a policy away
// as soon as the rights are back, or deletes the rights themselves.
func TestTheSharedRightsDoNotComeAndGoAllDay(t *testing.T) {
	const days, most = 3, 14 + 6 + 6 // 14: 255 min in which the wait grows to 4 h, and then one every 4 h
	for sentence, deleted := range map[string]bool{"a policy goes": false, "the rights are deleted": true} {
		t.Run(sentence, func(t *testing.T) {
			var b brake
			there, came := false, 0
			for now := bridgetest.Noon; now.Before(bridgetest.Noon.Add(days * 24 * time.Hour)); now = now.Add(10 * time.Second) {
				if there && !deleted {
					b.broken()
					b.gone(now)
				}
				there = false
				if b.left(now, there) == 0 {
					came, there = came+1, true
				}
			}
			if deleted {
				came /= 2 // for the ten seconds in which no node has given up its own they are made again
			}
			if came < 5 || came > most {
				t.Errorf("they came %d times in %d days, want at most %d", came, days, most)
			}
		})
	}
}

func TestAfterADayOfQuietTheSharedRightsComeBackSoon(t *testing.T) {
	var b brake
	now := bridgetest.Noon
	for _, step := range []struct{ stayed, wait time.Duration }{
		{time.Hour, time.Minute}, {time.Hour, 2 * time.Minute}, {time.Hour, 4 * time.Minute}, {brakeCalm, time.Minute}, {time.Hour, 2 * time.Minute},
	} {
		if left := b.left(now, false); left != 0 {
			t.Fatalf("at %s they still wait for %s", now, left)
		}
		now = now.Add(step.stayed)
		b.broken()
		b.gone(now)
		b.gone(now) // to be told twice means nothing
		if left := b.left(now, false); left != step.wait {
			t.Errorf("after %s they wait for %s, want %s", step.stayed, left, step.wait)
		}
		now = now.Add(step.wait)
	}
}
