package ifcfg_test

import (
	"flag"
	"net/netip"
	"testing"

	"multinicd/ifcfg"
	"multinicd/internal/hosttest"
	"multinicd/networkmanager"
	"multinicd/nic"
)

var update = flag.Bool("update", false, "write golden files anew")

func TestTheScenariosAsIfcfgFiles(t *testing.T) {
	hosttest.ProfileScenarios(t, "../plan/testdata", ifcfg.Format{}, *update)
}

func FuzzRender(f *testing.F) { hosttest.FuzzProfile(f, ifcfg.Format{}) }

// Whatever stands in a file, reading it does not end the program.
func FuzzRead(f *testing.F) {
	c := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}, MTU: 1400, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("2001:db8::7/64")},
		Routes: []nic.Route{{To: netip.MustParsePrefix("10.0.0.0/8"), Via: netip.MustParseAddr("192.0.2.1"), OnLink: true, Table: 10001}}}
	f.Add(ifcfg.Render(c), ifcfg.Format{}.Files(c)[networkmanager.ScriptsDir+"/route-multinic1"], []byte("2001:db8:1::/48 via 2001:db8::1 metric 5\n"))
	f.Add([]byte("NAME=\"a\\\"b\"\nHWADDR=$'\\040'\nIPADDR=1\n"), []byte("#"), []byte("x"))
	f.Add([]byte("NAME=multinic1\n"), []byte("10.0.0.0/8 via"), []byte("onlink"))
	f.Fuzz(func(_ *testing.T, data, routes, routes6 []byte) {
		_, _ = ifcfg.Read(data, routes, routes6) // must not panic
	})
}
