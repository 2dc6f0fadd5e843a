package pace

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestFight(t *testing.T) {
	at := time.Unix(0, 0)
	for name, test := range map[string]struct {
		every    time.Duration // somebody changes the NIC
		during   time.Duration // so long
		verified bool
		want     string // when a fight is seen and when it ends, in seconds
		repairs  int    // at most
	}{
		"one change is no fight":                                 {10 * time.Second, time.Second, true, "", 1},
		"seven changes at once are none":                         {100 * time.Millisecond, 700 * time.Millisecond, true, "", 7},
		"a change every five seconds is none":                    {5 * time.Second, time.Minute, true, "", 13},
		"ten in a second are one, and it ends with them":         {100 * time.Millisecond, 2 * time.Second, true, "+0.7 -10.7", 9},
		"one change per second is one":                           {time.Second, 20 * time.Second, true, "+7.0 -28.0", 11},
		"the longer it lasts the rarer we try":                   {100 * time.Millisecond, 10 * time.Minute, true, "+0.7 -621.9", 40},
		"what is undone before it is verified counts for more":   {100 * time.Millisecond, 2 * time.Second, false, "+0.1 -10.1", 3},
		"a single repair that cannot be verified is no evidence": {time.Minute, time.Second, false, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			b, got, repairs := &Fight{Index: 3}, "", 0
			broken := false
			for ms := time.Duration(0); ms < 20*time.Minute; ms += 100 * time.Millisecond {
				now := at.Add(ms)
				if ms < test.during && ms%test.every == 0 {
					broken = true
				}
				if b.Holds(now) {
					continue
				}
				was := b.Fighting()
				if broken {
					repairs++
					b.Repaired(now, test.verified, "address")
					broken = false
				} else if b.Peace(now) {
					got += fmt.Sprintf(" -%.1f", ms.Seconds())
				}
				if !was && b.Fighting() {
					got += fmt.Sprintf(" +%.1f", ms.Seconds())
				}
			}
			if strings.TrimSpace(got) != test.want || repairs > test.repairs {
				t.Errorf("got %s after %d repairs, want %s after at most %d", got, repairs, test.want, test.repairs)
			}
		})
	}
}
