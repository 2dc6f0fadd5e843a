package bed

import (
	"context"
	"strings"
	"testing"
	"time"
)

// Patience ends a test that hangs, and decides nothing else: a test that waits goes on at once when the text is as wanted. Nothing
// that tests wait for takes half a minute on an idle machine. So a text that has not changed for two minutes will not change any more,
// also where each processor has ten processes to run.
const Patience = 2 * time.Minute

// renewals is how many times patience begins anew while the text goes on to change: of 64 NICs one after the other gets ready.
const renewals = 3

// Rest is the pause behind a look that began at looked: at least so long, and twice as long as the look took, but no longer than two seconds.
func Rest(least time.Duration, looked time.Time) time.Duration {
	return max(least, min(2*time.Since(looked), 2*time.Second))
}

// Eventually waits until a text is as wanted; what names the text in the message of a test that has waited in vain. Eventually looks less
// often the longer it waits: after 10 ms at first, every 150 ms at last, since each look takes something of the machine from what is
// waited for.
func Eventually(t testing.TB, what, want string, get func() string) {
	t.Helper()
	ctx := t.Context()
	if ctx.Err() != nil {
		ctx = context.WithoutCancel(ctx) // called by a cleanup: the test's context has ended before
	}
	begun, last, since := time.Now(), "", time.Now()
	for wait := 10 * time.Millisecond; ; wait = min(wait*5/4, 150*time.Millisecond) {
		looked := time.Now()
		got := get()
		pause := Rest(wait, looked)
		if got == want {
			return
		}
		if got != last {
			last, since = got, time.Now()
		}
		if time.Since(since) > Patience || time.Since(begun) > (1+renewals)*Patience || ctx.Err() != nil {
			if strings.Contains(got+want, "\n") {
				t.Fatalf("%s: got\n%s\nwant\n%s", what, got, want)
			}
			t.Fatalf("%s: got %q, want %q", what, got, want)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}
