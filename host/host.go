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
	"path/filepath"
)

// Host is the files of one machine. Its methods may be called by several goroutines at once.
type Host struct {
	Root string // "/" in service; absolute
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
