package host

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"multinicd/internal/hosttest"
)

// What networkd would touch of others if it read its files again; it is not asked then.
func TestWhatAReloadOfNetworkdWouldTouch(t *testing.T) {
	const own, theirs, conf = "/run/systemd/network/10-netplan-multinic1.network", "/etc/systemd/network/20-lan.network", "/etc/systemd/networkd.conf.d/10-x.conf"
	_, prefix, _ := net.ParseCIDR("192.0.2.7/32")
	rule := func(n *namespace) {
		r := netlink.NewRule()
		r.Src, r.Table, r.Priority = prefix, 10001, 20001
		n.ok(n.RuleAdd(r))
	}
	blackhole := func(n *namespace) {
		n.ok(n.RouteAdd(&netlink.Route{Dst: prefix, Type: unix.RTN_BLACKHOLE, Protocol: 80}))
	}
	const keep = "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n"
	for name, test := range map[string]struct {
		files   map[string]string
		started time.Duration // against the files
		do      func(n *namespace)
		want    string
	}{
		"nothing of others":                       {files: map[string]string{theirs: "", own: ""}, started: time.Hour},
		"a file of others that is new":            {files: map[string]string{theirs: ""}, started: -time.Hour, want: theirs},
		"a drop-in of others that is new":         {files: map[string]string{theirs + ".d/x.conf": ""}, started: -time.Hour, want: theirs + ".d/x.conf"},
		"a virtual link of others that is new":    {files: map[string]string{"/run/systemd/network/br.netdev": ""}, started: -time.Hour, want: "br.netdev"},
		"a file of ours that is new":              {files: map[string]string{own: ""}, started: -time.Hour},
		"a file of others that a link had":        {files: map[string]string{"/run/systemd/netif/links/2": "ADMIN_STATE=configured\nNETWORK_FILE=" + theirs + "\n"}, started: time.Hour, want: theirs + " is gone"},
		"a file of ours that a link had":          {files: map[string]string{"/run/systemd/netif/links/2": "ADMIN_STATE=configured\nNETWORK_FILE=" + own + "\n"}, started: time.Hour},
		"a rule that it does not know":            {started: time.Hour, do: rule, want: "from 192.0.2.7/32 lookup 10001 priority 20001"},
		"a rule that it knows":                    {files: map[string]string{own: "[Match]\nName=x\n[RoutingPolicyRule]\nFrom=192.0.2.7\nTable=10001\nPriority=20001\n"}, started: time.Hour, do: rule},
		"a rule that it knows with another table": {files: map[string]string{own: "[RoutingPolicyRule]\nFrom=192.0.2.7/32\nTable=10002\nPriority=20001\n"}, started: time.Hour, do: rule, want: "priority 20001"},
		"a rule that it knows with a mark":        {files: map[string]string{own: "[RoutingPolicyRule]\nFrom=192.0.2.7/32\nFirewallMark=1\nTable=10001\nPriority=20001\n"}, started: time.Hour, do: rule, want: "priority 20001"},
		"a rule that it leaves alone":             {files: map[string]string{conf: keep}, started: time.Hour, do: rule},
		"a rule that it will leave alone":         {files: map[string]string{conf: keep}, started: -time.Hour, do: rule, want: "priority 20001"},
		"a blackhole":                             {started: time.Hour, do: blackhole, want: "192.0.2.7/32"},
		"a blackhole that it leaves alone":        {files: map[string]string{conf: keep}, started: time.Hour, do: blackhole},
		"a networkd that does not run":            {want: "does not run"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNamespace(t)
			hosttest.Files(t, n.Root, map[string]string{"/run/systemd/netif/state": "", "/run/systemd/units/x": ""})
			hosttest.Files(t, n.Root, test.files)
			if test.started != 0 {
				link := n.Path("/run/systemd/units/invocation:systemd-networkd.service")
				n.ok(os.Symlink("x", link))
				at := unix.NsecToTimeval(time.Now().Add(test.started).UnixNano())
				n.ok(unix.Lutimes(link, []unix.Timeval{at, at}))
			}
			if test.do != nil {
				test.do(n)
			}
			unsafe, err := n.networkdUnsafe(t.Context(), func(f string) bool { return f == own })
			if err != nil || (unsafe == "") != (test.want == "") || !strings.Contains(unsafe, test.want) {
				t.Errorf("got %q, %v, want %q", unsafe, err, test.want)
			}
		})
	}
	n := newNamespace(t)
	hosttest.Files(t, n.Root, map[string]string{conf: keep, "/run/systemd/units/x": ""})
	n.ok(os.Chmod(n.Path(conf), 0o600))
	link := n.Path("/run/systemd/units/invocation:systemd-networkd.service")
	n.ok(os.Symlink("x", link))
	at := unix.NsecToTimeval(time.Now().Add(time.Hour).UnixNano())
	n.ok(unix.Lutimes(link, []unix.Timeval{at, at}))
	if n.networkdKeeps("ManageForeignRoutes") {
		t.Error("a file that networkd's user cannot read is taken for in force")
	}
}
