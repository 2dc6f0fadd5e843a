// Package kernel reads and changes the links of this machine over rtnetlink. No other package does.
//
// In go a nic.Change, an address to ask the neighbours for, or the question what there is. Out come
// nic.Link, nic.Rule, a wake for each change that concerns the caller, and errors that keep their
// errno. Netlink always speaks to the network namespace of the thread that called New. The few
// things that netlink does not tell are read from the files of a host.Host.
//
// The package must not decide which link may be touched. Only a Writer changes links. A Writer has
// a Guard, and asks it before each change. Each call has a deadline. A list that changed while it
// was read is never given out.
//
// Start reading at Kernel, then links.go (what there is), writer.go (the change) and dump.go (the
// socket).
package kernel

import (
	"log/slog"

	"multinicd/host"
)

// Kernel is the network side of one machine's kernel. Several goroutines may call its methods at
// once, but two changes of one link must not run at once.
type Kernel struct {
	host *host.Host
	log  *slog.Logger
	rtnl *rtnl
	// inside, in tests, runs f on a thread in the network namespace of rtnl, because a thread sees
	// the /proc/sys/net of its own namespace. It is nil in service.
	inside func(f func())

	authors authors
}

// New opens the netlink socket. The socket stays in the network namespace of the calling thread,
// even when that thread moves to another. What netlink does not tell is read from the files of h.
// The log tells what was repaired or given up; errors that are returned are not logged.
func New(h *host.Host, log *slog.Logger) (*Kernel, error) {
	r, err := openRTNL()
	if err != nil {
		return nil, err
	}
	return &Kernel{host: h, log: log, rtnl: r}, nil
}

// Close closes the netlink socket. The Kernel must not be used afterwards.
func (k *Kernel) Close() { k.rtnl.close() }
