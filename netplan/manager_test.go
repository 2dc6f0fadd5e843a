package netplan_test

import (
	"fmt"
	"net/netip"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/internal/hosttest"
	"multinicd/netplan"
	"multinicd/networkmanager"
	"multinicd/nic"
	"multinicd/plan"
)

func TestRenderForManager(t *testing.T) {
	c := config(1, "192.0.2.7/32", "2001:db8::7/64")
	c.MTU = 1400
	c.Routes = []nic.Route{route("10.20.0.0/16", "192.0.2.1")}
	c.Rules = []nic.Rule{{From: netip.MustParsePrefix("192.0.2.7/32"), Table: 10001, Priority: 20001}}
	want := `# Written by multinicd: changes made here are overwritten. NIC multinic1, MAC 02:00:00:00:01:01.
network:
  version: 2
  ethernets:
    0-multinic1:
      renderer: NetworkManager
      match:
        macaddress: "02:00:00:00:01:01"
      optional: true
      dhcp4: false
      dhcp6: false
      accept-ra: false
      link-local: [ipv6]
      mtu: 1400
      addresses:
      - "192.0.2.7/32"
      - "2001:db8::7/64"
      routes:
      - to: "10.20.0.0/16"
        via: "192.0.2.1"
        metric: 0
      networkmanager:
        uuid: "` + networkmanager.UUID(c.MAC) + `"
        name: "multinic1"
        passthrough:
          connection.autoconnect-priority: "999"
          ipv4.never-default: "true"
          ipv4.route-metric: "0"
          ipv4.dad-timeout: "0"
          ipv4.routing-rule1: "priority 20001 from 192.0.2.7/32 table 10001"
          ipv6.never-default: "true"
          ipv6.route-metric: "256"
          ipv6.addr-gen-mode: "eui64"
    zz-multinic1:
      renderer: NetworkManager
      match:
        macaddress: "02:00:00:00:01:01"
      set-name: multinic1
      optional: true
`
	if diff := cmp.Diff(want, string(netplan.RenderForManager(c))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if four := string(netplan.RenderForManager(config(2, "192.0.2.9/24"))); !strings.Contains(four, "          ipv6.method: \"disabled\"\n") {
		t.Errorf("IPv6 is not off where none is wanted:\n%s", four)
	}
}

// The steps of a change: NetworkManager makes it, the YAML comes when it is verified, and only the
// YAML makes it final.
func TestStepsForManager(t *testing.T) {
	const profile = "/run/NetworkManager/system-connections/netplan-0-multinic1.nmconnection"
	one := config(1, "192.0.2.7/24")
	file, data := netplan.File(one), string(netplan.RenderForManager(one))
	link := nic.Link{Index: 11, Name: "multinic1", MAC: one.MAC, Up: true, Carrier: true}
	change := nic.Change{Index: 11, MAC: one.MAC, Had: "multinic1", Add: one.Addresses}
	for name, test := range map[string]struct {
		disk   map[string]string
		change nic.Change
		remove bool
		gone   bool
		unread string // a file of which the disk gives nothing; the steps are not made then
		want   string
	}{
		"a new NIC":                 {change: change, want: "guard hold kernel profile profile load activate settle addresses verify probe release validate persist(final)"},
		"the same again is nothing": {disk: map[string]string{file: data, profile: "what netplan's generator made of it"}, want: ""},
		"an address that somebody deleted": {disk: map[string]string{file: data, "/run/NetworkManager/devices/11": "[device]\nconnection-uuid=" + networkmanager.UUID(one.MAC) + "\n"}, change: change,
			want: "await guard addresses verify probe"},
		"it cannot be read off which profile is in force": {disk: map[string]string{file: data, "/run/NetworkManager/devices/11": "connection-uuid=another\n"}, change: change, unread: "/run/NetworkManager/devices/11"},
		"our profile is not in force":                     {disk: map[string]string{file: data, profile: "another"}, change: change, want: "guard hold kernel profile profile load activate settle addresses verify probe release"},
		"somebody has modified our profile with nmcli": {disk: map[string]string{file: data, "/etc/NetworkManager/system-connections/multinic1.nmconnection": "[connection]\nuuid=" + networkmanager.UUID(one.MAC) + "\n"},
			want: "guard hold kernel profile profile(remove) profile load activate settle addresses verify probe release"},
		"a profile of that name is somebody else's": {disk: map[string]string{file: data, profile: "x", "/etc/NetworkManager/system-connections/multinic1.nmconnection": "[connection]\nuuid=another\n"}, want: ""},
		"a NIC is given back": {disk: map[string]string{file: data, profile: "x"}, remove: true,
			want: "guard hold kernel profile profile load settle verify probe release validate persist(final)"},
		"a NIC that is unplugged is given back": {disk: map[string]string{file: data, profile: "x"}, remove: true, gone: true, want: "profile profile load validate persist(final)"},
	} {
		t.Run(name, func(t *testing.T) {
			m := hosttest.New()
			for f, text := range test.disk {
				m.Put(t, f, []byte(text), 0o600)
			}
			a := configure(one)
			if test.remove {
				a = remove(one)
			}
			a.Change = test.change
			if !test.gone {
				a.Link = &link
			}
			m.Unreadable = test.unread
			steps, err := netplan.NewManager(m, m, false).Steps(t.Context(), a)
			if (err != nil) != (test.unread != "") {
				t.Fatal(err)
			}
			var got []string
			for _, s := range steps {
				step := string(s.Kind)
				if s.Final {
					step += "(final)"
				}
				if f := s.Do.File; f != nil && path.Dir(f.Path) == networkmanager.KeyfileDir && f.Absent {
					step += "(remove)"
				}
				got = append(got, step)
			}
			if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// NetworkManager brings a profile in force again without taking the link down only if it still
// finds its link by the same.
func TestAProfileKeepsWhatItFindsItsLinkBy(t *testing.T) {
	const profile = "/run/NetworkManager/system-connections/netplan-0-multinic1.nmconnection"
	one, other := config(1, "192.0.2.7/24"), config(1, "192.0.2.8/24")
	for old, want := range map[string]string{
		"": "mac-address=02:00:00:00:01:01",
		"[connection]\nid=multinic1\ninterface-name=multinic1\n": "interface-name=multinic1",
		"[ethernet]\nmac-address=02:00:00:00:01:01\n":            "mac-address=02:00:00:00:01:01",
	} {
		m := hosttest.New()
		m.Put(t, netplan.File(one), netplan.RenderForManager(one), 0o600)
		if old != "" {
			m.Put(t, profile, []byte(old), 0o600)
		}
		a := configure(other)
		a.Link = &nic.Link{Index: 11, Name: "multinic1", MAC: one.MAC}
		steps, err := netplan.NewManager(m, m, false).Steps(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		found := ""
		for _, s := range steps {
			if f := s.Do.File; f != nil && f.Path == profile {
				for line := range strings.Lines(string(f.Data)) {
					if strings.HasPrefix(line, "mac-address=") || strings.HasPrefix(line, "interface-name=") {
						found += strings.TrimSpace(line)
					}
				}
			}
		}
		if found != want {
			t.Errorf("of %q comes a profile with %q, want %q", old, found, want)
		}
	}
}

// NICs that NetworkManager is to configure differ in the UUID of their profiles as well, and have their rules in words of NetworkManager's.
func TestValidateAsksOncePerShapeForManager(t *testing.T) {
	ruled := func(edit func(r *nic.Rule)) func(id int) nic.Config {
		return func(id int) nic.Config {
			c := config(id, fmt.Sprintf("192.0.2.%d/24", id))
			r := nic.Rule{From: netip.PrefixFrom(c.Addresses[0].Addr(), 32), Table: nic.Table(id), Priority: nic.Priority(id)}
			edit(&r)
			c.Rules = []nic.Rule{r}
			return c
		}
	}
	plain := ruled(func(*nic.Rule) {})
	for name, test := range map[string]struct {
		nic  func(id int) nic.Config
		asks [2]bool // behind a NIC with a plain rule; and behind another one of its own shape
	}{
		"a plain rule":          {plain, [2]bool{false, false}},
		"no rule":               {func(id int) nic.Config { return config(id, fmt.Sprintf("192.0.2.%d/24", id)) }, [2]bool{true, false}},
		"a rule of IPv6":        {ruled(func(r *nic.Rule) { r.From = netip.MustParsePrefix("2001:db8::8/128") }), [2]bool{true, false}},
		"no default route":      {ruled(func(r *nic.Rule) { r.NoDefault = true }), [2]bool{true, false}},
		"a rule for one target": {ruled(func(r *nic.Rule) { r.To = netip.PrefixFrom(r.From.Addr(), 24).Masked() }), [2]bool{true, false}},
		"a number too large":    {ruled(func(r *nic.Rule) { r.Table += 9999999999 }), [2]bool{true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			m := hosttest.New()
			b := netplan.NewManager(m, m, false)
			asks := func(c nic.Config) bool {
				before := m.Asked
				file := plan.File{Path: netplan.File(c), Data: netplan.RenderForManager(c)}
				if err := b.Validate(t.Context(), []plan.Step{{Do: plan.Op{File: &file}}}); err != nil {
					t.Fatal(err)
				}
				return m.Asked > before
			}
			asks(plain(1))
			if got := [2]bool{asks(test.nic(2)), asks(test.nic(3))}; got != test.asks {
				t.Errorf("asked: %v, want %v", got, test.asks)
			}
		})
	}
}
