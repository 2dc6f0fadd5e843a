package testhost

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Every booted host takes about a dozen inotify instances of the one user that they all share, root, and the kernel's default is 128: at the
// tenth host a systemd hangs in mid-boot without a word.
const (
	inotifyFile      = "/proc/sys/fs/inotify/max_user_instances"
	inotifyInstances = 2048
)

// raiseLimits makes room for many hosts. It is all that the test bed leaves behind on a machine, until the next boot.
func raiseLimits() error {
	text, err := os.ReadFile(inotifyFile)
	if err != nil {
		return fmt.Errorf("reading the limit of inotify instances: %w", err)
	}
	if now, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && now >= inotifyInstances {
		return nil
	}
	if err := os.WriteFile(inotifyFile, []byte(strconv.Itoa(inotifyInstances)), 0); err != nil {
		return fmt.Errorf("raising the limit of inotify instances to %d: %w", inotifyInstances, err)
	}
	return nil
}
