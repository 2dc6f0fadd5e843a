package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// udevPatience bounds the wait for udev: 10 to 30 ms on an idle machine, seconds on one that is swamped. Without udev nobody waits.
const udevPatience = 5 * time.Second

// udevDone waits until udev has handled the news that a link has another name. It then applies the link's .link file again, MTU and all
// (link_apply_config in src/udev/net/link-config.c), by what it has read of it within the last three seconds: what we set before would be lost.
// Observed with systemd 252 on 2026-11-22: a link of MTU 1500 with MTUBytes=1300 in its file has 1300 some ms after a rename.
func (h *Host) udevDone(ctx context.Context, index int, since time.Time) {
	if !h.exists("/run/udev/control") {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, udevPatience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	since = since.Add(-10 * time.Millisecond) // the file system's clock ticks every 4 ms at the slowest
	for {
		// It writes its record of the device anew at the end of each event.
		info, err := os.Stat(h.path(fmt.Sprintf("/run/udev/data/n%d", index)))
		if errors.Is(err, fs.ErrNotExist) && !h.exists("/run/udev/queue") {
			return
		}
		if err == nil && info.ModTime().After(since) && !h.exists("/run/udev/queue") {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
