package hosttest

import (
	"bytes"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"multinicd/networkmanager"
	"multinicd/nic"
)

// ProfileScenarios tests a format of NetworkManager's with each scenario of dir, on a host that has
// the files of what its record says is applied, and has them in force. The steps, and the files
// afterwards, are compared with the folder testdata of the caller; update writes that anew instead.
func ProfileScenarios(t *testing.T, dir string, d networkmanager.ProfileFormat, update bool) {
	t.Helper()
	Scenarios(t, dir, func(t *testing.T, name string, s Scenario) {
		m := s.Host(t)
		for _, o := range s.Record.NICs {
			if o.Applied {
				for file, data := range d.Files(o.Config) {
					m.Put(t, file, data, networkmanager.Mode(file))
				}
				for _, l := range s.View.Links {
					if l.HasMAC(o.MAC) {
						m.Put(t, fmt.Sprintf("/run/NetworkManager/devices/%d", l.Index), []byte("[device]\nconnection-uuid="+networkmanager.UUID(o.MAC)+"\n"), 0o644)
					}
				}
			}
		}
		b := &networkmanager.Backend{Files: m, Format: d, DAD: true}
		got := map[string]string{"steps.txt": m.CarryOut(t, s.Plan(), b.Steps)}
		for file, data := range m.Disk {
			if strings.HasPrefix(file, "/run/") {
				continue
			}
			got[strings.TrimPrefix(file, "/")] = string(data)
			if !networkmanager.OurFile(file) || m.Modes[file] != networkmanager.Mode(file) {
				t.Errorf("%s is not ours, or has mode %o", file, m.Modes[file])
			}
		}
		Golden(t, filepath.Join("testdata", name), got, update)
		for _, a := range s.Plan().Actions {
			if wrong := readsBack(d, a.NIC); wrong != "" {
				t.Errorf("%s: %s", a.NIC.Name, wrong)
			}
		}
	})
}

// FuzzProfile renders NICs of every form, and reads them back. Names come from ids, and MACs,
// addresses and numbers are typed: no garbage gets further than that.
func FuzzProfile(f *testing.F, d networkmanager.ProfileFormat) {
	f.Add(1, []byte{2, 0, 0, 0, 1, 1}, 1500, []byte{24, 192, 0, 2, 7}, []byte("\x18\x0a\x00\x00\x00"), "eth0", 5, 100)
	f.Add(9999, []byte{0xff}, 0, []byte("\x40\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07"), []byte("\x40\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07"), "x\nIPADDR9=$(id)", 1, 1<<31)
	f.Add(0, []byte{}, 65535, []byte{24, 192, 0, 2, 7, 32, 192, 0, 2, 8, 25, 192, 0, 2, 9}, []byte{8, 10, 0, 0, 0, 8, 10, 0, 0, 1}, "%", 254, 0)
	f.Fuzz(func(t *testing.T, id int, mac []byte, mtu int, addresses, routes []byte, zone string, metric, table int) {
		c := AnyConfig(id, mac, int(uint16(mtu)), addresses, routes, zone, int(uint32(metric)), int(uint32(table)))
		// What the files cannot say: IPv4 in the clothes of IPv6, and a router without an address.
		c.Addresses = slices.DeleteFunc(c.Addresses, func(p netip.Prefix) bool { return p.Addr().Is4In6() })
		c.Rules = slices.DeleteFunc(c.Rules, func(r nic.Rule) bool { return r.From.Addr().Is4In6() })
		c.Routes = slices.DeleteFunc(c.Routes, func(r nic.Route) bool {
			return r.To.Addr().Is4In6() || r.Via.Is4In6() || r.Source.Is4In6() || r.Via.WithZone("").IsUnspecified()
		})
		if wrong := readsBack(d, c); wrong != "" {
			t.Errorf("%s\n%s", wrong, d.Files(c)[d.File(c.Name)])
		}
	})
}

// readsBack says what is wrong with the files of a NIC; "" if they say what c says, and no more.
func readsBack(d networkmanager.ProfileFormat, c nic.Config) string {
	files := d.Files(c)
	p, err := d.Read(d.File(c.Name), func(file string) []byte { return files[file] })
	if err != nil {
		return err.Error()
	}
	if p.UUID != networkmanager.UUID(c.MAC) {
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
	if got, want := fmt.Sprintf("%+v", p.Config), fmt.Sprintf("%+v", want); got != want {
		return "got " + got + "\nwant " + want
	}
	for file, data := range d.Files(c) {
		if !bytes.Equal(data, files[file]) {
			return "the second time it is another: " + file
		}
	}
	return ""
}
