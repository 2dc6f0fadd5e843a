package netplan_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"multinicd/internal/hosttest"
	"multinicd/netplan"
	"multinicd/nic"
	"multinicd/sysctl"
)

var update = flag.Bool("update", false, "write golden files anew")

// scenarios are shared by all dialects; see plan's tests.
const scenarios = "../plan/testdata"

// Each scenario on a host that has the files of what its record says is applied: the steps, and
// /etc/netplan afterwards.
func TestTheScenariosAsNetplanHasThem(t *testing.T) {
	hosttest.Scenarios(t, scenarios, func(t *testing.T, name string, s hosttest.Scenario) {
		m := s.Host(t)
		for _, o := range s.Record.NICs {
			if o.Applied {
				m.Put(t, netplan.File(o.Config), netplan.Render(o.Config), 0o600)
				if o.Config.Apart {
					m.Put(t, sysctl.File(o.Config), sysctl.Render(o.Config), 0o644)
				}
			}
		}
		got := map[string]string{"steps.txt": m.CarryOut(t, s.Plan(), netplan.New(m, m).Steps)}
		for file, data := range m.Disk {
			got[strings.TrimPrefix(file, "/")] = string(data)
			mode := fs.FileMode(0o600)
			if sysctl.OurFile(file) {
				mode = 0o644
			}
			if m.Modes[file] != mode {
				t.Errorf("%s has mode %o", file, m.Modes[file])
			}
		}
		hosttest.Golden(t, filepath.Join("testdata", name), got, *update)
	})
}

// document is the YAML as netplan reads it. Unknown keys are refused when it is parsed.
type document struct {
	Network struct {
		Version   int
		Ethernets map[string]definition
	}
}

type definition struct {
	Renderer  string
	Match     map[string]string
	SetName   string `yaml:"set-name"`
	Optional  bool
	DHCP4     *bool    `yaml:"dhcp4"`
	DHCP6     *bool    `yaml:"dhcp6"`
	AcceptRA  *bool    `yaml:"accept-ra"`
	LinkLocal []string `yaml:"link-local"`
	MTU       int
	Addresses []string
	Routes    []struct {
		To, Via, From, Scope string
		Metric, Table        int
		OnLink               bool `yaml:"on-link"`
	}
	Policy []struct {
		From, To        string
		Table, Priority int
	} `yaml:"routing-policy"`
}

// parse reads our YAML back into what was wanted.
func parse(data []byte) (id string, c nic.Config, err error) {
	var doc document
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&doc); err != nil {
		return "", c, err
	}
	if doc.Network.Version != 2 || len(doc.Network.Ethernets) != 2 {
		return "", c, fmt.Errorf("version %d with %d definitions", doc.Network.Version, len(doc.Network.Ethernets))
	}
	id = slices.Sorted(maps.Keys(doc.Network.Ethernets))[0]
	e := doc.Network.Ethernets[id]
	name := strings.TrimPrefix(id, "0-")
	if last := doc.Network.Ethernets["zz-"+name]; e.SetName != "" || !reflect.DeepEqual(last, definition{Renderer: "networkd", Match: e.Match, SetName: name, Optional: true}) {
		return id, c, fmt.Errorf("the name is said by %+v", last)
	}
	for _, off := range []*bool{e.DHCP4, e.DHCP6, e.AcceptRA} {
		if off == nil || *off {
			return id, c, errors.New("something is on that nobody wants")
		}
	}
	if e.Renderer != "networkd" || !e.Optional || len(e.Match) != 1 {
		return id, c, fmt.Errorf("renderer %q, optional %v, match %v", e.Renderer, e.Optional, e.Match)
	}
	c = nic.Config{Name: name, MTU: e.MTU}
	if _, err := fmt.Sscanf(name, "multinic%d", &c.ID); err != nil {
		return id, c, err
	}
	if c.MAC, err = nic.ParseMAC(e.Match["macaddress"]); err != nil {
		return id, c, err
	}
	six := false
	for _, a := range e.Addresses {
		p, err := netip.ParsePrefix(a)
		if err != nil {
			return id, c, err
		}
		six = six || p.Addr().Is6()
		c.Addresses = append(c.Addresses, p)
	}
	if six != slices.Equal(e.LinkLocal, []string{"ipv6"}) || !six && (e.LinkLocal == nil || len(e.LinkLocal) > 0) {
		return id, c, fmt.Errorf("link-local %v", e.LinkLocal)
	}
	for _, r := range e.Routes {
		route := nic.Route{Metric: r.Metric, Table: r.Table, OnLink: r.OnLink}
		if route.To, err = netip.ParsePrefix(r.To); err != nil {
			return id, c, err
		}
		if route.Via, err = optional(r.Via); err != nil {
			return id, c, err
		}
		if route.Source, err = optional(r.From); err != nil {
			return id, c, err
		}
		if (r.Scope == "link") != (r.Via == "") {
			return id, c, fmt.Errorf("scope %q via %q", r.Scope, r.Via)
		}
		c.Routes = append(c.Routes, route)
	}
	for _, r := range e.Policy {
		from, err := netip.ParsePrefix(r.From)
		if err != nil {
			return id, c, err
		}
		var to netip.Prefix
		if r.To != "" {
			if to, err = netip.ParsePrefix(r.To); err != nil {
				return id, c, err
			}
		}
		c.Rules = append(c.Rules, nic.Rule{From: from, To: to, Table: r.Table, Priority: r.Priority})
	}
	return id, c, nil
}

func optional(addr string) (netip.Addr, error) {
	if addr == "" {
		return netip.Addr{}, nil
	}
	return netip.ParseAddr(addr)
}

// readsBack says what is wrong with a YAML of ours; "" if it says what c says, and no more.
func readsBack(c nic.Config) string {
	data := netplan.Render(c)
	id, got, err := parse(data)
	if err != nil {
		return err.Error()
	}
	if id != netplan.ID(c) {
		return "its id is " + id
	}
	want := c
	want.Adopt, want.PortID, want.Gateway, want.Apart, want.Routes = false, "", netip.Addr{}, false, nil
	// netplan has no word for such a rule.
	want.Rules = slices.DeleteFunc(slices.Clone(c.Rules), func(r nic.Rule) bool { return r.NoDefault })
	for _, r := range c.Routes {
		if r.Table == nic.TableMain {
			r.Table = 0
		}
		r.Via, r.Source, r.Protocol = r.Via.WithZone(""), r.Source.WithZone(""), 0
		r.OnLink = r.OnLink && r.Via.IsValid() // without a router it means nothing
		want.Routes = append(want.Routes, r)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
		return "-want +got:\n" + diff
	}
	if !bytes.Equal(data, netplan.Render(c)) {
		return "the second time it is another"
	}
	return ""
}

func TestRenderReadsBackAsWanted(t *testing.T) {
	hosttest.Scenarios(t, scenarios, func(t *testing.T, _ string, s hosttest.Scenario) {
		for _, a := range s.Plan().Actions {
			if wrong := readsBack(a.NIC); wrong != "" {
				t.Errorf("%s: %s", a.NIC.Name, wrong)
			}
		}
	})
}

// Names come from ids, and MACs, addresses and numbers are typed: no garbage gets further than
// that.
func FuzzRender(f *testing.F) {
	f.Add(1, []byte{2, 0, 0, 0, 1, 1}, 1500, []byte{24, 192, 0, 2, 7}, []byte("\x00"), "eth0", 5, 100)
	f.Add(9999, []byte{0xff}, 0, []byte("\x40\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07"), []byte{8, 10, 0, 0, 0, 8, 10, 0, 0, 1}, "\"\n      dhcp4: true", -1, 1<<31)
	f.Add(0, []byte{}, 65535, []byte{}, []byte{128, 0xff}, "%", 254, 0)
	f.Fuzz(func(t *testing.T, id int, mac []byte, mtu int, addresses, routes []byte, zone string, metric, table int) {
		c := hosttest.AnyConfig(id, mac, mtu, addresses, routes, zone, metric, table)
		if wrong := readsBack(c); wrong != "" {
			t.Errorf("%s\n%s", wrong, netplan.Render(c))
		}
	})
}

func TestOwned(t *testing.T) {
	for file, want := range map[string]bool{
		"/etc/netplan/90-multinic0.yaml":                              true,
		"/etc/netplan/90-multinic9999.yaml":                           true,
		"/run/systemd/network/10-netplan-zz-multinic1.network":        true,
		"/run/systemd/network/10-netplan-multinic1.network":           true,
		"/run/systemd/network/10-netplan-multinic1.link":              true,
		"/run/systemd/network/10-netplan-0-multinic1.network":         true,
		"/etc/netplan/90-multinic.yaml":                               false,
		"/etc/netplan/90-multinic12345.yaml":                          false,
		"/etc/netplan/90-multinic1x.yaml":                             false,
		"/etc/netplan/90-multinic-1.yaml":                             false,
		"/etc/netplan/90-multinic1.yaml.bak":                          false,
		"/etc/netplan/90-multinic1.yml":                               false,
		"/etc/netplan/90-multinic1":                                   false,
		"/etc/netplan/multinic1.yaml":                                 false,
		"/etc/netplan/91-multinic1.yaml":                              false,
		"/etc/netplan/50-cloud-init.yaml":                             false,
		"/etc/netplan/sub/90-multinic1.yaml":                          false,
		"/run/netplan/90-multinic1.yaml":                              false,
		"/etc/90-multinic1.yaml":                                      false,
		"90-multinic1.yaml":                                           false,
		"":                                                            false,
		"/run/systemd/network/10-netplan-eth0.network":                false,
		"/run/systemd/network/10-netplan-multinic1.netdev":            false,
		"/run/systemd/network/10-netplan-multinic1":                   false,
		"/run/systemd/network/10-netplan-1-multinic1.network":         false,
		"/run/systemd/network/10-netplan-0-0-multinic1.network":       false,
		"/run/systemd/network/70-multinic1.network":                   false,
		"/run/systemd/network/10-netplan-multinic1.network.d/x.conf":  false,
		"/etc/systemd/network/10-netplan-multinic1.network":           false,
		"/run/systemd/network/10-netplan-multinic1.network.link.link": false,
	} {
		if got := netplan.OurFile(file); got != want {
			t.Errorf("%s: got %v", file, got)
		}
	}
	for id := range nic.MaxID + 1 {
		c := nic.Config{ID: id, Name: nic.NameFor(id)}
		if !netplan.OurFile(netplan.File(c)) || path.Dir(netplan.File(c)) != netplan.Dir {
			t.Fatalf("%s is not ours", netplan.File(c))
		}
	}
}
