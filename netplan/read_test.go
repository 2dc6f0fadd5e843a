package netplan_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"multinicd/internal/hosttest"
	"multinicd/netplan"
	"multinicd/nic"
)

var values = cmp.Options{cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty()}

// What we write reads back as what it was written for, so that files alone can stand for the
// record.
func TestReadIsTheInverseOfRender(t *testing.T) {
	c := config(7, "192.0.2.7/24", "2001:db8::7/64")
	c.MTU = 1400
	c.Routes = []nic.Route{route("10.0.0.0/8", "192.0.2.1"), route("2001:db8:1::/48", "2001:db8::1"), {To: netip.MustParsePrefix("192.0.2.0/24"), Table: 10007},
		{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1"), Table: 10007, OnLink: true}}
	c.Rules = []nic.Rule{{Priority: 20007, From: netip.MustParsePrefix("192.0.2.7/32"), Table: 10007}}
	got, err := netplan.Read(netplan.Render(c))
	if err != nil || len(got) == 0 {
		t.Fatalf("got %v, %v", got, err)
	}
	want := netplan.Definition{ID: netplan.ID(c), Config: c, Renderer: "networkd"}
	if diff := cmp.Diff(want, got[0], values); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRead(t *testing.T) {
	const mac = "match: {macaddress: \"fa:16:3e:00:00:01\"}"
	for name, test := range map[string]struct {
		entry  string
		want   string // name, MTU, addresses
		beyond string
		wrong  string // part of the error
	}{
		"a plain entry":                             {mac + ", set-name: multinic0, dhcp4: false, addresses: [10.0.0.5/24], mtu: 1450", "multinic0 1450 [10.0.0.5/24]", "", ""},
		"DHCP is beyond us":                         {mac + ", dhcp4: true", "eth0 0 []", "dhcp4", ""},
		"names of servers are beyond us":            {mac + ", nameservers: {addresses: [10.0.0.1]}", "eth0 0 []", "nameservers", ""},
		"a match by name is beyond us":              {"match: {name: ens4}, set-name: multinic3", "multinic3 0 []", "match", ""},
		"a route of another kind is beyond us":      {mac + ", routes: [{to: 10.0.0.0/8, type: blackhole}]", "eth0 0 []", "routes", ""},
		"an address with a label is an error":       {mac + ", addresses: [{10.0.0.5/24: {label: x}}]", "", "", "reading addresses of eth0"},
		"an address that is none is an error":       {mac + ", addresses: [10.0.0.5]", "", "", "reading addresses of eth0"},
		"a MAC that is none is an error":            {"match: {macaddress: x}", "", "", "reading match of eth0"},
		"a number that is none is an error":         {mac + ", mtu: many", "", "", "reading mtu of eth0"},
		"an entry that is no entry at all":          {mac + "]", "", "", "reading YAML"},
		"a default route by a router of IPv6 reads": {mac + ", routes: [{to: default, via: \"fe80::1\", table: 100}]", "eth0 0 []", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := netplan.Read([]byte("network: {version: 2, ethernets: {eth0: {" + test.entry + "}}}\n"))
			if test.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), test.wrong) {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if err != nil || len(got) != 1 {
				t.Fatalf("got %v, %v", got, err)
			}
			c := got[0].Config
			if text := fmt.Sprint(c.Name, " ", c.MTU, " ", c.Addresses); text != test.want {
				t.Errorf("got %s, want %s", text, test.want)
			}
			if beyond := strings.Join(got[0].Beyond, " "); beyond != test.beyond {
				t.Errorf("beyond us is %q, want %q", beyond, test.beyond)
			}
		})
	}
}

func TestOwnedReadsWhatWeWroteAndNothingElse(t *testing.T) {
	m := hosttest.New()
	one, two := config(1, "192.0.2.7/24"), config(2, "198.51.100.7/24")
	two.Routes = []nic.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("198.51.100.1"), Table: 10002}}
	// The last one is not in the YAML, and known all the same.
	two.Rules = []nic.Rule{{From: netip.MustParsePrefix("198.51.100.7/32"), Table: 10002, Priority: 20002}, {From: netip.MustParsePrefix("198.51.100.7/32"), Table: 254, NoDefault: true, Priority: 10002}}
	m.Put(t, netplan.File(one), netplan.Render(one), 0o600)
	m.Put(t, netplan.File(two), netplan.Render(two), 0o600)
	m.Put(t, "/etc/netplan/90-multinic3.yaml", []byte("network: {ethernets: {multinic3: {match: {macaddress: \"02:00:00:00:01:03\"}}}}\n"), 0o644)
	m.Put(t, "/etc/netplan/91-multinic4.yaml", netplan.Render(config(4)), 0o600)
	m.Put(t, "/etc/netplan/90-multinic5.yaml", append(netplan.Render(config(5)), "]"...), 0o600)
	six := config(6, "203.0.113.7/32", "2001:db8::7/128")
	six.Rules = []nic.Rule{{From: six.Addresses[0], To: netip.MustParsePrefix("203.0.113.0/24"), Table: 10006, Priority: 9999}, {From: six.Addresses[0], Table: 10006, Priority: 20006},
		{From: six.Addresses[0], Table: 254, NoDefault: true, Priority: 10006}, {From: six.Addresses[1], Table: 10006, Priority: 20006}}
	m.Put(t, netplan.File(six), netplan.RenderForManager(six), 0o600)
	managed, err := netplan.NewManager(m, m, false).ReadBack()
	if len(managed) != 1 || !managed[0].Config.Equal(six) || err == nil {
		t.Errorf("of NetworkManager's: %v, got %+v", err, managed)
	}
	got, err := netplan.New(m, m).ReadBack()
	if err == nil || !strings.Contains(err.Error(), "90-multinic5.yaml") {
		t.Errorf("the file that cannot be read: %v", err)
	}
	if len(got) != 2 || !got[0].Config.Equal(one) || !got[1].Config.Equal(two) || !got[0].Applied {
		t.Errorf("got %+v", got)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(netplan.Render(config(1, "192.0.2.7/24")))
	f.Add([]byte("network: {ethernets: {a: {routes: [{to: default}], routing-policy: [{from: 10.0.0.0/8}]}}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := netplan.Read(data)
		for _, d := range list {
			if err != nil || d.ID == "" && d.Config.Name == "" && !d.Config.MAC.IsZero() && d.Config.ID > nic.MaxID {
				t.Errorf("got %+v, %v", d, err)
			}
		}
	})
}
