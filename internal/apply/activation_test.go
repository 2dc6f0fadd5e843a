package apply_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"multinicd/internal/apply"
	"multinicd/internal/hosttest"
	"multinicd/netplan"
	"multinicd/nic"
	"multinicd/plan"
)

// readYAML is what netplan makes of its files.
func readYAML(disk map[string][]byte) map[string]nic.Config {
	out := map[string]nic.Config{}
	for file, data := range disk {
		if !strings.HasPrefix(file, netplan.Dir+"/") {
			continue
		}
		definitions, _ := netplan.Read(data)
		for _, d := range definitions {
			if _, ok := out[d.Config.Name]; !ok { // networkd takes the first that matches; the last one only names the link
				out[d.Config.Name] = d.Config
			}
		}
	}
	return out
}

// A service that is asked and breaks the link, and one that would touch others: undone whole, and not asked.
func TestAServiceThatBreaksTheLink(t *testing.T) {
	for _, activation := range []string{netplan.Networkd, netplan.Netplan} {
		for _, name := range []string{"a NIC is added", "an address and routes change"} {
			s := scenarios()[name+", activated by "+activation]
			m := prepared(t, s)
			before := m.Text(stateDir)
			m.Networkd.Breaks = true
			results, _ := run(t, m, s)
			if r := results[0]; r.Outcome != apply.RolledBack || m.Networkd.Asked < 2 {
				t.Errorf("%s by %s: got %s %s, asked %d times", name, activation, r.Outcome, r.Message, m.Networkd.Asked)
			}
			check(t, m, before)
		}
	}
}

func TestNetworkdIsNotAskedWhereThatTouchesOthers(t *testing.T) {
	s := scenarios()["an address and routes change, activated by networkd"]
	m := prepared(t, s)
	asked := m.Networkd.Asked
	m.Networkd.Unsafe = "somebody's file has changed"
	results, _ := run(t, m, s)
	if r := results[0]; r.Outcome != apply.Done || m.Networkd.Asked != asked {
		t.Errorf("got %s %s, asked %d times", r.Outcome, r.Message, m.Networkd.Asked-asked)
	}
}

// atEachMoment makes a change once for each of its operations, has something happen before that
// one, and wants the change done, and the machine in the end as without that.
func atEachMoment(t *testing.T, made func() *hosttest.Machine, want nic.Config, happen func(l *nic.Link)) {
	t.Helper()
	change := func(m *hosttest.Machine) apply.Result {
		a := start(t, m, "boot-1")
		now, _ := m.Look(t.Context())
		return a.Do(t.Context(), plan.Make([]nic.Config{want}, nil, now, a.Record()).Actions[0])
	}
	untouched := made()
	if r := change(untouched); r.Outcome != apply.Done {
		t.Fatalf("got %s %s", r.Outcome, r.Message)
	}
	wanted := untouched.Text(stateDir)
	for n := 1; n <= untouched.Ops; n++ {
		t.Run(fmt.Sprintf("before operation %d", n), func(t *testing.T) {
			m := made()
			m.At(n, func() { happen(&m.Net[0]) })
			if r := change(m); r.Outcome != apply.Done {
				t.Errorf("got %s %s", r.Outcome, r.Message)
			}
			change(m) // where that was behind the last look
			check(t, m, wanted)
		})
	}
}

// networkd lets go of a link when it hears of its new name, and takes a lease's address with all
// that needs it, whenever that is. The object wants that very address.
func TestALeaseEndsWhileItsAddressIsTakenOver(t *testing.T) {
	t.Parallel()
	all, router, own := netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.10")
	want := config(1, "192.0.2.10/24")
	want.Routes = []nic.Route{{To: netip.MustParsePrefix("198.51.100.0/24"), Via: router, Source: own}}
	made := func() *hosttest.Machine {
		l, primary := link(1), link(2)
		l.Up, primary.Up = true, true
		l.Addresses = []nic.Address{{Prefix: netip.PrefixFrom(own, 24), Lifetime: nic.Lifetime{Valid: 120, Preferred: 120}}}
		l.Routes = []nic.Route{{To: all, Via: router, Source: own, Metric: 100, Protocol: nic.ProtocolDHCP}}
		primary.Routes = []nic.Route{{To: all, Via: netip.MustParseAddr("203.0.113.1"), Protocol: nic.ProtocolDHCP}}
		m := hosttest.New(l, primary)
		m.InMind = map[int]string{l.Index: "/run/systemd/network/10-netplan-all-en.network"}
		m.Networkd = &hosttest.Networkd{Unsafe: "it would touch others"} // it has let go by itself
		return m
	}
	atEachMoment(t, made, want, func(l *nic.Link) {
		l.Addresses, l.Routes = nil, slices.DeleteFunc(l.Routes, func(r nic.Route) bool { return r.Source.IsValid() })
	})
}

// The host's DHCP client has the link in hand, of a NIC that was just plugged in: its lease is there
// at any moment of the change.
func TestALeaseComesInTheMiddleOfAChange(t *testing.T) {
	t.Parallel()
	made := func() *hosttest.Machine { return hosttest.New(link(1)) }
	atEachMoment(t, made, config(1, "192.0.2.10/24"), func(l *nic.Link) {
		l.Addresses = append(l.Addresses, nic.Address{Prefix: netip.MustParsePrefix("192.0.2.100/24"), Lifetime: nic.Lifetime{Valid: 120, Preferred: 120}})
		to, via := netip.MustParsePrefix("198.51.100.0/24"), netip.MustParseAddr("192.0.2.1")
		l.Routes = append(l.Routes, nic.Route{To: to, Via: via, Metric: 100, Protocol: nic.ProtocolDHCP})
	})
}
