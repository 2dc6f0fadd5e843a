package kernel

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"multinicd/host"
	"multinicd/nic"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
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
			k := &Kernel{host: &host.Host{Root: t.TempDir()}, log: slog.New(slog.DiscardHandler)}
			fakeProc(t, k.host.Root, tt.processes, tt.sockets...)
			if tt.stat != "" {
				if err := os.WriteFile(k.host.Path(fmt.Sprintf("/proc/%d/stat", tt.port)), []byte(tt.stat), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if tt.networkd {
				if err := os.MkdirAll(k.host.Path("/run/systemd/netif"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(k.host.Path(host.NetworkdState), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // also by memory
				if got := k.ownerOf(tt.port); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
		})
	}
}

// script is a process that has an rtnetlink socket with its id as the port, as most have.
func (n *namespace) script(id int) (send func(kind, flags int, body []byte, a ...attribute)) {
	n.t.Helper()
	var fd int
	var err error
	n.in(func() { fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE) })
	n.ok(err)
	n.t.Cleanup(func() { _ = unix.Close(fd) })
	n.ok(unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: uint32(id)}))
	fakeProc(n.t, n.host.Root, map[int]proc{id: {"script", fmt.Sprint(id), "0", nobody}}, fmt.Sprintf("0 %d", id))
	return func(kind, flags int, body []byte, a ...attribute) {
		n.t.Helper()
		req := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
		req.AddRawData(body)
		for _, one := range a {
			req.AddRawData(one.encode())
		}
		n.ok(unix.Sendto(fd, req.Serialize(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	}
}

func TestTheAuthorOfEachAddressRouteAndRuleIsKnown(t *testing.T) {
	n := newNamespace(t)
	n.veth("multinic1", testMAC)
	n.quick("multinic1")
	n.sysctl("net/ipv6/conf/multinic1/disable_ipv6", "1")
	l := n.link("multinic1")
	a, b := prefixes("192.0.2.10/24")[0], prefixes("203.0.113.11/24")[0]
	route := nic.Route{To: prefixes("198.51.100.0/24")[0], Via: netip.MustParseAddr("192.0.2.1")}
	rule := nic.Rule{Priority: 20001, From: prefixes("192.0.2.10/32")[0], Table: 10001}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: []netip.Prefix{a, b}, AddRoutes: []nic.Route{route}, AddRules: []nic.Rule{rule}})
	send := n.script(4000001)
	const who = "script (process 4000001, user root)"
	wake := listen(t, n, func(index int, _ bool) bool { return index == l.Index || index == 0 })
	// seen waits until an event has been looked into that comes behind all that was asked for before.
	mark := nic.Rule{Priority: 20009, From: prefixes("192.0.2.99/32")[0], Table: 10001}
	seen := func() {
		t.Helper()
		body, attributes := ruleRequest(mark)
		send(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body, attributes...)
		eventually(t, "the mark", func() bool { return n.Author(0, mark) == who })
		n.change(nic.Change{Index: l.Index, MAC: l.MAC, DelRules: []nic.Rule{mark}})
	}
	want := func(name string, index int, what any, want string) {
		t.Helper()
		if got := n.Author(index, what); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	send(unix.RTM_DELADDR, 0, ifAddr(l.Index, a), attr(unix.IFA_LOCAL, a.Addr().AsSlice()))
	send(unix.RTM_SETLINK, 0, ifInfo(l.Index, 0, unix.IFF_UP))
	send(unix.RTM_SETLINK, 0, ifInfo(l.Index, unix.IFF_UP, unix.IFF_UP))
	kept := rule
	kept.Protocol = unix.RTPROT_STATIC // as the writer makes it
	body, attributes := ruleRequest(kept)
	send(unix.RTM_DELRULE, 0, body, attributes...)
	seen()
	want("the address that was deleted", l.Index, a, who)
	want("what was asked already", l.Index, a, "")
	want("the address that stayed", l.Index, b, "")
	want("the route, which the kernel took", l.Index, route, "")
	want("another link's address", l.Index+1, a, "")
	want("the rule, whatever link is asked for", l.Index, rule, who)

	// Ours, after somebody else's, is nobody's.
	send(unix.RTM_DELADDR, 0, ifAddr(l.Index, b), attr(unix.IFA_LOCAL, b.Addr().AsSlice()))
	eventually(t, "the deletion", func() bool { return len(addresses(n.link("multinic1"))) == 0 })
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Add: []netip.Prefix{b}})
	seen()
	want("the address that we put back", l.Index, b, "")
	woken(wake, 0)
}
