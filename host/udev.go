package host

import (
	"context"
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
//
// It writes its record of the device anew at the end of each event: another file (fopen_temporary and rename in src/libsystemd/sd-device) than
// before, udevRecord from before the rename. No clock is asked, which somebody may set meanwhile.
func (h *Host) udevDone(ctx context.Context, index int, before fs.FileInfo) {
	if !h.exists("/run/udev/control") {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, udevPatience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		now := h.udevRecord(index)
		anew := now == nil || before == nil || !os.SameFile(before, now) || !now.ModTime().Equal(before.ModTime())
		if anew && !h.exists("/run/udev/queue") {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// udevRecord is the file in which udev keeps what it knows of a link; nil: it keeps nothing.
func (h *Host) udevRecord(index int) fs.FileInfo {
	info, err := os.Stat(h.path(fmt.Sprintf("/run/udev/data/n%d", index)))
	if err != nil {
		return nil
	}
	return info
}
