package monitor_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"multinicd/test/bed"
	"multinicd/test/bed/monitor"
	"multinicd/test/bed/testhost"
)

func run(t *testing.T, h *testhost.Host, script string) {
	t.Helper()
	if _, err := h.Shell(t.Context(), script); err != nil {
		t.Fatal(err)
	}
}

func TestTheKernelMonitorSeesEveryKindOfChange(t *testing.T) {
	h := bed.New(t).Host(testhost.Networkd, "02:00:00:00:01:01")
	m, err := h.MonitorKernel()
	if err != nil {
		t.Fatal(err)
	}
	// The kernel looks for duplicates of its IPv6 addresses, and says seconds later that there are none.
	run(t, h, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
	for _, test := range []struct {
		name, script string
		want         []string // of the beginnings of events
	}{
		{"a link is renamed and set up", "ip link set eth1 name multinic1; ip link set multinic1 up", []string{"+link multinic1 mtu 1500 state up"}}, // which it is some time later
		{"an address comes", "ip address add 198.51.100.1/24 dev multinic1", []string{"+address multinic1 198.51.100.1/24", "+route multinic1 198.51.100.0/24 table 254"}},
		{"a route comes", "ip route add 203.0.113.0/24 via 198.51.100.9 metric 7", []string{"+route multinic1 203.0.113.0/24 via 198.51.100.9 table 254 metric 7"}},
		{"a rule comes", "ip rule add from 198.51.100.1 lookup 77 priority 1000", []string{"+rule priority 1000 from 198.51.100.1/32 lookup 77"}},
		{"a rule goes", "ip rule del priority 1000", []string{"-rule priority 1000 from 198.51.100.1/32 lookup 77"}},
		{"the MTU changes", "ip link set multinic1 mtu 1400", []string{"+link multinic1 mtu 1400"}},
		{"an address goes", "ip address del 198.51.100.1/24 dev multinic1", []string{"-address multinic1 198.51.100.1/24"}},
		{"nothing changes", "ip link show; ip route show", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			m.Reset()
			run(t, h, test.script)
			events, err := m.Events()
			for _, want := range test.want {
				there := func(e monitor.Event) bool { return strings.HasPrefix(e.String(), want) }
				for deadline := time.Now().Add(30 * time.Second); !slices.ContainsFunc(events, there) && err == nil; events, err = m.Events() {
					if time.Now().After(deadline) {
						t.Fatalf("got events %v, want one that begins with %q", events, want)
					}
					<-time.After(5 * time.Millisecond)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if test.want == nil && len(events) > 0 {
				t.Errorf("got events %v, want none", events)
			}
		})
	}
}

func TestTheBusMonitorSeesWhoCallsWhat(t *testing.T) {
	h := bed.New(t).Host(testhost.Networkd)
	ctx := t.Context()
	m, err := h.MonitorBus(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	run(t, h, "busctl call io.netplan.Netplan /io/netplan/Netplan io.netplan.Netplan Info")
	calls, err := m.Calls(ctx)
	if err != nil {
		t.Fatal(err)
	}
	has := func(calls []monitor.Call) bool {
		return slices.ContainsFunc(calls, func(c monitor.Call) bool {
			return c.Destination == "io.netplan.Netplan" && c.Interface == "io.netplan.Netplan" && c.Member == "Info" && c.Path == "/io/netplan/Netplan"
		})
	}
	if !has(calls) {
		t.Errorf("got calls %v, want Info among them", calls)
	}
	if err := m.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	run(t, h, "ip link")
	if calls, err = m.Calls(ctx); err != nil || has(calls) {
		t.Errorf("got calls %v, %v, want no Info", calls, err)
	}
}

func TestPingsTellWhatIsLost(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	h := b.Host(testhost.Networkd)
	for _, row := range []struct {
		sentence string
		cut      bool
	}{{"a host that is there loses nothing", false}, {"a host whose cable is pulled does", true}} {
		pings, err := b.World.Ping(h.Address.Addr())
		if err != nil {
			t.Fatal(err)
		}
		run(t, h, "true")
		if row.cut {
			if err := h.SetCarrier(h.PrimaryMAC, false); err != nil {
				t.Fatal(err)
			}
			run(t, h, "sleep 0.1") // in which the switch asks
		}
		sent, lost, err := pings.Stop()
		if n := lost[h.Address.Addr()]; err != nil || sent[h.Address.Addr()] == 0 || row.cut != (n > 0) {
			t.Errorf("%s: %d of %d lost, %v", row.sentence, n, sent[h.Address.Addr()], err)
		}
	}
}
