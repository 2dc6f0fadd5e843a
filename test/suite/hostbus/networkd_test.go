package hostbus

import (
	"errors"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"multinicd/host/bus"
	"multinicd/nic"
	"multinicd/test/bed"
	"multinicd/test/bed/monitor"
	"multinicd/test/bed/testhost"

	"github.com/vishvananda/netns"
)

// inside gives a view of the files and the network namespace of a running host.
func inside(t *testing.T, th *testhost.Host) view {
	t.Helper()
	type result struct {
		h   view
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.GetFromPath(th.NetNS())
		if err == nil {
			err = netns.Set(ns)
		}
		if err != nil {
			made <- result{err: err}
			return
		}
		h, err := viewOf(t, th)
		made <- result{h, err}
	}()
	r := <-made
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(r.h.Close)
	return r.h
}

func link(t *testing.T, h view, mac string) nic.Link {
	t.Helper()
	links, err := h.Links(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(links, func(l nic.Link) bool { return l.MAC.String() == mac })
	if i < 0 {
		t.Fatalf("no link has MAC %s", mac)
	}
	return links[i]
}

const yaml = `network:
  version: 2
  ethernets:
    multinic1:
      match: {macaddress: "02:00:00:00:01:01"}
      set-name: multinic1
      addresses: [192.168.1.5/24, 192.168.2.5/31, 169.254.7.7/16, "2001:db8::5/64"]
      mtu: 1400
`

// What we set live is what networkd would set: when somebody makes it own the NIC without a reboot, the addresses are in the end as
// they were, and networkd 257 does not even touch them. 252 deletes every address that has a broadcast, also those it has set itself,
// and adds it again.
func TestNetworkdTakesOurAddressesForItsOwn(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) { takesOurAddresses(t, suite, suite != "bookworm") })
	}
}

func takesOurAddresses(t *testing.T, suite string, keeps bool) {
	th, _ := bootSuite(t, suite)
	h := inside(t, th)
	l := link(t, h, "02:00:00:00:01:01")
	change := nic.Change{Index: l.Index, MAC: l.MAC, Had: l.Name, Name: "multinic1", MTU: 1400, Up: true}
	for _, s := range []string{"192.168.1.5/24", "192.168.2.5/31", "169.254.7.7/16", "2001:db8::5/64"} {
		change.Add = append(change.Add, netip.MustParsePrefix(s))
	}
	if err := h.Writer(func(nic.Link, []nic.Link) error { return nil }).Change(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	wait(t, "the end of duplicate address detection", func() bool {
		return !slices.ContainsFunc(link(t, h, "02:00:00:00:01:01").Addresses, func(a nic.Address) bool { return a.Tentative })
	})
	const show = "ip -o addr show dev multinic1 | sed 's/[ ]*valid_lft.*//; s/ proto [a-z_]*//' | sort"
	before := shell(t, th, show)

	if err := h.Write("/etc/netplan/60-somebody.yaml", []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := th.MonitorKernel()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Stop()
	shell(t, th, "netplan generate && networkctl reload")
	wait(t, "networkd", func() bool {
		claims, err := h.Claims(t.Context(), []nic.Link{link(t, h, "02:00:00:00:01:01")}, func(string) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		return len(claims) > 0 && strings.Contains(shell(t, th, "networkctl list multinic1 --no-legend"), "configured")
	})
	events, err := m.Events()
	if err != nil {
		t.Fatal(err)
	}
	deleted := func(e monitor.Event) bool { return e.What == "address" && e.Gone && e.Link == "multinic1" }
	if keeps && slices.ContainsFunc(events, deleted) {
		t.Errorf("networkd deleted addresses: %v", events)
	}
	wait(t, "the addresses as they were", func() bool { return shell(t, th, show) == before })
	l = link(t, h, "02:00:00:00:01:01")
	if l.Name != "multinic1" || l.MTU != 1400 {
		t.Errorf("the link is %+v", l)
	}
}

// networkd has died, and whoever is at work there does not want it back yet. What it has said of links is still there, and its name on the bus would start it.
func TestAServiceThatDiedIsNotStarted(t *testing.T) {
	th, _ := boot(t)
	h := inside(t, th)
	l := link(t, h, "02:00:00:00:01:01")
	shell(t, th, "printf '[Match]\\nName="+l.Name+"\\n[Network]\\nLinkLocalAddressing=no\\n' >/etc/systemd/network/50-somebody.network && networkctl reload")
	wait(t, "networkd", func() bool { return h.NetworkdFile(l.Index) != "" })
	shell(t, th, "ip link set "+l.Name+" down && ip link set "+l.Name+" name multinic1")
	shell(t, th, `mkdir -p /run/systemd/system/systemd-networkd.service.d && printf '[Service]\nRestart=no\n' >/run/systemd/system/systemd-networkd.service.d/no.conf
systemctl daemon-reload && systemctl stop systemd-networkd.socket && systemctl kill --signal=KILL systemd-networkd.service`)
	state := func() string { return shell(t, th, "systemctl is-active systemd-networkd.service || true") }
	wait(t, "its end", func() bool { return state() == "failed" })
	if kept, err := h.NetworkdLetGo(t.Context(), l.Index, func(string) bool { return false }); !errors.Is(err, bus.ErrNoBus) {
		t.Errorf("letting go of a link: %q, %v", kept, err)
	}
	if got := state(); got != "failed" {
		t.Errorf("networkd is %s", got)
	}
}

func TestClaimsOfARealHost(t *testing.T) {
	th, _ := boot(t)
	h := inside(t, th)
	ours := func(f string) bool { return strings.HasPrefix(filepath.Base(f), "90-multinic") }
	links, err := h.Links(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	claims, err := h.Claims(t.Context(), links, ours)
	if err != nil {
		t.Fatal(err)
	}
	primary := link(t, h, th.PrimaryMAC)
	if c := claims[primary.Index]; c == nil || c.Owner != "netplan" {
		t.Errorf("the primary NIC is claimed by %+v", c)
	}
	if l := link(t, h, "02:00:00:00:01:01"); claims[l.Index] != nil {
		t.Errorf("a bare NIC is claimed by %+v", claims[l.Index])
	}
	// Without its YAML networkd still has it.
	shell(t, th, "rm /etc/netplan/*")
	if claims, err = h.Claims(t.Context(), links, ours); err != nil {
		t.Fatal(err)
	}
	if c := claims[primary.Index]; c == nil || c.Owner != "networkd" || !strings.Contains(c.Evidence, "configured") {
		t.Errorf("the primary NIC without YAML is claimed by %+v", c)
	}
	stack, err := h.Detect(t.Context())
	if err != nil || stack.Backend != "netplan" {
		t.Errorf("the stack is %+v, %v", stack, err)
	}
}

func TestABootHasItsOwnID(t *testing.T) {
	th, h := boot(t)
	first, err := h.BootID()
	if err != nil || len(first) < 36 {
		t.Fatalf("got %q, %v", first, err)
	}
	if err := th.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := inside(t, th).BootID()
	if err != nil || second == first {
		t.Errorf("after a reboot: got %q, %v, before %q", second, err, first)
	}
}

func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	bed.Eventually(t, what, "true", func() string { return strconv.FormatBool(holds()) })
}
