package ifcfg_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"multinicd/ifcfg"
	"multinicd/internal/hosttest"
	"multinicd/nic"
)

var update = flag.Bool("update", false, "write golden files anew")

// scenarios are shared by all dialects; see plan's tests.
const scenarios = "../plan/testdata"

// Each scenario on a host that has the files of what its record says is applied, and has them in force: the steps, and the files afterwards.
func TestTheScenariosAsNetworkManagerHasThem(t *testing.T) {
	hosttest.Scenarios(t, scenarios, func(t *testing.T, name string, s hosttest.Scenario) {
		got := map[string]string{}
		for _, dialect := range []ifcfg.Dialect{ifcfg.Keyfile, ifcfg.Ifcfg} {
			m := s.Host(t)
			for _, o := range s.Record.NICs {
				if o.Applied {
					for file, data := range dialect.Files(o.Config) {
						m.Put(t, file, data, ifcfg.Mode(file))
					}
					for _, l := range s.Machine.Links {
						if l.HasMAC(o.MAC) {
							m.Put(t, fmt.Sprintf("/run/NetworkManager/devices/%d", l.Index), []byte("[device]\nconnection-uuid="+ifcfg.UUID(o.MAC)+"\n"), 0o644)
						}
					}
				}
			}
			b := &ifcfg.Backend{Files: m, Dialect: dialect, DAD: true}
			got[string(dialect)+"/steps.txt"] = m.CarryOut(t, s.Plan(), b.Steps)
			for file, data := range m.Disk {
				if strings.HasPrefix(file, "/run/") {
					continue
				}
				got[string(dialect)+file] = string(data)
				if !ifcfg.Owned(file) || m.Modes[file] != ifcfg.Mode(file) {
					t.Errorf("%s is not ours, or has mode %o", file, m.Modes[file])
				}
			}
		}
		hosttest.Golden(t, filepath.Join("testdata", name), got, *update)
	})
}

// readsBack says what is wrong with the files of a NIC; "" if they say what c says, and no more.
func readsBack(d ifcfg.Dialect, c nic.Config) string {
	files := d.Files(c)
	p, err := ifcfg.Read(d.File(c.Name), func(file string) []byte { return files[file] })
	if err != nil {
		return err.Error()
	}
	if p.UUID != ifcfg.UUID(c.MAC) {
		return "its UUID is " + p.UUID
	}
	want := nic.Config{ID: c.ID, Name: c.Name, MAC: c.MAC, MTU: c.MTU}
	for _, is := range []func(netip.Addr) bool{netip.Addr.Is4, netip.Addr.Is6} {
		family := len(want.Addresses)
		for _, a := range c.Addresses {
			if is(a.Addr()) {
				want.Addresses = append(want.Addresses, a)
			}
		}
		if len(want.Addresses) == family {
			continue // without an address neither routes nor rules can be
		}
		for _, r := range c.Routes {
			if is(r.To.Addr()) {
				if r.Table == nic.TableMain {
					r.Table = 0
				}
				r.Via, r.Source = r.Via.WithZone(""), r.Source.WithZone("")
				r.OnLink = r.OnLink && r.Via.IsValid()
				want.Routes = append(want.Routes, r)
			}
		}
		for _, r := range c.Rules {
			if is(r.From.Addr()) {
				want.Rules = append(want.Rules, r)
			}
		}
	}
	if diff := cmp.Diff(want, p.Config, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
		return "-want +got:\n" + diff
	}
	for file, data := range d.Files(c) {
		if !bytes.Equal(data, files[file]) {
			return "the second time it is another: " + file
		}
	}
	return ""
}

func TestRenderReadsBackAsWanted(t *testing.T) {
	hosttest.Scenarios(t, scenarios, func(t *testing.T, _ string, s hosttest.Scenario) {
		for _, a := range s.Plan().Actions {
			for _, d := range []ifcfg.Dialect{ifcfg.Keyfile, ifcfg.Ifcfg} {
				if wrong := readsBack(d, a.NIC); wrong != "" {
					t.Errorf("%s %s: %s", d, a.NIC.Name, wrong)
				}
			}
		}
	})
}

// Names come from ids, and MACs, addresses and numbers are typed: no garbage gets further than that.
func FuzzRender(f *testing.F) {
	f.Add(1, []byte{2, 0, 0, 0, 1, 1}, 1500, []byte{24, 192, 0, 2, 7}, []byte("\x18\x0a\x00\x00\x00"), "eth0", 5, 100)
	f.Add(9999, []byte{0xff}, 0, []byte("\x40\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07"), []byte("\x40\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07"), "x\nIPADDR9=$(id)", 1, 1<<31)
	f.Add(0, []byte{}, 65535, []byte{24, 192, 0, 2, 7, 32, 192, 0, 2, 8, 25, 192, 0, 2, 9}, []byte{8, 10, 0, 0, 0, 8, 10, 0, 0, 1}, "%", 254, 0)
	f.Fuzz(func(t *testing.T, id int, mac []byte, mtu int, addresses, routes []byte, zone string, metric, table int) {
		c := hosttest.AnyConfig(id, mac, int(uint16(mtu)), addresses, routes, zone, int(uint32(metric)), int(uint32(table)))
		// What the files cannot say: IPv4 in the clothes of IPv6, and a router without an address.
		c.Addresses = slices.DeleteFunc(c.Addresses, func(p netip.Prefix) bool { return p.Addr().Is4In6() })
		c.Rules = slices.DeleteFunc(c.Rules, func(r nic.Rule) bool { return r.From.Addr().Is4In6() })
		c.Routes = slices.DeleteFunc(c.Routes, func(r nic.Route) bool {
			return r.To.Addr().Is4In6() || r.Via.Is4In6() || r.Source.Is4In6() || r.Via.WithZone("").IsUnspecified()
		})
		for _, d := range []ifcfg.Dialect{ifcfg.Keyfile, ifcfg.Ifcfg} {
			if wrong := readsBack(d, c); wrong != "" {
				t.Errorf("%s: %s\n%s", d, wrong, d.Files(c)[d.File(c.Name)])
			}
		}
	})
}

// Whatever is read as a profile of ours is written as one that reads the same.
func FuzzRead(f *testing.F) {
	c := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}, MTU: 1400, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("2001:db8::7/64")},
		Routes: []nic.Route{{To: netip.MustParsePrefix("10.0.0.0/8"), Via: netip.MustParseAddr("192.0.2.1"), OnLink: true, Table: 10001}}}
	f.Add(ifcfg.RenderKeyfile(c), []byte(nil), []byte(nil))
	f.Add(ifcfg.RenderIfcfg(c), ifcfg.Ifcfg.Files(c)[ifcfg.ScriptsDir+"/route-multinic1"], []byte("2001:db8:1::/48 via 2001:db8::1 metric 5\n"))
	f.Add([]byte("[connection]\nid=multinic1\ntype=ethernet\n[ethernet]\nmac-address=\\s\n"), []byte("10.0.0.0/8 via"), []byte("onlink"))
	f.Add([]byte("NAME=\"a\\\"b\"\nHWADDR=$'\\040'\nIPADDR=1\n"), []byte("#"), []byte("x"))
	f.Fuzz(func(t *testing.T, data, routes, routes6 []byte) {
		if p, err := ifcfg.ReadKeyfile(data); err == nil {
			if again, err := ifcfg.ReadKeyfile(ifcfg.RenderKeyfile(p.Config)); err != nil {
				t.Errorf("%v does not read back: %v, %v", p, again, err)
			}
		}
		_, _ = ifcfg.ReadIfcfg(data, routes, routes6) // must not panic
	})
}

func TestUUIDFollowsFromTheMACAlone(t *testing.T) {
	const want = "42d9da22-93f0-5741-aa26-cc619de5cdf4"
	if got := ifcfg.UUID(nic.MAC{2, 0, 0, 0, 1, 1}); got != want {
		t.Errorf("got %s, want %s: profiles of earlier versions have that one", got, want)
	}
	if ifcfg.UUID(nic.MAC{2, 0, 0, 0, 1, 2}) == want {
		t.Error("another MAC has the same")
	}
}

func TestOwned(t *testing.T) {
	for file, want := range map[string]bool{
		"/etc/NetworkManager/system-connections/multinic0.nmconnection":     true,
		"/etc/NetworkManager/system-connections/multinic9999.nmconnection":  true,
		"/etc/NetworkManager/system-connections/multinic12345.nmconnection": false,
		"/etc/NetworkManager/system-connections/multinic1":                  false,
		"/etc/NetworkManager/system-connections/multinic.nmconnection":      false,
		"/etc/NetworkManager/system-connections/multinics.nmconnection":     false,
		"/etc/NetworkManager/system-connections/eth1.nmconnection":          false,
		"/run/NetworkManager/system-connections/multinic1.nmconnection":     false,
		"/etc/sysconfig/network-scripts/ifcfg-multinic1":                    true,
		"/etc/sysconfig/network-scripts/route-multinic1":                    true,
		"/etc/sysconfig/network-scripts/route6-multinic1":                   true,
		"/etc/sysconfig/network-scripts/rule-multinic1":                     false,
		"/etc/sysconfig/network-scripts/keys-multinic1":                     false,
		"/etc/sysconfig/network-scripts/ifcfg-multinic1.bak":                false,
		"/etc/sysconfig/network-scripts/ifcfg-eth1":                         false,
		"/etc/sysconfig/network-scripts/multinic1":                          false,
		"/etc/systemd/network/10-multinic1.link":                            true,
		"/etc/systemd/network/10-multinic1.network":                         false,
		"/etc/systemd/network/multinic1.link":                               false,
		"/etc/systemd/network/99-default.link":                              false,
		"/etc/sysctl.d/90-multinic1.conf":                                   true,
		"/etc/netplan/90-multinic1.yaml":                                    false,
	} {
		if got := ifcfg.Owned(file); got != want {
			t.Errorf("%s: got %v", file, got)
		}
	}
}
