package host

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxPID is PID_MAX_LIMIT of linux/threads.h.
const maxPID = 4 << 20

// RouteSocketOwner names, for a person, the process whose rtnetlink socket has a port, and says
// whether the process lives. The name is "" if it is not certain. By default the port is the process
// id of the socket's owner, in the owner's own PID namespace: on the host, or in another container,
// the same number may be another process. A second socket of a process has a port above all process
// ids, which says nothing.
func (h *Host) RouteSocketOwner(socket uint32) (name string, lives bool) {
	if socket > maxPID {
		return "", false
	}
	port := int(socket)
	// systemd-networkd gets its socket from process 1 (systemd-networkd.socket) and keeps it. The
	// first process of a container then gets another port.
	if comm, _, err := h.Read("/proc/1/comm"); port == 1 && err == nil && h.NetworkdRuns() && string(comm) == "systemd\n" {
		return "systemd-networkd", true
	}
	name, own := h.described(port) // at once: a command lives only for moments
	all, err := h.numbered(port)
	if err != nil {
		return "", false
	}
	others := slices.DeleteFunc(all, func(pid int) bool { return pid == port && own })
	open, err := h.hasRoutePort(port)
	if err != nil {
		return "", false
	}
	lives = h.lives(port)
	switch {
	case len(others) == 0 && own && (open || !lives):
		return name, lives
	case len(others) == 0 && !own && !open:
		return fmt.Sprintf("a command that has ended, process %d", port), false
	case len(others) == 1 && !own && open: // a process of a container
		name, _ = h.described(others[0])
		return name, true
	}
	return "", false // several processes are possible, or one that no longer has such a socket
}

// lives says whether a process is there and is not about to end. A process that ends closes its
// sockets first, and may stay in /proc for a while after that.
func (h *Host) lives(pid int) bool {
	const exiting = 0x4 // PF_EXITING of linux/sched.h
	data, _, err := h.Read(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return h.Exists(fmt.Sprintf("/proc/%d", pid))
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
func (h *Host) numbered(id int) (out []int, err error) {
	files, err := h.Glob("/proc/[0-9]*/status")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		data, _, err := h.Read(f)
		if Short(err) {
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
func (h *Host) hasRoutePort(port int) (bool, error) {
	data, _, err := h.Read("/proc/thread-self/net/netlink")
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
func (h *Host) described(pid int) (name string, own bool) {
	comm, _, err := h.Read(fmt.Sprintf("/proc/%d/comm", pid))
	status, _, failed := h.Read(fmt.Sprintf("/proc/%d/status", pid))
	ids, users := statusField(status, "NSpid"), statusField(status, "Uid")
	if err != nil || failed != nil || len(users) == 0 {
		return "", false
	}
	name = fmt.Sprintf("%s (process %d, user %s", strings.TrimSpace(string(comm)), pid, h.userName(users[0]))
	// After sudo, the user who logged in is still known (pam_loginuid(8)). All ones means that
	// nobody has logged in.
	if login, _, err := h.Read(fmt.Sprintf("/proc/%d/loginuid", pid)); err == nil {
		if id := strings.TrimSpace(string(login)); !slices.Contains([]string{"", "4294967295", users[0]}, id) {
			name += ", logged in as " + h.userName(id)
		}
	}
	return name + ")", len(ids) == 1
}

// userName is the name of a user of this host (passwd(5)). If there is none, it is the id.
func (h *Host) userName(id string) string {
	name := id
	if data, _, err := h.Read("/etc/passwd"); err == nil {
		_ = Lines(data, func(line string) error {
			if f := strings.Split(line, ":"); len(f) > 2 && f[2] == id {
				name = f[0]
			}
			return nil
		})
	}
	return name
}
