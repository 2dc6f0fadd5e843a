package host

import (
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notify speaks to the service manager that started us, see sd_notify(3). Outside of a service every method does nothing.
// Failures are not reported: systemd finds out by its own timeouts, and nobody here could act on them.
type Notify struct{}

// Ready says that the local state is enforced.
func (Notify) Ready() { notify(daemon.SdNotifyReady) }

// Starting asks for so much more time until Ready; it must be called again before that ends. Without it the service manager waits for
// TimeoutStartSec in all (EXTEND_TIMEOUT_USEC, since systemd 236).
func (Notify) Starting(more time.Duration) {
	notify("EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(more.Microseconds(), 10))
}

// Status is the one line that `systemctl status` shows. Line breaks are not allowed in it.
func (Notify) Status(line string) { notify("STATUS=" + line) }

// Watchdog says that the loop is alive.
func (Notify) Watchdog() { notify(daemon.SdNotifyWatchdog) }

// Reloading says that the configuration is being read anew; Ready must follow. The time is asked for since systemd 253.
func (Notify) Reloading() { notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()) }

// Stopping says that we are on our way out.
func (Notify) Stopping() { notify(daemon.SdNotifyStopping) }

// WatchdogInterval is how often Watchdog has to be called at least; 0: nobody waits for it. Call it at half of that.
func (Notify) WatchdogInterval() time.Duration {
	d, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return d
}

func notify(state string) { _, _ = daemon.SdNotify(false, state) }
