package netplan_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/internal/hosttest"
	"multinicd/netplan"
	"multinicd/nic"
)

// recorded are configurations of one NIC, and in a folder per version of netplan what the real
// generator made of them; test/suite/netplan records them, and compares with many more.
const recorded = "testdata/retarget"

// versions gives, per version of netplan, the configurations by name and the files made of them by
// name and kind.
func versions(t testing.TB) (all map[string]nic.Config, files map[string]map[string]string) {
	t.Helper()
	all, files = map[string]nic.Config{}, map[string]map[string]string{}
	names, err := filepath.Glob(recorded + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		var c nic.Config
		if err := json.Unmarshal([]byte(read(t, name)), &c); err != nil {
			t.Fatalf("reading %s: %v", name, err)
		}
		all[strings.TrimSuffix(filepath.Base(name), ".json")] = c
	}
	made, err := filepath.Glob(recorded + "/*/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range made {
		version := filepath.Base(filepath.Dir(name))
		if files[version] == nil {
			files[version] = map[string]string{}
		}
		files[version][filepath.Base(name)] = read(t, name)
	}
	if len(all) < 6 || len(files) < 2 {
		t.Fatalf("only %d configurations and %d versions of netplan", len(all), len(files))
	}
	return all, files
}

func read(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRetargetWritesWhatTheGeneratorWould(t *testing.T) {
	all, made := versions(t)
	for version, files := range made {
		for from := range all {
			for to, c := range all {
				for _, kind := range []string{".network", ".link"} {
					if files[from+kind] == "" || files[to+kind] == "" {
						continue // udev is told of an MTU only, and what is not there comes at the next boot
					}
					t.Run(version+" from "+from+" to "+to+kind, func(t *testing.T) {
						got := netplan.Retarget([]byte(files[from+kind]), c)
						if diff := cmp.Diff(files[to+kind], string(got)); diff != "" {
							t.Errorf("-generator +ours:\n%s", diff)
						}
						if again := netplan.Retarget(got, c); string(again) != string(got) {
							t.Errorf("the second time it is another: %s", again)
						}
					})
				}
			}
		}
	}
}

func TestRetargetKeepsWhatIsNotOurs(t *testing.T) {
	c := config(1, "192.0.2.7/24")
	c.MTU, c.Routes = 1400, []nic.Route{route("10.0.0.0/8", "192.0.2.1")}
	for name, test := range map[string]struct{ file, want string }{
		"[Match] as the host's generator wrote it": {
			"[Match]\nMACAddress=02:00:00:00:01:01\nName=multinic1\n\n[Network]\nLinkLocalAddressing=no\nAddress=192.0.2.8/24\n",
			"[Match]\nMACAddress=02:00:00:00:01:01\nName=multinic1\n\n[Link]\nMTUBytes=1400\n\n[Network]\nLinkLocalAddressing=no\nAddress=192.0.2.7/24\n\n[Route]\nDestination=10.0.0.0/8\nGateway=192.0.2.1\n"},
		"keys of a later netplan, in their place": {
			"[Match]\nName=multinic1\n\n[Link]\nActivationPolicy=up\nMTUBytes=9000\nARP=yes\n\n[Network]\nLLDP=yes\nLinkLocalAddressing=ipv6\nAddress=2001:db8::1/64\nAddress=192.0.2.8/24\nIPv6AcceptRA=no\nConfigureWithoutCarrier=yes\n\n[DHCP]\nUseMTU=false\n",
			"[Match]\nName=multinic1\n\n[Link]\nActivationPolicy=up\nMTUBytes=1400\nARP=yes\n\n[Network]\nLLDP=yes\nLinkLocalAddressing=no\nAddress=192.0.2.7/24\nIPv6AcceptRA=no\nConfigureWithoutCarrier=yes\n\n[DHCP]\nUseMTU=false\n\n[Route]\nDestination=10.0.0.0/8\nGateway=192.0.2.1\n"},
		"comments": {
			"# by hand\n[Match]\n# the NIC\nName=multinic1\n\n[Network]\nLinkLocalAddressing=no\n",
			"# by hand\n\n[Match]\n# the NIC\nName=multinic1\n\n[Link]\nMTUBytes=1400\n\n[Network]\nLinkLocalAddressing=no\nAddress=192.0.2.7/24\n\n[Route]\nDestination=10.0.0.0/8\nGateway=192.0.2.1\n"},
		"rules of before go": {
			"[Match]\nName=multinic1\n\n[Link]\nMTUBytes=1400\n\n[Network]\nLinkLocalAddressing=no\nAddress=192.0.2.7/24\n\n[RoutingPolicyRule]\nFrom=192.0.2.7/32\nTable=10001\nPriority=20001\n",
			"[Match]\nName=multinic1\n\n[Link]\nMTUBytes=1400\n\n[Network]\nLinkLocalAddressing=no\nAddress=192.0.2.7/24\n\n[Route]\nDestination=10.0.0.0/8\nGateway=192.0.2.1\n"},
		"routes of before go": {
			"[Match]\nName=multinic1\n\n[Link]\nMTUBytes=1400\n\n[Network]\nLinkLocalAddressing=no\nAddress=192.0.2.7/24\n\n[Route]\nDestination=172.16.0.0/12\n\n[Route]\nDestination=0.0.0.0/0\nGateway=192.0.2.9\nTable=10001\n",
			"[Match]\nName=multinic1\n\n[Link]\nMTUBytes=1400\n\n[Network]\nLinkLocalAddressing=no\nAddress=192.0.2.7/24\n\n[Route]\nDestination=10.0.0.0/8\nGateway=192.0.2.1\n"},
		"an empty file": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := string(netplan.Retarget([]byte(test.file), c))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Whatever stands in the file: no panic, nothing of [Match] lost, and the second time nothing
// changes.
func FuzzRetarget(f *testing.F) {
	_, made := versions(f)
	for _, files := range made {
		for _, data := range files {
			f.Add([]byte(data), 1400, []byte{24, 192, 0, 2, 7, 64, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7}, []byte{8, 10, 0, 0, 0})
		}
	}
	f.Add([]byte("[Match]\n[Match]\nName=x\n[\n]\n[]\n=\nAddress=\n[Network\n [Network] \nAddress = 1\n[Link]"), 0, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, file []byte, mtu int, addresses, routes []byte) {
		c := nic.Config{ID: 1, Name: "multinic1", MTU: mtu, Addresses: hosttest.Prefixes(addresses)}
		for _, to := range hosttest.Prefixes(routes) {
			c.Routes = append(c.Routes, nic.Route{To: to.Masked()})
			c.Rules = append(c.Rules, nic.Rule{From: to, Table: 10001, Priority: 20001}, nic.Rule{From: to, Table: 254, NoDefault: true, Priority: 10001})
		}
		once := netplan.Retarget(file, c)
		if diff := cmp.Diff(matches(file), matches(once)); diff != "" {
			t.Errorf("[Match]: -before +after:\n%s", diff)
		}
		if twice := netplan.Retarget(once, c); string(twice) != string(once) {
			t.Errorf("the second time it is another:\n%s\nthen\n%s", once, twice)
		}
	})
}

// matches are the lines of the [Match] sections.
func matches(file []byte) (out []string) {
	in := false
	for line := range strings.Lines(string(file)) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			in = line == "[Match]"
		case in && line != "":
			out = append(out, line)
		}
	}
	return out
}

// networkd's word for a rule that leads to main is one that netplan does not have.
func TestRetargetWritesTheRulesOfAGateway(t *testing.T) {
	c := config(1, "192.0.2.7/24")
	from := netip.MustParsePrefix("192.0.2.7/32")
	c.Rules = []nic.Rule{{Priority: 9999, From: from, To: netip.MustParsePrefix("192.0.2.0/24"), Table: 10001}, {Priority: 20001, From: from, Table: 10001},
		{Priority: 10001, From: from, Table: nic.TableMain, NoDefault: true}}
	const want = "[RoutingPolicyRule]\nFrom=192.0.2.7/32\nTo=192.0.2.0/24\nTable=10001\nPriority=9999\n\n[RoutingPolicyRule]\nFrom=192.0.2.7/32\nTable=10001\nPriority=20001\n\n" +
		"[RoutingPolicyRule]\nFrom=192.0.2.7/32\nTable=254\nPriority=10001\nSuppressPrefixLength=0\n"
	if _, got, _ := strings.Cut(string(netplan.Retarget([]byte("[Match]\nName=multinic1\n\n[Network]\n"), c)), "Address=192.0.2.7/24\n\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
