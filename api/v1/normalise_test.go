package v1

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

func TestReadingComesTo(t *testing.T) {
	p := netip.MustParsePrefix
	for name, tc := range map[string]struct {
		nic  Interface
		want Normal
	}{
		"a NIC without an address is named, its MAC in lower case": {
			Interface{ID: ptr[int32](3), MACAddress: "FA:16:3E:00:00:0A"},
			Normal{ID: 3, Name: "multinic3", MACAddress: "fa:16:3e:00:00:0a"},
		},
		"the id follows from the name": {
			Interface{Name: "multinic0", MACAddress: "02:00:00:00:01:01"},
			Normal{ID: 0, Name: "multinic0", MACAddress: "02:00:00:00:01:01"},
		},
		"cidr spelled host/prefix gives the address its length": {
			Interface{ID: ptr[int32](1), Address: "192.168.100.10", CIDR: "192.168.100.10/24"},
			Normal{ID: 1, Name: "multinic1", Addresses: []netip.Prefix{p("192.168.100.10/24")}},
		},
		"cidr spelled network/prefix gives the same": {
			Interface{ID: ptr[int32](1), Address: "192.168.100.10", CIDR: "192.168.100.0/24"},
			Normal{ID: 1, Name: "multinic1", Addresses: []netip.Prefix{p("192.168.100.10/24")}},
		},
		"cidr alone is the address": {
			Interface{ID: ptr[int32](1), CIDR: "2001:DB8::10/64"},
			Normal{ID: 1, Name: "multinic1", Addresses: []netip.Prefix{p("2001:db8::10/64")}},
		},
		"options are parsed, routes masked": {
			Interface{
				ID: ptr[int32](1), CIDR: "10.0.0.5/24", MTU: ptr[int32](9000), Adopt: true, Gateway: "10.0.0.1",
				Addresses: []string{"10.0.0.6/24"},
				Routes:    []Route{{To: "10.20.0.0/16", Via: "10.0.0.1", Metric: ptr[int64](5), Table: ptr[int64](4294967295)}},
			},
			Normal{
				ID: 1, Name: "multinic1", MTU: 9000, Adopt: true, Gateway: netip.MustParseAddr("10.0.0.1"),
				Addresses: []netip.Prefix{p("10.0.0.5/24"), p("10.0.0.6/24")},
				Routes:    []NormalRoute{{To: p("10.20.0.0/16"), Via: netip.MustParseAddr("10.0.0.1"), Metric: 5, Table: 4294967295}},
			},
		},
		"what cannot be read is left out": {
			Interface{Name: "eth0", Address: "x", CIDR: "10.0.0.5/24", Addresses: []string{"y"}, Routes: []Route{{To: "z"}}},
			Normal{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts := []cmp.Option{
				cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
				cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
			}
			if diff := cmp.Diff(tc.want, tc.nic.read().normal(), opts...); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
