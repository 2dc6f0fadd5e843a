package survey

import (
	"cmp"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Listener is a port at which a program of this host listens on all addresses, also those to come.
type Listener struct {
	Port    int
	Program string // by its own word; "": not known
}

// maxListeners is how many ports are told.
const maxListeners = 64

// Listeners lists the TCP ports that are open on all addresses of this host's network namespace, by
// number, each once. It goes by /proc/net/tcp and tcp6 (proc_net_tcp(5)). NodePorts are not among
// them: the kernel takes them off before a socket sees them.
func (s *Survey) Listeners() (out []Listener) {
	ports := map[int]string{} // the inode of the socket
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		_ = s.host.Each(table, func(line string) bool { // without IPv6 there is no tcp6
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" {
				return true
			}
			address, port, _ := strings.Cut(f[1], ":")
			if n, err := strconv.ParseUint(port, 16, 16); err == nil && strings.Trim(address, "0") == "" && len(ports) < maxListeners {
				ports[int(n)] = f[9]
			}
			return true
		})
	}
	programs := s.programs(ports)
	for port, inode := range ports {
		out = append(out, Listener{port, programs[inode]})
	}
	slices.SortFunc(out, func(a, b Listener) int { return cmp.Compare(a.Port, b.Port) })
	return out
}

// programs names the programs that hold sockets, by the sockets' inodes.
func (s *Survey) programs(ports map[int]string) map[string]string {
	wanted := map[string]string{}
	for _, inode := range ports {
		wanted["socket:["+inode+"]"] = inode
	}
	out := map[string]string{}
	if len(wanted) == 0 {
		return out
	}
	files, _ := s.host.Glob("/proc/[0-9]*/fd/*") // processes end meanwhile
	for _, f := range files {
		target, _ := os.Readlink(s.host.Path(f))
		inode, ok := wanted[target]
		if !ok || out[inode] != "" {
			continue
		}
		if comm, err := s.host.Head(path.Join(path.Dir(path.Dir(f)), "comm"), maxHead); err == nil {
			out[inode] = strings.TrimSpace(string(comm))
		}
	}
	return out
}
