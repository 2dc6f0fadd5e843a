package host

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// authors remembers by whom the kernel was asked for the latest change of each link, as far as it tells: since a change of an address, a route
// or a rule is announced with the port of the socket that asked for it, which by default is the process id of its owner (netlink(7)).
type authors struct {
	sync.Mutex
	last map[int]string
}

// noteAuthor notes the owner of a netlink port for a link; 0, for what belongs to no link. Our own changes are nobody's.
func (h *Host) noteAuthor(index int, port uint32) {
	if own, err := h.rtnl.port(); port == 0 || err != nil || port == own {
		return
	}
	// A second socket of a process has a port that says nothing: those are above all process ids.
	who := "a process that cannot be told"
	if port <= maxPID {
		who = fmt.Sprintf("process %d, which has ended", port)
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", port)); err == nil {
			who = fmt.Sprintf("%s (process %d)", strings.TrimSpace(string(name)), port)
		}
		if who == "systemd (process 1)" {
			who = "systemd-networkd" // which has its socket from there: systemd-networkd.socket
		}
	}
	h.authors.Lock()
	defer h.authors.Unlock()
	if h.authors.last == nil || len(h.authors.last) > 1024 { // links come and go
		h.authors.last = map[int]string{}
	}
	h.authors.last[index] = who
}

// maxPID is PID_MAX_LIMIT of linux/threads.h.
const maxPID = 4 << 20

// Author says who changed something about the link last, but us, and forgets it; "" where the kernel has not told. An index of 0 asks
// about rules.
func (h *Host) Author(index int) string {
	h.authors.Lock()
	defer h.authors.Unlock()
	who := h.authors.last[index]
	delete(h.authors.last, index)
	return who
}
