package bus

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"multinicd/host"
	"multinicd/internal/hosttest"
	"multinicd/nic"
)

// What networkd would touch of others if it read its files again; it is not asked then.
func TestWhatAReloadOfNetworkdWouldTouch(t *testing.T) {
	const own, theirs, conf = "/run/systemd/network/10-netplan-multinic1.network", "/etc/systemd/network/20-lan.network", "/etc/systemd/networkd.conf.d/10-x.conf"
	prefix := netip.MustParsePrefix("192.0.2.7/32")
	rule := kernelOf{rules: []nic.Rule{{Priority: 20001, From: prefix, Table: 10001}}}
	main := kernelOf{rules: []nic.Rule{{Priority: 10001, From: prefix, Table: 254, NoDefault: true}}}
	blackhole := kernelOf{lone: prefix}
	const keep = "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n"
	for name, test := range map[string]struct {
		files   map[string]string
		started time.Duration // against the files
		kernel  kernelOf
		want    string
	}{
		"nothing of others":                       {files: map[string]string{theirs: "", own: ""}, started: time.Hour},
		"a file of others that is new":            {files: map[string]string{theirs: ""}, started: -time.Hour, want: theirs},
		"a drop-in of others that is new":         {files: map[string]string{theirs + ".d/x.conf": ""}, started: -time.Hour, want: theirs + ".d/x.conf"},
		"a virtual link of others that is new":    {files: map[string]string{"/run/systemd/network/br.netdev": ""}, started: -time.Hour, want: "br.netdev"},
		"a file of ours that is new":              {files: map[string]string{own: ""}, started: -time.Hour},
		"a file of others that a link had":        {files: map[string]string{"/run/systemd/netif/links/2": "ADMIN_STATE=configured\nNETWORK_FILE=" + theirs + "\n"}, started: time.Hour, want: theirs + " is gone"},
		"a file of ours that a link had":          {files: map[string]string{"/run/systemd/netif/links/2": "ADMIN_STATE=configured\nNETWORK_FILE=" + own + "\n"}, started: time.Hour},
		"a rule that it does not know":            {started: time.Hour, kernel: rule, want: "from 192.0.2.7/32 lookup 10001 priority 20001"},
		"a rule that it knows":                    {files: map[string]string{own: "[Match]\nName=x\n[RoutingPolicyRule]\nFrom=192.0.2.7\nTable=10001\nPriority=20001\n"}, started: time.Hour, kernel: rule},
		"a rule that it knows with another table": {files: map[string]string{own: "[RoutingPolicyRule]\nFrom=192.0.2.7/32\nTable=10002\nPriority=20001\n"}, started: time.Hour, kernel: rule, want: "priority 20001"},
		"a rule that it knows with a mark":        {files: map[string]string{own: "[RoutingPolicyRule]\nFrom=192.0.2.7/32\nFirewallMark=1\nTable=10001\nPriority=20001\n"}, started: time.Hour, kernel: rule, want: "priority 20001"},
		"a rule to main except its default":       {files: map[string]string{own: "[RoutingPolicyRule]\nFrom=192.0.2.7/32\nTable=254\nPriority=10001\nSuppressPrefixLength=0\n"}, started: time.Hour, kernel: main},
		"one that it knows with the default":      {files: map[string]string{own: "[RoutingPolicyRule]\nFrom=192.0.2.7/32\nTable=254\nPriority=10001\n"}, started: time.Hour, kernel: main, want: "suppress_prefixlength 0"},
		"one that it knows with a longer prefix":  {files: map[string]string{own: "[RoutingPolicyRule]\nFrom=192.0.2.7/32\nTable=254\nPriority=10001\nSuppressPrefixLength=8\n"}, started: time.Hour, kernel: main, want: "suppress_prefixlength 0"},
		"a rule that it leaves alone":             {files: map[string]string{conf: keep}, started: time.Hour, kernel: rule},
		"a rule that it will leave alone":         {files: map[string]string{conf: keep}, started: -time.Hour, kernel: rule, want: "priority 20001"},
		"a blackhole":                             {started: time.Hour, kernel: blackhole, want: "192.0.2.7/32"},
		"a blackhole that it leaves alone":        {files: map[string]string{conf: keep}, started: time.Hour, kernel: blackhole},
		"a networkd that does not run":            {want: "does not run"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBus(t, test.kernel)
			hosttest.Files(t, b.host.Root, map[string]string{"/run/systemd/netif/state": "", "/run/systemd/units/x": ""})
			hosttest.Files(t, b.host.Root, test.files)
			if test.started != 0 {
				startNetworkd(t, b.host, test.started)
			}
			unsafe, err := b.networkdUnsafe(t.Context(), func(f string) bool { return f == own })
			if err != nil || (unsafe == "") != (test.want == "") || !strings.Contains(unsafe, test.want) {
				t.Errorf("got %q, %v, want %q", unsafe, err, test.want)
			}
		})
	}
	b := newBus(t, kernelOf{})
	hosttest.Files(t, b.host.Root, map[string]string{conf: keep, "/run/systemd/units/x": ""})
	if err := os.Chmod(b.host.Path(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	startNetworkd(t, b.host, time.Hour)
	if b.networkdKeeps("ManageForeignRoutes") {
		t.Error("a file that networkd's user cannot read is taken for in force")
	}
}

// Whether a file may be for a link under its present names: if in doubt, it is.
func TestWhichLinkAFileOfNetworkdIsFor(t *testing.T) {
	m, err := nic.ParseMAC("02:00:00:00:01:01")
	if err != nil {
		t.Fatal(err)
	}
	l := nic.Link{Index: 11, Name: "multinic1", AltNames: []string{"enp0s4"}, MAC: m}
	for match, want := range map[string]bool{
		"Name=ens*":                               false,
		"Name=en*":                                true, // by the alternative name
		"Name=eth* multinic*":                     true,
		"Name=eth*\nName=multinic1":               true,
		"Name=!eth*":                              true,
		"Type=wlan":                               false,
		"Type=ether":                              true,
		"MACAddress=02:00:00:00:01:02":            false,
		"MACAddress=02:00:00:00:01:01":            true,
		"MACAddress=02:00:00:00:01:01\nName=ens4": false, // cloud-init's, by netplan
		"PermanentMACAddress=02:00:00:00:01:02 02:00:00:00:01:01": true,
		"Driver=virtio_net": true,
		"":                  true,
	} {
		if got := finds([]byte("[Match]\n"+match+"\n\n[Network]\nName=none\nDHCP=yes\n"), l); got != want {
			t.Errorf("%q: got %t, want %t", match, got, want)
		}
	}
}

func TestNetworkdFile(t *testing.T) {
	b := newBus(t, kernelOf{})
	const file = "/run/systemd/network/10-netplan-all-en.network"
	hosttest.Files(t, b.host.Root, map[string]string{"/run/systemd/netif/links/2": "ADMIN_STATE=configured\nNETWORK_FILE=" + file + "\n", "/run/systemd/netif/links/3": "ADMIN_STATE=unmanaged\n"})
	for index, want := range map[int]string{2: file, 3: "", 4: ""} {
		if got := b.NetworkdFile(index); got != want {
			t.Errorf("link %d: %q, want %q", index, got, want)
		}
	}
}

// kernelOf is what there is in the kernel that networkd might not know.
type kernelOf struct {
	rules []nic.Rule
	lone  netip.Prefix
}

func (k kernelOf) Links(context.Context) ([]nic.Link, error) { return nil, nil }

// Rules gives those that every namespace has, too.
func (k kernelOf) Rules(context.Context) ([]nic.Rule, error) {
	return append([]nic.Rule{{Priority: 0, Table: 255, Protocol: 2}, {Priority: 32766, Table: 254, Protocol: 2}, {Priority: 32767, Table: 253, Protocol: 2}}, k.rules...), nil
}

func (k kernelOf) LoneRoute(context.Context) (netip.Prefix, bool, error) {
	return k.lone, k.lone.IsValid(), nil
}

func newBus(t *testing.T, k kernelOf) *Bus {
	return New(&host.Host{Root: t.TempDir()}, k, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

// startNetworkd has systemd have started it, so much later than now.
func startNetworkd(t *testing.T, h *host.Host, after time.Duration) {
	t.Helper()
	link := h.Path("/run/systemd/units/invocation:systemd-networkd.service")
	at := unix.NsecToTimeval(time.Now().Add(after).UnixNano())
	if err := errors.Join(os.Symlink("x", link), unix.Lutimes(link, []unix.Timeval{at, at})); err != nil {
		t.Fatal(err)
	}
}
