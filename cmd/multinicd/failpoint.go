//go:build failpoint

package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// failpoint ends or stops the process at a point of a change that $MULTINICD_FAILPOINT names: "kill POINT" or "stop POINT", with "#2" behind
// it for the second time. It is built into the binary of test/suite/fault alone.
func failpoint() func(string) {
	how, where, _ := strings.Cut(os.Getenv("MULTINICD_FAILPOINT"), " ")
	where, nth, _ := strings.Cut(where, "#")
	left, err := strconv.Atoi(nth)
	if err != nil {
		left = 1
	}
	signal := map[string]unix.Signal{"kill": unix.SIGKILL, "stop": unix.SIGSTOP}[how]
	if signal == 0 {
		return nil
	}
	return func(point string) {
		if point != where {
			return
		}
		if left--; left == 0 {
			// To this very thread: it goes no step further. Nobody can be denied to stop himself.
			runtime.LockOSThread()
			_ = unix.Tgkill(os.Getpid(), unix.Gettid(), signal)
			runtime.UnlockOSThread()
		}
	}
}
