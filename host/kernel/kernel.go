// Package kernel reads and changes the links of this machine over rtnetlink.
package kernel

import (
	"log/slog"

	"multinicd/host"
)

// Kernel is the kernel of one machine, as far as its network goes. Its methods may be called by several goroutines at once; changes of one link must not.
type Kernel struct {
	host *host.Host
	log  *slog.Logger
	rtnl *rtnl
	// inside, in tests, runs f on a thread in the network namespace of rtnl: of /proc/sys/net a thread sees that of its own. nil in service.
	inside func(f func())

	authors authors
}

// New opens the netlink socket, which stays in the network namespace of the calling thread, also when that thread moves on. What
// netlink does not tell is read from the files of h. The logger gets what was repaired or given up on, never errors that are returned.
func New(h *host.Host, log *slog.Logger) (*Kernel, error) {
	r, err := openRTNL()
	if err != nil {
		return nil, err
	}
	return &Kernel{host: h, log: log, rtnl: r}, nil
}

// Close gives up the netlink socket. The Kernel must not be used afterwards.
func (k *Kernel) Close() { k.rtnl.close() }
