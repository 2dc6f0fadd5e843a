package host

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// proc is a process of a fake /proc.
type proc struct {
	comm, nspid, uid, login string
}

// fakeProc fills /proc under root with processes by their id, and with the open netlink sockets by protocol and port.
func fakeProc(t testing.TB, root string, processes map[int]proc, sockets ...string) {
	t.Helper()
	put := func(name, text string) {
		t.Helper()
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for pid, p := range processes {
		put(fmt.Sprintf("/proc/%d/comm", pid), p.comm+"\n")
		put(fmt.Sprintf("/proc/%d/status", pid), "Name:\t"+p.comm+"\nUid:\t"+p.uid+"\t0\t0\t0\nNSpid:\t"+p.nspid+"\nCapEff:\t0\n")
		put(fmt.Sprintf("/proc/%d/loginuid", pid), p.login)
	}
	table := "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"
	for _, s := range sockets {
		table += "0000000000000000 " + s + "          00000000 0        0        0     2        0        4\n"
	}
	put("/proc/thread-self/net/netlink", table)
	put("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/bash\n")
}

const nobody = "4294967295"

func TestAPortIsNamedOnlyWhereItsOwnerIsCertain(t *testing.T) {
	for name, tt := range map[string]struct {
		port      uint32
		processes map[int]proc
		sockets   []string
		networkd  bool
		stat      string // of the process with the port's number
		want      string
	}{
		"a command that lives": {port: 264, processes: map[int]proc{264: {"ip", "264", "0", nobody}}, sockets: []string{"0 264"}, want: "ip (process 264, user root)"},
		"one of somebody who became root": {port: 264, processes: map[int]proc{264: {"ip", "264", "0", "1000"}}, sockets: []string{"0 264"},
			want: "ip (process 264, user root, logged in as alice)"},
		"one of a user without a name": {port: 264, processes: map[int]proc{264: {"ip", "264", "77", nobody}}, sockets: []string{"0 264"}, want: "ip (process 264, user 77)"},
		"a command that is ending, and has closed its socket": {port: 264, processes: map[int]proc{264: {"ip", "264", "0", nobody}},
			stat: "264 (ip) a) R 1 264 264 0 -1 4194308 80 0", want: "ip (process 264, user root)"},
		"a command whose parent has not asked for its end": {port: 264, processes: map[int]proc{264: {"ip", "264", "0", nobody}},
			stat: "264 (ip) Z 1 264 264 0 -1 4194304 80 0", want: "ip (process 264, user root)"},
		"one with the number that goes on": {port: 264, processes: map[int]proc{264: {"cron", "264", "0", nobody}}, stat: "264 (cron) S 1 264 264 0 -1 4194304 80 0"},
		"a command that has ended":         {port: 264, processes: map[int]proc{265: {"cron", "265", "0", nobody}}, want: "a command that has ended, process 264"},
		"a process of a container":         {port: 57, processes: map[int]proc{4711: {"calico-node", "4711\t57", "0", nobody}}, sockets: []string{"0 57"}, want: "calico-node (process 4711, user root)"},
		"one of a container, and its number is another's on the host": {port: 57, processes: map[int]proc{57: {"kworker/0:1", "57", "0", nobody}, 4711: {"calico-node", "4711\t57", "0", nobody}},
			sockets: []string{"0 57"}},
		"one of two containers with the number":                                      {port: 57, processes: map[int]proc{4711: {"a", "4711\t57", "0", nobody}, 4712: {"b", "4712\t57", "0", nobody}}, sockets: []string{"0 57"}},
		"one of a container that has ended, and its number is another's on the host": {port: 57, processes: map[int]proc{57: {"cron", "57", "0", nobody}}},
		"one that has the number on the host only":                                   {port: 4711, processes: map[int]proc{4711: {"calico-node", "4711\t57", "0", nobody}}, sockets: []string{"0 4711"}},
		"a socket of another protocol is none of its own":                            {port: 264, processes: map[int]proc{264: {"auditd", "264", "0", nobody}}, sockets: []string{"9 264"}},
		"a socket whose first owner has ended":                                       {port: 264, sockets: []string{"0 264"}},
		"a second socket of a process":                                               {port: 3489660928, sockets: []string{"0 3489660928"}},
		"systemd-networkd, which has its socket from systemd": {port: 1, networkd: true, processes: map[int]proc{1: {"systemd", "1", "0", nobody}, 4711: {"runsvdir", "4711\t1", "0", nobody}},
			sockets: []string{"0 1"}, want: "systemd-networkd"},
		"the first process of a container, where no networkd runs": {port: 1, processes: map[int]proc{1: {"systemd", "1", "0", nobody}, 4711: {"kube-proxy", "4711\t1", "0", nobody}}, sockets: []string{"0 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &Host{Root: t.TempDir()}
			fakeProc(t, h.Root, tt.processes, tt.sockets...)
			if tt.stat != "" {
				if err := os.WriteFile(h.Path(fmt.Sprintf("/proc/%d/stat", tt.port)), []byte(tt.stat), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if tt.networkd {
				if err := os.MkdirAll(h.Path("/run/systemd/netif"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(h.Path(NetworkdState), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got, _ := h.RouteSocketOwner(tt.port); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
