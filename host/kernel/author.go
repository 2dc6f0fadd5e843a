package kernel

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"multinicd/host"
	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// authors remembers who asked the kernel for the latest change of each address, route and rule, as
// far as the kernel tells. The kernel announces such a change with the port of the socket that
// asked for it (netlink(7)). For a change of the link itself (its name, its MTU, up, down) it tells
// nobody.
type authors struct {
	sync.Mutex
	last   map[subject]string
	owners map[uint32]owner // the owners that were found last
}

// subject is what was changed: a link's ifindex (0 for a rule), and a netip.Prefix (an address) or
// the key of a nic.Route or nic.Rule.
type subject struct {
	index int
	what  any
}

// owner is the process whose socket has a port. To find it may take a walk over all processes.
type owner struct {
	name string
	at   time.Time
}

const (
	// maxAuthors bounds what is remembered, because links and routes come and go.
	maxAuthors = 4096
	// ownerAge is how long the owner of a port counts as known, once it was found alive.
	ownerAge = 10 * time.Second
	// maxPID is PID_MAX_LIMIT of linux/threads.h.
	maxPID = 4 << 20
)

// noteAuthor notes who asked for the change that an event announces. A change by the kernel itself
// (port 0), or by us, has no author.
func (k *Kernel) noteAuthor(kind uint16, m []byte, port uint32) {
	var about []subject
	switch kind {
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if index, a, ok := parseAddress(m); ok {
			about = append(about, subject{index, a.Prefix})
		}
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		parseRoute(m, func(index int, r nic.Route) { about = append(about, subject{index, r.Key()}) })
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		if r, ok := parseRule(m); ok {
			about = append(about, subject{0, r.Key()})
		}
	}
	if len(about) == 0 {
		return
	}
	k.authors.Lock()
	defer k.authors.Unlock()
	who := ""
	if own, err := k.rtnl.port(); err == nil && port != own && port != 0 {
		who = k.ownerOf(port)
	}
	for _, s := range about {
		if who == "" {
			delete(k.authors.last, s)
			continue
		}
		if k.authors.last == nil || len(k.authors.last) >= maxAuthors {
			k.authors.last = map[subject]string{}
		}
		k.authors.last[s] = who
	}
}

// Author returns, and forgets, the process other than multinicd that made the last change of what.
// what is an address (netip.Prefix) or a route (nic.Route) of the link with that ifindex; or, with
// index 0, a rule (nic.Rule). Author returns "" if that is not known for certain. The kernel's
// events must be followed, see Events.
func (k *Kernel) Author(index int, what any) string {
	switch w := what.(type) {
	case netip.Prefix:
	case nic.Route:
		what = w.Key()
	case nic.Rule:
		index, what = 0, w.Key()
	default:
		return ""
	}
	k.authors.Lock()
	defer k.authors.Unlock()
	s := subject{index, what}
	who := k.authors.last[s]
	delete(k.authors.last, s)
	return who
}

// ownerOf returns the owner of a netlink port, or "" if that is not certain. By default the port is
// the process id of the socket's owner, in the owner's own PID namespace: on the host, or in
// another container, the same number may be another process. A second socket of a process has a
// port above all process ids, which says nothing.
func (k *Kernel) ownerOf(port uint32) string {
	if port > maxPID {
		return ""
	}
	if o, ok := k.authors.owners[port]; ok && time.Since(o.at) < ownerAge {
		return o.name
	}
	name, lives := k.process(int(port))
	if lives {
		if k.authors.owners == nil || len(k.authors.owners) >= maxAuthors {
			k.authors.owners = map[uint32]owner{}
		}
		k.authors.owners[port] = owner{name, time.Now()}
	}
	return name
}

// process names the process whose rtnetlink socket has a port, and says whether it lives.
func (k *Kernel) process(port int) (name string, lives bool) {
	// systemd-networkd gets its socket from process 1 (systemd-networkd.socket) and keeps it. The
	// first process of a container then gets another port.
	if comm, _, err := k.host.Read("/proc/1/comm"); port == 1 && err == nil && k.host.NetworkdRuns() && string(comm) == "systemd\n" {
		return "systemd-networkd", true
	}
	name, own := k.described(port) // at once: a command lives only for moments
	all, err := k.numbered(port)
	if err != nil {
		return "", false
	}
	others := slices.DeleteFunc(all, func(pid int) bool { return pid == port && own })
	open, err := k.hasRoutePort(port)
	if err != nil {
		return "", false
	}
	lives = k.lives(port)
	switch {
	case len(others) == 0 && own && (open || !lives):
		return name, lives
	case len(others) == 0 && !own && !open:
		return fmt.Sprintf("a command that has ended, process %d", port), false
	case len(others) == 1 && !own && open: // a process of a container
		name, _ = k.described(others[0])
		return name, true
	}
	return "", false // several processes are possible, or one that no longer has such a socket
}

// lives says whether a process is there and is not about to end. A process that ends closes its
// sockets first, and may stay in /proc for a while after that.
func (k *Kernel) lives(pid int) bool {
	const exiting = 0x4 // PF_EXITING of linux/sched.h
	data, _, err := k.host.Read(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return k.host.Exists(fmt.Sprintf("/proc/%d", pid))
	}
	// The command is in parentheses, and may itself contain parentheses. After it come the state,
	// five numbers, and the flags (proc_pid_stat(5)).
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(f) < 7 {
		return true
	}
	flags, err := strconv.ParseUint(f[6], 10, 64)
	return f[0] != "Z" && f[0] != "X" && (err != nil || flags&exiting == 0)
}

// numbered lists the processes that have an id in their own PID namespace. It gives their ids in
// our namespace.
func (k *Kernel) numbered(id int) (out []int, err error) {
	files, err := k.host.Glob("/proc/[0-9]*/status")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		data, _, err := k.host.Read(f)
		if host.Short(err) {
			return nil, err
		} else if err != nil {
			continue // the process has ended
		}
		ids := statusField(data, "NSpid") // Linux 4.1; the outermost namespace first
		if len(ids) > 0 && ids[len(ids)-1] == strconv.Itoa(id) {
			pid, _ := strconv.Atoi(ids[0])
			out = append(out, pid)
		}
	}
	return out, nil
}

// statusField gives the words of one line of /proc/PID/status, see proc_pid_status(5).
func statusField(status []byte, key string) []string {
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte(key+":")); ok {
			return strings.Fields(string(value))
		}
	}
	return nil
}

// hasRoutePort says whether an rtnetlink socket of our network namespace has that port.
func (k *Kernel) hasRoutePort(port int) (bool, error) {
	data, _, err := k.host.Read("/proc/thread-self/net/netlink")
	if err != nil {
		return false, err
	}
	for line := range bytes.Lines(data) {
		// sk, protocol (NETLINK_ROUTE is 0), port, and more
		if f := strings.Fields(string(line)); len(f) > 2 && f[1] == "0" && f[2] == strconv.Itoa(port) {
			return true, nil
		}
	}
	return false, nil
}

// described is a process for a person: its command, its id, and the user who runs it. It is "" if
// the process has ended. own says that the process has the same id in its own PID namespace.
func (k *Kernel) described(pid int) (name string, own bool) {
	comm, _, err := k.host.Read(fmt.Sprintf("/proc/%d/comm", pid))
	status, _, failed := k.host.Read(fmt.Sprintf("/proc/%d/status", pid))
	ids, users := statusField(status, "NSpid"), statusField(status, "Uid")
	if err != nil || failed != nil || len(users) == 0 {
		return "", false
	}
	name = fmt.Sprintf("%s (process %d, user %s", strings.TrimSpace(string(comm)), pid, k.userName(users[0]))
	// After sudo, the user who logged in is still known (pam_loginuid(8)). All ones means that
	// nobody has logged in.
	if login, _, err := k.host.Read(fmt.Sprintf("/proc/%d/loginuid", pid)); err == nil {
		if id := strings.TrimSpace(string(login)); !slices.Contains([]string{"", "4294967295", users[0]}, id) {
			name += ", logged in as " + k.userName(id)
		}
	}
	return name + ")", len(ids) == 1
}

// userName is the name of a user of this host (passwd(5)). If there is none, it is the id.
func (k *Kernel) userName(id string) string {
	name := id
	if data, _, err := k.host.Read("/etc/passwd"); err == nil {
		_ = host.Lines(data, func(line string) error {
			if f := strings.Split(line, ":"); len(f) > 2 && f[2] == id {
				name = f[0]
			}
			return nil
		})
	}
	return name
}
