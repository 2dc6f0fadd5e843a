package host

import (
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"multinicd/internal/terminal"
)

// Notify speaks to the service manager that started us, see sd_notify(3). Outside of a service
// every method does nothing. Failures are not reported: systemd finds out by its own timeouts, and
// nobody here could act on them.
type Notify struct{}

// Ready says that the local state is enforced.
func (Notify) Ready() { notify(daemon.SdNotifyReady) }

// Starting asks for more time until Ready. It must be called again before that time ends. Without
// it the service manager waits for TimeoutStartSec in all (EXTEND_TIMEOUT_USEC, since systemd 236).
func (Notify) Starting(more time.Duration) {
	notify("EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(more.Microseconds(), 10))
}

// Status is the one line that `systemctl status` shows. A line break would begin another assignment,
// and a message of more than 4096 bytes is not read at all (NOTIFY_BUFFER_MAX, systemd 257).
func (Notify) Status(line string) { notify("STATUS=" + terminal.Line(line, maxStatus)) }

// maxStatus bounds the line in bytes.
const maxStatus = 2000

// Watchdog says that the loop is alive.
func (Notify) Watchdog() { notify(daemon.SdNotifyWatchdog) }

// Reloading says that the configuration is being read anew. Ready must follow. systemd asks for the
// time in it since version 253.
func (Notify) Reloading() { notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()) }

// Stopping says that the service is about to end.
func (Notify) Stopping() { notify(daemon.SdNotifyStopping) }

// WatchdogInterval is the longest time between two calls of Watchdog that systemd accepts. Call it
// at half of that. 0 means that systemd does not wait for it.
func (Notify) WatchdogInterval() time.Duration {
	d, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return d
}

func notify(state string) { _, _ = daemon.SdNotify(false, state) }
