package networkmanager_test

import (
	"flag"
	"net/netip"
	"testing"

	"multinicd/internal/hosttest"
	"multinicd/networkmanager"
	"multinicd/nic"
)

var update = flag.Bool("update", false, "write golden files anew")

func TestTheScenariosAsKeyfiles(t *testing.T) {
	hosttest.ProfileScenarios(t, "../plan/testdata", networkmanager.Keyfile{}, *update)
}

func FuzzRender(f *testing.F) { hosttest.FuzzProfile(f, networkmanager.Keyfile{}) }

// Whatever is read as a profile of ours is written as one that reads the same.
func FuzzRead(f *testing.F) {
	c := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}, MTU: 1400, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("2001:db8::7/64")},
		Routes: []nic.Route{{To: netip.MustParsePrefix("10.0.0.0/8"), Via: netip.MustParseAddr("192.0.2.1"), OnLink: true, Table: 10001}}}
	f.Add(networkmanager.RenderKeyfile(c))
	f.Add([]byte("[connection]\nid=multinic1\ntype=ethernet\n[ethernet]\nmac-address=\\s\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := networkmanager.ReadKeyfile(data); err == nil {
			if again, err := networkmanager.ReadKeyfile(networkmanager.RenderKeyfile(p.Config)); err != nil {
				t.Errorf("%v does not read back: %v, %v", p, again, err)
			}
		}
	})
}

func TestUUIDFollowsFromTheMACAlone(t *testing.T) {
	const want = "42d9da22-93f0-5741-aa26-cc619de5cdf4"
	if got := networkmanager.UUID(nic.MAC{2, 0, 0, 0, 1, 1}); got != want {
		t.Errorf("got %s, want %s: profiles of earlier versions have that one", got, want)
	}
	if networkmanager.UUID(nic.MAC{2, 0, 0, 0, 1, 2}) == want {
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
		if got := networkmanager.OurFile(file); got != want {
			t.Errorf("%s: got %v", file, got)
		}
	}
}
