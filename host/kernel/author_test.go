package kernel

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"multinicd/host"
	"multinicd/internal/hosttest"
	"multinicd/nic"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// script is a process that has an rtnetlink socket with its id as the port, as most have.
func (n *namespace) script(id int) (send func(kind, flags int, body []byte, a ...attribute)) {
	n.t.Helper()
	var fd int
	var err error
	n.in(func() { fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE) })
	n.ok(err)
	n.t.Cleanup(func() { _ = unix.Close(fd) })
	n.ok(unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: uint32(id)}))
	hosttest.Files(n.t, n.host.Root, map[string]string{
		fmt.Sprintf("/proc/%d/comm", id):     "script\n",
		fmt.Sprintf("/proc/%d/status", id):   fmt.Sprintf("Uid:\t0\nNSpid:\t%d\n", id),
		fmt.Sprintf("/proc/%d/loginuid", id): "4294967295", // nobody has logged in
		"/proc/thread-self/net/netlink":      fmt.Sprintf("sk Eth Pid\n0 0 %d\n", id),
		"/etc/passwd":                        "root:x:0:0:root:/root:/bin/bash\n",
	})
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

	// What a person puts there is his own, and what we or a network manager put there is not.
	hand := func() (out string) {
		for _, h := range n.link("multinic1").Addresses {
			if h.Hand {
				out += h.Prefix.String()
			}
		}
		return out
	}
	theirs := prefixes("203.0.113.77/24")[0]
	put := func() {
		send(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, ifAddr(l.Index, theirs), attr(unix.IFA_LOCAL, theirs.Addr().AsSlice()), attr(unix.IFA_ADDRESS, theirs.Addr().AsSlice()))
	}
	put()
	seen()
	if got := hand(); got != theirs.String() {
		t.Errorf("by hand are %q, want %s", got, theirs)
	}
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Del: []netip.Prefix{theirs}})
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Add: []netip.Prefix{theirs}})
	seen()
	if got := hand(); got != "" {
		t.Errorf("by hand are %q, want what we have put there to be ours", got)
	}
	hosttest.Files(t, n.host.Root, map[string]string{"/proc/4000001/comm": "NetworkManager\n"})
	n.authors.Lock()
	n.authors.owners = host.SocketOwners{} // who has the port is remembered for a while
	n.authors.Unlock()
	put()
	send(unix.RTM_DELADDR, 0, ifAddr(l.Index, theirs), attr(unix.IFA_LOCAL, theirs.Addr().AsSlice()))
	put()
	eventually(t, "NetworkManager", func() bool { return strings.HasPrefix(n.Author(l.Index, theirs), "NetworkManager") })
	if got := hand(); got != "" {
		t.Errorf("by hand are %q, want what a network manager put there not to be", got)
	}
	hosttest.Files(t, n.host.Root, map[string]string{"/proc/4000001/comm": "script\n"})
	n.authors.Lock()
	n.authors.owners = host.SocketOwners{}
	n.authors.Unlock()
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Del: []netip.Prefix{theirs}})

	// Ours, after somebody else's, is nobody's.
	send(unix.RTM_DELADDR, 0, ifAddr(l.Index, b), attr(unix.IFA_LOCAL, b.Addr().AsSlice()))
	eventually(t, "the deletion", func() bool { return len(addresses(n.link("multinic1"))) == 0 })
	n.change(nic.Change{Index: l.Index, MAC: l.MAC, Add: []netip.Prefix{b}})
	seen()
	want("the address that we put back", l.Index, b, "")
	woken(wake, 0)
}
