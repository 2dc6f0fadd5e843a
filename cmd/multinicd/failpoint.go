//go:build failpoint

package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// failpoint ends or stops the process at one point of a change. $MULTINICD_FAILPOINT names the
// point: "kill POINT" or "stop POINT", with "#2" behind it for the second time. Only the binary of
// test/suite/fault has it.
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
			// The signal goes to this very thread, so that it does nothing more. A process
			// may always stop itself.
			runtime.LockOSThread()
			_ = unix.Tgkill(os.Getpid(), unix.Gettid(), signal)
			runtime.UnlockOSThread()
		}
	}
}
