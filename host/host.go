// Package host holds what the product needs of the machine itself: its files, a lock, the journal,
// the service manager, and the id of its boot. The rooms below it are the windows on the network.
//
// In go paths as the host sees them; out come bytes, permissions and errors that keep their errno.
// Everything is read and written under Host.Root: "/" in service, a temporary folder in a test, and
// /host in a Job. What networkd writes into files of its own is read here too, and /proc names the
// process behind a socket.
//
// The package must not decide: the caller says which file is ours. It runs no program, and of the
// services of the machine it speaks to the journal and the service manager alone. It knows nothing
// of the rooms below it, which are kernel (netlink), bus (D-Bus) and survey (who configures what).
//
// Start reading at Host, then files.go.
package host

import (
	"fmt"
	"path/filepath"
)

// Host is the files of one machine. Its methods may be called by several goroutines at once.
type Host struct {
	Root string // "/" in service; absolute
	own  own    // see WatchFiles
}

// New gives the host whose files are under root.
func New(root string) (*Host, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", root, err)
	}
	return &Host{Root: root}, nil
}

// Path is where the host's file p is for this process.
func (h *Host) Path(p string) string { return filepath.Join(h.Root, p) }
