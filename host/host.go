// Package host is the only room with windows on the machine: links over netlink, files, the system bus, and what systemd,
// the kubelet and cloud-init left on disk.
//
// In go paths, nic.Change and questions; out come nic.Link, bytes, claims and stacks with their evidence, and errors that keep
// their errno. Everything under Host.Root is read and written there, so that a test has a machine in a temporary folder and a
// Job has one under /host. Netlink and the system bus always speak to the kernel and the bus of this process.
//
// It must not decide: what is wanted, what is ours and what may be touched is told by the caller. Links are changed by a Writer
// only, and a Writer exists only with a Guard. No program is run, no call is without a deadline, and the bus is not even
// dialled unless a call is made.
//
// Start reading at Host, then links.go (reading the kernel), writer.go (changing it) and files.go.
package host

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
)

// Host is one machine. Its methods may be called by several goroutines at once; changes of one link must not.
type Host struct {
	Root string // "/" in service; absolute

	log  *slog.Logger
	rtnl *rtnl
	// inside, in tests, runs f on a thread in the network namespace of rtnl: of /proc/sys/net a thread sees that of its own. nil in service.
	inside func(f func())

	netplanJudge atomic.Pointer[string] // the method found by findNetplanJudge; nil: not looked for yet

	claims  claimCache
	netplan netplanCache
	formers formerCache
	authors authors
	nodes   nodeCache
}

// New opens the host whose files are under root. The netlink socket is opened here and stays in the network namespace of the
// calling thread, also when that thread moves on. The logger gets what the host repaired or gave up on, never errors that are returned.
func New(root string, log *slog.Logger) (*Host, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", root, err)
	}
	r, err := openRTNL()
	if err != nil {
		return nil, err
	}
	return &Host{Root: root, log: log, rtnl: r}, nil
}

// Close gives up the netlink socket. The Host must not be used afterwards.
func (h *Host) Close() {
	h.rtnl.close()
}

// Path is where the host's file p is for this process.
func (h *Host) Path(p string) string { return filepath.Join(h.Root, p) }
