package bed

import (
	"context"
	"strings"
	"testing"
	"time"
)

// Patience is long, since the machine is shared; what is waited for is not slow.
const Patience = 90 * time.Second

// renewals is how many times patience begins anew while the text goes on to change.
const renewals = 3

// Eventually waits until a text is as wanted; what names the text in the message of a test that has waited in vain.
func Eventually(t testing.TB, what, want string, get func() string) {
	t.Helper()
	await(t, Patience, renewals, what, want, get)
}

// Within is Eventually with a patience of its own, which does not begin anew.
func Within(t testing.TB, patience time.Duration, what, want string, get func() string) {
	t.Helper()
	await(t, patience, 0, what, want, get)
}

// await looks less often the longer it waits: after 10 ms at first, every 150 ms at last.
func await(t testing.TB, patience time.Duration, renewals int, what, want string, get func() string) {
	t.Helper()
	ctx := t.Context()
	if ctx.Err() != nil {
		ctx = context.WithoutCancel(ctx) // called by a cleanup: the test's context has ended before
	}
	begun, last, since := time.Now(), "", time.Now()
	for wait := 10 * time.Millisecond; ; wait = min(wait*5/4, 150*time.Millisecond) {
		got := get()
		if got == want {
			return
		}
		if got != last {
			last, since = got, time.Now()
		}
		if time.Since(since) > patience || time.Since(begun) > time.Duration(1+renewals)*patience || ctx.Err() != nil {
			if strings.Contains(got+want, "\n") {
				t.Fatalf("%s: got\n%s\nwant\n%s", what, got, want)
			}
			t.Fatalf("%s: got %q, want %q", what, got, want)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}
